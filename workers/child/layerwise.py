"""Holds an engine against its reference layer by layer, by engines of models whose tensors are outputs.

An output keeps a builder from fusing what gives it with what takes it. So such an engine is near the one that is
filed, and not the same.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm.domain.accuracy_metrics import compare
from farm.domain.errors import BuildError, FarmError
from farm.domain.layerwise import NOT_FINITE, LayerDeviation, layerwise_summary
from workers.arrays import check_inputs, read_arrays
from workers.child.loading import load_engine
from workers.conversion.marking_request import CALL, PLAN

if TYPE_CHECKING:
    from typing import Callable

    from workers.child.requests import AttemptRequest
    from workers.toolchains.toolchain import BuildInput, Toolchain


def compare_layers(
    toolchain: Toolchain, request: AttemptRequest, progress: Callable[[float, str], None]
) -> dict[str, Any]:
    """What is filed with the run; every layer goes into the file of the histograms.

    Raises:
        BuildError: no marked model could be built and run; has the first one's reason.
    """
    assert request.layerwise is not None  # noqa: S101 - the caller looked
    folder = request.layerwise.folder
    plan = json.loads((folder / PLAN).read_text())
    layers: list[LayerDeviation] = []
    notes: list[str] = []
    for number, chunk in enumerate(plan, 1):
        progress((number - 1) / len(plan), f"layers: model {number} of {len(plan)}")
        try:
            layers += _compared(toolchain, request, chunk)
        except FarmError as error:
            first, last = chunk["layers"][0]["node"], chunk["layers"][-1]["node"]
            notes.append(f"{first} to {last} could not be compared: {error.message}")
    if not layers:
        raise BuildError(
            f"the layers can not be compared: {notes[0] if notes else 'there are none'}",
            hint="Leave --layerwise out: the engine itself is built and verified without it.",
        )
    if request.histogram_path is not None:
        document = json.loads(request.histogram_path.read_text()) if request.histogram_path.exists() else {}
        document["layers"] = [layer.as_json() for layer in layers]
        request.histogram_path.write_text(json.dumps(document))
    return layerwise_summary(layers, request.layerwise.build.precision, notes)


def _compared(toolchain: Toolchain, request: AttemptRequest, chunk: dict[str, Any]) -> list[LayerDeviation]:
    assert request.layerwise is not None  # noqa: S101 - the caller looked
    folder = request.layerwise.folder
    engine_path = folder / "engine"
    build = replace(
        _with_caches(request), model_path=folder / chunk["model"], engine_path=engine_path, layers_path=None
    )
    output = toolchain.build(build, lambda _fraction, _message: None)
    try:
        with closing(load_engine(toolchain, replace(request, engine_path=engine_path), output)) as engine:
            inputs = check_inputs(read_arrays(folder / CALL), engine.inputs, any_type=True)
            actual = engine.infer(inputs)
    finally:
        engine_path.unlink(missing_ok=True)
    expected = read_arrays(folder / chunk["expected"])
    return [
        _deviation(layer, expected[layer["tensor"]], actual[layer["output"]])
        for layer in chunk["layers"]
        if layer["output"] in actual
    ]


def _with_caches(request: AttemptRequest) -> BuildInput:
    """What to build with the caches that the engine's own build has filled, which are left as they are."""
    assert request.layerwise is not None  # noqa: S101 - the caller looked
    build, own = request.layerwise.build, request.build
    if own is None:
        return replace(build, timing_cache_in=None, timing_cache_out=None, refit_path=None)
    calibration = own.calibration
    if calibration is not None:
        written = calibration.cache_out is not None and calibration.cache_out.exists()
        cache_in = calibration.cache_out if written else calibration.cache_in
        calibration = replace(calibration, cache_in=cache_in, cache_out=None)
    written = own.timing_cache_out is not None and own.timing_cache_out.exists()
    return replace(
        build,
        calibration=calibration,
        timing_cache_in=own.timing_cache_out if written else own.timing_cache_in,
        timing_cache_out=None,
        refit_path=None,
    )


def _deviation(layer: dict[str, Any], expected: Any, actual: Any) -> LayerDeviation:
    found = compare(layer["tensor"], expected, actual)
    error = found.rel_l2_error if found.rel_l2_error is not None else 0.0
    return LayerDeviation(
        tensor=layer["tensor"],
        node=layer["node"],
        operator=layer["operator"],
        inputs=tuple(layer["inputs"]),
        relative_error=NOT_FINITE if found.non_finite else min(error, NOT_FINITE),
        max_abs_error=found.max_abs_error,
        snr_db=found.snr_db,
        non_finite=found.non_finite,
        worst_index=found.worst_index,
        worst_expected=found.worst_expected,
        worst_actual=found.worst_actual,
    )
