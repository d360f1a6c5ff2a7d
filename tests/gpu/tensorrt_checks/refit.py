"""An engine's weights replaced in place of a build."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, build, loaded, options, refused, toolchain, worst
from tensorrt_checks.models import conv_net, images, reference
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path


def retrained(model: Path, path: Path, *, leave_out: str = "") -> tuple[Path, Path]:
    """The same net with other weights, and these as arrays by their names."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    changed, arrays = onnx.load(model), {}
    rng = np.random.default_rng(7)
    for tensor in changed.graph.initializer:
        old = numpy_helper.to_array(tensor)
        new = rng.normal(0, float(old.std()), old.shape).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
        if tensor.name != leave_out:
            arrays[tensor.name] = new
    onnx.save(changed, str(path))
    weights = path.with_name("weights.npz")
    np.savez(weights, **arrays)
    return path, weights


def refit(model: Path, base: Path, engine: Path, precision: str) -> tuple[Any, float]:
    """Refits, and gives back the toolchain's answer and the seconds that it took."""
    from workers.toolchains.toolchain import BuildInput

    request = BuildInput(model, engine, precision, builder_config=options(refit=True), refit_path=base)
    began = time.monotonic()
    output = toolchain().refit(request, lambda fraction, message: None)
    return output, time.monotonic() - began


def refittable(scratch: Path, precision: str) -> tuple[Path, Path, float]:
    """A refittable engine in a folder of its own: the model, the engine, the seconds of the build."""
    folder = scratch / f"refit-{precision}"
    folder.mkdir(exist_ok=True)
    model, base = conv_net(folder / "first.onnx"), folder / "engine"
    began = time.monotonic()
    build(model, base, [batches(1, 8, 8)], precision, builder_config=options(refit=True))
    return model, base, time.monotonic() - began


@check
def a_refitted_engine_computes_the_new_model(scratch: Path) -> Any:
    """Like ONNX Runtime on the new weights, and unlike the old ones, in FP32 and FP16, in a fraction of the time."""
    found = {}
    for precision, limit in (("fp32", 1e-4), ("fp16", 5e-2)):
        model, base, built_s = refittable(scratch, precision)
        changed, _ = retrained(model, base.with_name("second.onnx"))
        engine = base.with_name("refitted")
        output, took_s = refit(changed, base, engine, precision)
        given = images(8)
        with loaded(engine) as live:
            actual = live.infer(given)["y"]
        error, old = (
            worst(actual, reference(changed, given)["y"]),
            worst(actual, reference(model, given)["y"]),
        )
        found[precision] = {
            "error": error,
            "error_against_the_old_weights": old,
            "build_s": round(built_s, 2),
            "refit_s": round(took_s, 3),
            "note": output.precision_note,
        }
        assert error < limit, f"the refitted engine computes something else: {found}"
        assert old > 10 * error, f"the old weights are still in it: {found}"
    return found


@check
def an_engine_without_refit_is_not_refitted(scratch: Path) -> Any:
    """Refused with the option that it lacks, or with TensorRT's own words."""
    folder = scratch / "refit-none"
    folder.mkdir(exist_ok=True)
    model, base = conv_net(folder / "first.onnx"), folder / "engine"
    build(model, base, [batches(1, 8, 8)], "fp32")
    changed, _ = retrained(model, folder / "second.onnx")
    with refused("BuildError", "full build") as said:
        refit(changed, base, folder / "refitted", "fp32")
    return said


@check
def weights_that_nothing_is_named_after_refuse_the_refit(scratch: Path) -> Any:
    """By name; the engine is not half old and half new."""
    import tensorrt

    if hasattr(tensorrt, "OnnxParserRefitter"):
        return "the parser finds the weights itself"
    model, base, _ = refittable(scratch, "fp32")
    changed, _ = retrained(model, base.with_name("second.onnx"), leave_out="w1")
    engine = base.with_name("half")
    with refused("BuildError", "'w1'") as said:
        refit(changed, base, engine, "fp32")
    assert not engine.exists()
    return said
