"""Types and memory formats of inputs and outputs, against ONNX Runtime."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import build, loaded, options, spans, toolchain
from tensorrt_checks.models import reference
from tensorrt_checks.profiles import pictures, sized
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

#: Outputs of `pictures` are of the order of 1: FP16 has three digits.
CLOSE = {"fp32": 1e-3, "fp16": 3e-2}
LEAST_COSINE = 0.99


def _profile() -> Any:
    return spans((1, 3, 32, 32), (4, 3, 32, 32), (8, 3, 32, 32))


def _tensors(live: Any) -> list[str]:
    return [f"{tensor.name} {tensor.dtype} {'/'.join(tensor.formats) or 'chw'}" for tensor in live._tensors]


def _formatted(scratch: Path, wanted: dict[str, str], precision: str) -> dict[str, Any]:
    """Builds with formats and compares at three batch sizes; the graph of the timing is taken too."""
    import numpy as np

    model = pictures(scratch / "formats.onnx")
    name = "-".join(f"{tensor}-{text.replace(':', '-')}" for tensor, text in wanted.items())
    engine = scratch / f"{name}-{precision}.plan"
    build(model, engine, [_profile()], precision, io_formats=wanted)
    errors = {}
    with loaded(engine) as live:
        for batch in (4, 1, 8):
            got, right = live.infer(sized(batch, 32))["y"], reference(model, sized(batch, 32))["y"]
            assert got.shape == right.shape, (got.shape, right.shape, _tensors(live))
            errors[batch] = float(np.abs(got.astype(np.float64) - right).max())
        sessions = live.timed_sessions(sized(4, 32))
        for session in sessions:
            session.iterate()
        return {
            "tensors": _tensors(live),
            "errors": errors,
            "graphs": [session.is_graph for session in sessions],
        }


def _every(scratch: Path, cases: list[dict[str, str]], precision: str) -> dict[str, Any]:
    """What becomes of each case; one that fails does not take the others along."""
    found: dict[str, Any] = {}
    for wanted in cases:
        try:
            found[str(wanted)] = _formatted(scratch, wanted, precision)
        except Exception as error:  # noqa: BLE001 - all of them are told together
            traceback.print_exc()
            found[str(wanted)] = f"{type(error).__name__}: {error} | {getattr(error, 'hint', '')}"
    return found


def _assert_right(found: dict[str, Any], limit: float) -> None:
    wrong = {
        case: seen
        for case, seen in found.items()
        if isinstance(seen, str) or max(seen["errors"].values()) > limit
    }
    assert not wrong, f"{len(wrong)} of {len(found)} are not right: {wrong}; all: {found}"


@check
def half_vectors_in_and_out(scratch: Path) -> Any:
    """FP16 inputs and outputs in vectors of 2, 8 and 16 channels, and in rows."""
    cases = [
        {"x": "fp16:chw16"},
        {"x": "fp16:hwc8"},
        {"x": "fp16:hwc8", "y": "fp16:hwc8"},
        {"x": "fp16:chw2", "y": "fp16:chw16"},
        {"x": "fp16:chw", "y": "fp16:chw32"},
    ]
    found = _every(scratch, cases, "fp16")
    _assert_right(found, CLOSE["fp16"])
    assert all("x float16" in str(seen["tensors"]) for seen in found.values()), found
    return found


@check
def single_precision_in_other_orders(scratch: Path) -> Any:
    """FP32 with channels last, and in vectors of 32."""
    found = _every(scratch, [{"x": "fp32:hwc"}, {"y": "fp32:chw32"}, {"x": "fp32:chw+hwc"}], "fp32")
    _assert_right(found, CLOSE["fp32"])
    return found


@check
def half_rows_beside_a_single_precision_build(scratch: Path) -> Any:
    """The types of inputs and outputs are another thing than the precision."""
    found = _every(scratch, [{"x": "fp16:chw", "y": "fp16:chw"}], "fp32")
    _assert_right(found, CLOSE["fp16"])
    return found


@check
def int8_inputs_and_outputs_by_their_scales(scratch: Path) -> Any:
    """int8 in vectors of 32 and 4, fed and read by the scales of the build's own calibration."""
    import numpy as np

    from workers.toolchains.toolchain import CalibrationInput

    model = pictures(scratch / "int8.onnx")
    data = scratch / "int8-samples.npz"
    np.savez(data, x=np.random.default_rng(1).normal(0, 1, (32, 3, 32, 32)).astype(np.float32))
    found: dict[str, Any] = {}
    for wanted in ({"x": "int8:chw32", "y": "int8:chw32"}, {"x": "int8:chw4"}, {"y": "int8:chw"}):
        engine = scratch / f"int8-{len(found)}.plan"
        try:
            output = build(
                model,
                engine,
                [_profile()],
                "int8",
                io_formats=wanted,
                builder_config=options(),
                calibration=CalibrationInput("ENTROPY_CALIBRATION_2", data_path=data, batch=4),
            )
            scales = output.details["io_scales"]
            with loaded(engine) as live:
                live.use_scales(scales)
                got = live.infer(sized(4, 32))["y"].ravel().astype(np.float64)
                right = reference(model, sized(4, 32))["y"].ravel().astype(np.float64)
                cosine = float(got @ right / (np.linalg.norm(got) * np.linalg.norm(right)))
                found[str(wanted)] = {"tensors": _tensors(live), "scales": scales, "cosine": cosine}
        except Exception as error:  # noqa: BLE001 - all of them are told together
            traceback.print_exc()
            found[str(wanted)] = f"{type(error).__name__}: {error} | {getattr(error, 'hint', '')}"
    wrong = {
        case: seen for case, seen in found.items() if isinstance(seen, str) or seen["cosine"] < LEAST_COSINE
    }
    assert not wrong, f"{len(wrong)} of {len(found)} are not right: {wrong}; all: {found}"
    return found


@check
def what_the_release_says_of_formats_and_types(_scratch: Path) -> Any:
    """The toolchain's description has them: without them the farm refuses every format."""
    description = toolchain().describe()
    assert "chw32" in description.io_formats, description.io_formats
    return {"formats": description.io_formats, "types": description.io_types}
