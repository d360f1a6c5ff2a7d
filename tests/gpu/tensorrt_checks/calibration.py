"""INT8: calibrated by each of TensorRT's calibrators, with data and without, and what does not fit refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, build, loaded, options, refused, spans
from tensorrt_checks.models import conv_net, node, reference, save
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


def cached(
    scratch: Path, name: str, algorithm: str, precision: str = "int8", **wanted: Any
) -> dict[str, Any]:
    """Builds with a calibration; what became of its cache, the heading that it wrote, and the seconds it took."""
    from workers.toolchains.toolchain import CalibrationInput

    model, out = conv_net(scratch / "calibrated.onnx"), scratch / f"{name}.cache"
    out.unlink(missing_ok=True)
    begin = time.monotonic()
    output = build(
        model,
        scratch / f"{name}.plan",
        [batches(1, 8, 32)],
        precision,
        calibration=CalibrationInput(
            algorithm, data_path=samples(scratch / "samples.npz", 64), batch=8, cache_out=out, **wanted
        ),
        builder_config=options(),
    )
    data = out.read_bytes() if out.exists() else b""
    return {
        **output.details["calibration_cache"],
        "heading": data.split(b"\n", 1)[0].decode(errors="replace"),
        "bytes": len(data),
        "seconds": round(time.monotonic() - begin, 2),
    }


@check
def what_one_build_measured_is_lent_to_the_next(scratch: Path) -> Any:
    """By every calibrator, the older ones too: the second build feeds no batch, and computes the same."""
    import numpy as np

    found = {}
    given = {"x": np.load(samples(scratch / "seen.npz", 8))["x"]}
    # The cache of LEGACY_CALIBRATION does not say its release, so it is not kept.
    for kind in ("ENTROPY_CALIBRATION_2", "MINMAX_CALIBRATION", "ENTROPY_CALIBRATION"):
        first = cached(scratch, f"{kind}-first", kind)
        lent = scratch / f"{kind}-first.cache"
        second = cached(scratch, f"{kind}-second", kind, cache_in=lent)
        found[kind] = {"first": first, "second": second}
        seen = f"{kind}: {found[kind]}"
        assert (first["taken"], first["batches"]) == (False, 8), seen
        assert first["entries"] > 0, seen
        assert (second["taken"], second["batches"]) == (True, 0), seen
        assert second["entries"] == first["entries"], seen
        outputs = []
        for name in ("first", "second"):
            with loaded(scratch / f"{kind}-{name}.plan") as live:
                outputs.append(live.infer(given)["y"])
        # Other tactics may sum up in another order, and with other ranges it would be far off.
        np.testing.assert_allclose(*outputs, rtol=0.05, atol=0.05, err_msg=seen)
    return found


@check
def other_precisions_and_profiles_take_the_same_ranges(scratch: Path) -> Any:
    """INT8 beside FP16, from the cache of INT8 alone."""
    kind = "ENTROPY_CALIBRATION_2"
    first = cached(scratch, "alone", kind)
    both = cached(scratch, "both", kind, "int8+fp16", cache_in=scratch / "alone.cache")
    assert (both["taken"], both["batches"]) == (True, 0), {"first": first, "both": both}
    return {"first": first, "both": both}


@check
def a_foreign_calibration_cache_is_put_aside(scratch: Path) -> Any:
    """One of another release, of another calibrator, and one that is none: all samples are fed all the same."""
    kind = "ENTROPY_CALIBRATION_2"
    first = cached(scratch, "own", kind)
    own = (scratch / "own.cache").read_bytes()
    assert first["entries"] > 0, first
    minmax = cached(scratch, "minmax", "MINMAX_CALIBRATION")
    foreign = {
        "release": own.replace(own.split(b"-", 2)[1], b"7000", 1),
        "calibrator": (scratch / "minmax.cache").read_bytes(),
        "garbage": b"\x00\xff" * 100,
    }
    found: dict[str, Any] = {"own": first, "minmax": minmax}
    for name, data in foreign.items():
        path = scratch / f"foreign-{name}.cache"
        path.write_bytes(data)
        found[name] = cached(scratch, f"with-{name}", kind, cache_in=path)
        assert (found[name]["taken"], found[name]["batches"]) == (False, 8), found
        assert found[name]["note"], found
        # Not byte by byte: the FP32 tactics that measure are chosen anew.
        assert (found[name]["heading"], found[name]["entries"]) == (first["heading"], first["entries"]), found
    return found


def _one_level_unet(path: Path) -> Path:
    """`x` Nx1x64x64 down and up again: TensorRT 8.6 has INT8 kernels for its ConvTranspose, and fails on them."""
    import numpy as np

    rng = np.random.default_rng(0)

    def weight(*shape: int) -> Any:
        return rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)

    weights = {"w0": weight(64, 1, 3, 3), "w1": weight(128, 64, 3, 3), "up": weight(128, 64, 2, 2)}
    weights |= {"w2": weight(64, 128, 3, 3), "w3": weight(2, 64, 1, 1)}
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"]),
        node("MaxPool", ["r0"], ["p0"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p0", "w1"], ["c1"], pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"]),
        node("ConvTranspose", ["r1", "up"], ["u0"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Concat", ["r0", "u0"], ["both"], axis=1),
        node("Conv", ["both", "w2"], ["c2"], pads=[1, 1, 1, 1]),
        node("Relu", ["c2"], ["r2"]),
        node("Conv", ["r2", "w3"], ["y"]),
    ]
    return save(path, nodes, [("x", "FLOAT", ["N", 1, 64, 64])], [("y", "FLOAT", ["N", 2, 64, 64])], weights)


@check
def int8_of_transposed_convolutions(scratch: Path) -> Any:
    """They are built in INT8, or where the builder fails on that, with those layers in floats: the note says which."""
    import numpy as np

    from workers.toolchains.toolchain import CalibrationInput

    model, engine = _one_level_unet(scratch / "unet.onnx"), scratch / "unet.plan"
    data, shape = scratch / "unet-samples.npz", (16, 1, 64, 64)
    np.savez(data, x=np.random.default_rng(1).normal(0, 1, shape).astype(np.float32))
    output = build(
        model,
        engine,
        [spans((1, *shape[1:]), (8, *shape[1:]), (8, *shape[1:]))],
        "int8",
        calibration=CalibrationInput("ENTROPY_CALIBRATION_2", data_path=data, batch=8),
    )
    given = {"x": np.load(data)["x"][:8]}
    with loaded(engine) as live:
        found = live.infer(given)["y"].ravel().astype(np.float64)
    right = reference(model, given)["y"].ravel().astype(np.float64)
    cosine = float(found @ right / (np.linalg.norm(found) * np.linalg.norm(right)))
    assert cosine > LEAST_COSINE, (cosine, output.precision_note)
    return {
        "cosine": round(cosine, 6),
        "max_abs_error": _at_least(1e-4, float(np.abs(found - right).max())),
        "note": output.precision_note,
    }
