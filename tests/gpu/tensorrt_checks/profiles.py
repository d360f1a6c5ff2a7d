"""Several optimization profiles in one engine, the values of inputs that hold a shape, and frozen models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, build, loaded, refused, spans, worst
from tensorrt_checks.models import conv_net, images, node, reference, save
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

#: Of FP32 against ONNX Runtime.
CLOSE = 1e-4


def pictures(path: Path) -> Path:
    """`x` Nx3xHxW through two convolutions to `y` Nx32xHxW."""
    import numpy as np

    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32),
        "w1": rng.normal(0, 0.1, (32, 16, 3, 3)).astype(np.float32),
    }
    nodes = [
        node("Conv", ["x", "w0"], ["c0"], pads=[1, 1, 1, 1]),
        node("Relu", ["c0"], ["r0"]),
        node("Conv", ["r0", "w1"], ["y"], pads=[1, 1, 1, 1]),
    ]
    sizes = ["N", 3, "H", "W"]
    return save(path, nodes, [("x", "FLOAT", sizes)], [("y", "FLOAT", ["N", 32, "H", "W"])], weights)


def sized(batch: int, size: int) -> dict[str, Any]:
    """Inputs for `pictures`."""
    import numpy as np

    return {"x": np.random.default_rng(batch).normal(0, 1, (batch, 3, size, size)).astype(np.float32)}


def profile_of(live: Any, inputs: dict[str, Any]) -> int:
    """Which profile an inference would run in."""
    from workers.toolchains.cuda_arrays import choose_profile, prepare

    return choose_profile(live._tensors, prepare(live._tensors, inputs))


@check
def the_profile_tuned_nearest_is_used(scratch: Path) -> Any:
    """Of two profiles that both take a batch the one whose opt is nearest; right in both."""
    model = conv_net(scratch / "nearest.onnx")
    build(model, scratch / "nearest.plan", [batches(1, 1, 16), batches(1, 16, 32)])
    found = {}
    with loaded(scratch / "nearest.plan") as live:
        for batch in (1, 2, 12, 16, 32):
            error = worst(live.infer(images(batch))["y"], reference(model, images(batch))["y"])
            found[batch] = (profile_of(live, images(batch)), error)
    assert [profile for profile, _ in found.values()] == [0, 0, 1, 1, 1], found
    assert max(error for _, error in found.values()) < CLOSE, found
    return found


@check
def two_sizes_in_one_engine(scratch: Path) -> Any:
    """Small and large pictures, each in its own profile, plainly and as CUDA graphs that take turns."""
    model = pictures(scratch / "sizes.onnx")
    small = spans((1, 3, 32, 32), (8, 3, 32, 32), (16, 3, 32, 32))
    large = spans((1, 3, 96, 96), (1, 3, 96, 96), (2, 3, 96, 96))
    build(model, scratch / "sizes.plan", [small, large])
    errors, profiles = {}, {}
    with loaded(scratch / "sizes.plan") as live:
        for batch, size in ((8, 32), (1, 96), (16, 32), (2, 96), (1, 32)):
            inputs = sized(batch, size)
            profiles[f"{batch} of {size}"] = profile_of(live, inputs)
            errors[f"{batch} of {size}"] = worst(live.infer(inputs)["y"], reference(model, inputs)["y"])
        first, second = live.timed_sessions(sized(8, 32)), live.timed_sessions(sized(2, 96))
        for _ in range(2):
            for session in (*first, *second):
                session.iterate()
        graphs = [session.is_graph for session in (*first, *second)]
        with refused("InvalidSpecError", "outside the engine's profile"):
            live.infer(sized(1, 64))
        with refused("InvalidSpecError", "outside the engine's profile"):
            live.infer(sized(4, 96))
    seen = {"errors": errors, "profiles": profiles, "graphs": graphs}
    assert max(errors.values()) < CLOSE, seen
    assert list(profiles.values()) == [0, 1, 0, 1, 0], seen
    return seen


def _expand(path: Path) -> Path:
    """`x` Nx1 expanded to the shape that `size` holds."""
    return save(
        path,
        [node("Expand", ["x", "size"], ["e"]), node("Relu", ["e"], ["y"])],
        [("x", "FLOAT", ["N", 1]), ("size", "INT64", [2])],
        [("y", "FLOAT", ["A", "B"])],
    )


@check
def values_of_an_input_that_holds_a_shape(scratch: Path) -> Any:
    """Expand by an input: in two profiles, at their opt values and at others, and beyond them refused."""
    import numpy as np

    model = _expand(scratch / "expand.onnx")
    one = {**spans((1, 1), (1, 1), (1, 1)), **spans((1, 4), (2, 8), (4, 16), name="size")}
    other = {**spans((1, 1), (1, 1), (1, 1)), **spans((32, 32), (32, 32), (64, 64), name="size")}
    build(model, scratch / "expand.plan", [one, other])
    found = {}
    with loaded(scratch / "expand.plan") as live:
        size = next(tensor for tensor in live._tensors if tensor.name == "size")
        told = {"on_host": size.on_host, "dtype": size.dtype, "values": str(size.value_ranges)}
        for values in ((2, 8), (1, 4), (4, 16), (64, 64), (3, 5)):
            inputs = {"x": np.full((1, 1), 3, np.float32), "size": np.array(values, np.int64)}
            got, wanted = live.infer(inputs)["y"], reference(model, inputs)["y"]
            found[str(values)] = (profile_of(live, inputs), worst(got, wanted))
        beyond = {"x": np.ones((1, 1), np.float32), "size": np.array([20, 20], np.int64)}
        with refused("InvalidSpecError", "'size'"):
            live.infer(beyond)
        sessions = live.timed_sessions({"x": np.ones((1, 1), np.float32), "size": np.array([2, 8], np.int64)})
        for session in sessions:
            session.iterate()
    seen = {**told, "found": found, "graphs": [session.is_graph for session in sessions]}
    assert size.on_host, seen
    assert len(size.value_ranges) == 2, seen
    assert all(error == 0 for _, error in found.values()), seen
    assert [profile for profile, _ in found.values()] == [0, 0, 0, 1, 0], seen
    return seen


@check
def resize_by_an_input(scratch: Path) -> Any:
    """Resize to the sizes that an input holds."""
    import numpy as np

    model = save(
        scratch / "resize.onnx",
        [
            node(
                "Resize",
                ["x", "", "", "size"],
                ["r"],
                mode="nearest",
                coordinate_transformation_mode="asymmetric",
                nearest_mode="floor",
            ),
            node("Relu", ["r"], ["y"]),
        ],
        [("x", "FLOAT", [1, 3, 16, 16]), ("size", "INT64", [4])],
        [("y", "FLOAT", ["a", "b", "c", "d"])],
    )
    build(model, scratch / "resize.plan", [spans((1, 3, 8, 8), (1, 3, 32, 32), (1, 3, 64, 64), name="size")])
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 16, 16)).astype(np.float32)
    errors = {}
    with loaded(scratch / "resize.plan") as live:
        for values in ((1, 3, 32, 32), (1, 3, 8, 8), (1, 3, 64, 48)):
            inputs = {"x": x, "size": np.array(values, np.int64)}
            errors[str(values)] = worst(live.infer(inputs)["y"], reference(model, inputs)["y"])
    assert max(errors.values()) < CLOSE, errors
    return errors


@check
def an_input_that_holds_a_shape_needs_values(scratch: Path) -> Any:
    """And says which options give them."""
    with refused("InvalidSpecError", "'size' holds a shape", "--opt-shapes and --max-shapes size:") as said:
        build(_expand(scratch / "needs.onnx"), scratch / "needs.plan", [spans((1, 1), (1, 1), (1, 1))])
    return said


@check
def a_frozen_model_needs_no_profile(scratch: Path) -> Any:
    """Frozen at a batch it is built without a profile, runs at that batch, and at no other."""
    from farm.storage.onnx_freeze import freeze_model

    model = conv_net(scratch / "dynamic.onnx")
    folder = scratch / "frozen"
    folder.mkdir(exist_ok=True)
    frozen = freeze_model(model, {"x": (8, 3, 32, 32)}, folder)
    build(frozen.graph, scratch / "frozen.plan")
    with loaded(scratch / "frozen.plan") as live:
        tensors = [str(tensor) for tensor in (*live.inputs, *live.outputs)]
        error = worst(live.infer(images(8))["y"], reference(model, images(8))["y"])
        with refused("InvalidSpecError", "does not fit input"):
            live.infer(images(4))
    assert error < CLOSE, (error, tensors)
    return {"tensors": tensors, "error": error}
