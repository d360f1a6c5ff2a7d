"""Whether a converted model still computes what the model does, where no device here can run the engine.

Both are run by ONNX Runtime on the CPU, the converted one without its optimizer, which would fuse what a GPU computes
otherwise. It says what the conversion cost, not what the builder's kernels add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from farm.domain.accuracy import Accuracy
from farm.domain.accuracy_metrics import compare
from workers.arrays import random_inputs
from workers.conversion.graphs import inputs_of, read_graph
from workers.toolchains.calibration_batches import batches_of, shape_of_batch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from farm.domain.thresholds import Thresholds
    from workers.conversion.request import ConversionRequest

_REFERENCE = "the model on ONNX Runtime"


def compare_conversion(request: ConversionRequest, thresholds: Thresholds) -> tuple[str, dict[str, Any]]:
    """What a conversion cost, for people and as figures; why it is not known where it can not be compared.

    Args:
        request: what was converted, done by now.
        thresholds: what it must reach.

    Raises:
        AccuracyError: it does not.
    """
    given = _inputs(request)
    try:
        expected, actual = _run(request.model_path, given), _run(request.converted_path, given)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime lacks kernels for BF16 and for operators of plugins
        why = " ".join(str(error).split())[:120]
        return f"not compared with the model: {why}", {}
    outputs = tuple(compare(name, expected[name], actual[name]) for name in expected)
    samples = max((len(array) for array in given.values() if array.ndim), default=1)
    thresholds.of_outputs.check(Accuracy(outputs, samples, _REFERENCE))
    snr_db, cosine = min(o.snr_db for o in outputs), min(o.cosine for o in outputs)
    note = f"{snr_db:.1f} dB from {_REFERENCE}, cosine {cosine:.6f}"
    return note, {
        "snr_db": round(snr_db, 2),
        "cosine": cosine,
        "samples": samples,
        "random": _is_random(request),
    }


def _is_random(request: ConversionRequest) -> bool:
    return request.calibration is None or request.calibration.data_path is None


def _inputs(request: ConversionRequest) -> Mapping[str, NDArray[Any]]:
    """The first batch of the calibration samples; where there are none, seeded random inputs of the smallest batch."""
    inputs = inputs_of(read_graph(request.model_path))
    if request.calibration is not None:
        batch = request.calibration.batch
        shapes = {tensor.name: shape_of_batch(tensor, request.profile, batch) for tensor in inputs}
        return batches_of(inputs, shapes, request.calibration)[0]
    smallest = min((span.min[0] for span in request.profile.values() if span.min), default=1)
    shapes = {
        tensor.name: shape_of_batch(tensor, request.profile, smallest) if tensor.is_dynamic else tensor.shape
        for tensor in inputs
    }
    drawn = random_inputs(inputs, shapes, seed=0)
    for tensor in inputs:
        if not tensor.is_dynamic and tensor.name in request.profile:
            # A range of values, not of shapes.
            held = np.asarray(request.profile[tensor.name].opt, dtype=drawn[tensor.name].dtype)
            drawn[tensor.name] = held.reshape(tensor.shape)
    return drawn


def _run(path: Path, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, dict(given))), strict=True))
