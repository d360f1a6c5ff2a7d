"""Whether an engine still computes what the model computes."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING, Any, Dict, Mapping, Tuple

import numpy as np

from farm.domain.accuracy import Accuracy
from farm.domain.accuracy_metrics import compare, label_overlap, label_topk
from farm.domain.error_histogram import error_histograms
from farm.domain.errors import AccuracyError
from workers.arrays import (
    LABELS,
    check_inputs,
    golden_outputs,
    read_arrays,
    run_in_chunks,
    with_values,
    write_arrays,
)
from workers.child.reference_request import further_path

if TYPE_CHECKING:
    from typing import Callable

    from numpy.typing import NDArray

    from workers.child.requests import AttemptRequest
    from workers.toolchains.toolchain import LoadedEngine

#: The reference's and the engine's array of every output, by the output's name.
Pairs = Dict[str, Tuple[Any, Any]]


def verify(engine: LoadedEngine, request: AttemptRequest, progress: Callable[[float, str], None]) -> Accuracy:
    """Runs the inputs through the engine and compares with the reference's outputs.

    Leaves the histogram of errors in a file, where the request names one.

    Raises:
        AccuracyError: an output is missing or has another shape.
        InvalidSpecError: the inputs do not fit the engine.
    """
    assert request.inputs_path is not None  # noqa: S101 - the caller asked for a verification
    assert request.reference_path is not None  # noqa: S101
    arrays = with_values(read_arrays(request.inputs_path), request.chunk_values, engine.inputs)
    labels = arrays.get(LABELS) if LABELS not in {tensor.name for tensor in engine.inputs} else None
    # The arrays have the model's types; an engine may have others, and casts.
    inputs = check_inputs(arrays, engine.inputs, any_type=True)
    expected = golden_outputs(arrays, inputs) or read_arrays(request.reference_path)
    held = request.chunk_values
    actual = run_in_chunks(engine.infer, inputs, request.chunk_shapes, progress, whole=held)
    pairs = _paired(expected, actual)
    pairs.update(_in_further_profiles(engine, request))
    accuracy = Accuracy(
        outputs=tuple(compare(name, *pair) for name, pair in pairs.items()),
        samples=max((len(a) for name, a in inputs.items() if a.ndim and name not in held), default=1),
        reference=request.reference_name,
        **(_on_labels(expected, actual, labels) if labels is not None else {}),
    )
    if request.actual_path is not None:
        write_arrays(request.actual_path, {name: np.asarray(actual[name]) for name in expected})
    if request.histogram_path is not None:
        request.histogram_path.write_text(json.dumps(error_histograms(pairs)))
    return accuracy


def _on_labels(
    expected: Mapping[str, NDArray[Any]], actual: Mapping[str, NDArray[Any]], labels: NDArray[Any]
) -> dict[str, Any]:
    """What engine and reference get right: of classes by the first output of scores, of maps by the first that fits."""
    found: dict[str, Any] = {}
    if labels.ndim == 1:
        scores = next((name for name in expected if expected[name].ndim == 2), None)
        if scores is None:
            return found
        for k in (1, 5):
            found[f"label_top{k}"] = label_topk(actual[scores], labels, k)
            found[f"reference_label_top{k}"] = label_topk(expected[scores], labels, k)
        return found
    for name in expected:
        ours, theirs = label_overlap(actual[name], labels), label_overlap(expected[name], labels)
        if ours is not None and theirs is not None:
            found = {"label_dice": ours[0], "label_iou": ours[1]}
            return {**found, "reference_label_dice": theirs[0], "reference_label_iou": theirs[1]}
    return found


def _in_further_profiles(engine: LoadedEngine, request: AttemptRequest) -> Pairs:
    """The outputs in the engine's other optimization profiles, as far as there is a reference for them."""
    assert request.inputs_path is not None  # noqa: S101 - the caller asked for a verification
    assert request.reference_path is not None  # noqa: S101
    found: Pairs = {}
    for number in count(2):
        inputs_path = further_path(request.inputs_path, number)
        if not inputs_path.exists():
            break
        expected = read_arrays(further_path(request.reference_path, number))
        actual = engine.infer(check_inputs(read_arrays(inputs_path), engine.inputs, any_type=True))
        pairs = _paired(expected, actual)
        found.update({f"{name} (profile {number})": pair for name, pair in pairs.items()})
    return found


def _paired(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> Pairs:
    missing = sorted(set(expected) - set(actual))
    if missing:
        raise AccuracyError(f"the engine has no output {missing[0]!r}, which the model has")
    return {name: (expected[name], actual[name]) for name in expected}
