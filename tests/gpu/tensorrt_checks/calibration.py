"""INT8: calibrated by each of TensorRT's calibrators, with data and without, and what does not fit refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, build, loaded, options, refused
from tensorrt_checks.models import conv_net, reference
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

#: Of the outputs against ONNX Runtime in FP32.
LEAST_COSINE = 0.99


def samples(path: Path, count: int, size: int = 32) -> Path:
    """Standard normal images for `conv_net`."""
    import numpy as np

    rng = np.random.default_rng(1)
    np.savez(path, x=rng.normal(0, 1, (count, 3, size, size)).astype(np.float32))
    return path


def calibrated(scratch: Path, algorithm: str, precision: str = "int8", **wanted: Any) -> dict[str, Any]:
    """Builds with a calibration, and compares with ONNX Runtime."""
    import numpy as np

    from workers.toolchains.toolchain import CalibrationInput

    model, engine = conv_net(scratch / "calibrated.onnx"), scratch / f"{algorithm}-{precision}.plan"
    output = build(
        model,
        engine,
        [batches(1, 8, 32)],
        precision,
        calibration=CalibrationInput(algorithm, **wanted),
        builder_config=options(),
    )
    given = {"x": np.load(samples(scratch / "seen.npz", 8))["x"]}
    with loaded(engine) as live:
        found = live.infer(given)["y"].ravel().astype(np.float64)
    right = reference(model, given)["y"].ravel().astype(np.float64)
    cosine = float(found @ right / (np.linalg.norm(found) * np.linalg.norm(right)))
    return {
        "cosine": round(cosine, 6),
        # In FP32 it is 1e-6 (`fp32_matches`): without this much nothing runs in 8 bits.
        "max_abs_error": _at_least(1e-4, float(np.abs(found - right).max())),
        "note": output.precision_note,
    }


def _at_least(limit: float, value: float) -> float:
    assert value > limit, f"nothing runs in INT8: the error is {value}"
    return value


@check
def int8_by_every_calibrator(scratch: Path) -> Any:
    """Entropy, min-max, the older entropy and percentiles: close to FP32, and each on its own way."""
    data = samples(scratch / "samples.npz", 64)
    kinds = ("ENTROPY_CALIBRATION_2", "MINMAX_CALIBRATION", "ENTROPY_CALIBRATION", "LEGACY_CALIBRATION")
    found = {kind: calibrated(scratch, kind, data_path=data, batch=8) for kind in kinds}
    assert all(one["cosine"] > LEAST_COSINE for one in found.values()), found
    assert len({one["max_abs_error"] for one in found.values()}) > 1, found
    return found


@check
def int8_beside_fp16_and_without_data(scratch: Path) -> Any:
    """INT8 and FP16 together; random samples where somebody asks for them; fewer samples than there are."""
    data = samples(scratch / "samples.npz", 64)
    both = calibrated(scratch, "ENTROPY_CALIBRATION_2", "int8+fp16", data_path=data, batch=8, samples=16)
    blind = calibrated(scratch, "MINMAX_CALIBRATION", batch=4, samples=16, seed=3)
    assert both["cosine"] > LEAST_COSINE
    return {"int8+fp16": both, "random": blind}


@check
def calibration_data_that_does_not_fit_is_refused(scratch: Path) -> Any:
    """By name and shape, before a GPU builds for minutes."""
    few, small = samples(scratch / "few.npz", 4), samples(scratch / "small.npz", 8, size=16)
    kind = "ENTROPY_CALIBRATION_2"
    with refused("InvalidSpecError", "4 sample(s)", "batch of 8"):
        calibrated(scratch, kind, data_path=few, batch=8)
    with refused("InvalidSpecError", "does not fit input"):
        calibrated(scratch, kind, data_path=small, batch=8)
    return "refused"
