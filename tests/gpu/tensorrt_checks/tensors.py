"""Inputs and outputs of every kind and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import (
    batches,
    build,
    loaded,
    refused,
    spans,
    worst,
)
from tensorrt_checks.models import conv_net, images, node, reference, save
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path


@check
def int64_input(scratch: Path) -> Any:
    """int64 indices, which TensorRT 8 takes as int32."""
    import numpy as np

    table = np.random.default_rng(0).normal(0, 1, (50, 8)).astype(np.float32)
    model = save(
        scratch / "int64.onnx",
        [node("Gather", ["table", "i"], ["g"]), node("Relu", ["g"], ["y"])],
        [("i", "INT64", ["N"])],
        [("y", "FLOAT", ["N", 8])],
        {"table": table},
    )
    build(model, scratch / "int64.plan", [spans((1,), (4,), (16,), name="i")])
    indices = {"i": np.array([3, 49, 0], np.int64)}
    with loaded(scratch / "int64.plan") as live:
        assert worst(live.infer(indices)["y"], reference(model, indices)["y"]) < 1e-6
        if live.inputs[0].dtype == "int32":
            with refused("InvalidSpecError", "beyond int32"):
                live.infer({"i": np.array([2**40], np.int64)})
        return str(live.inputs[0])


@check
def bool_input_and_output(scratch: Path) -> Any:
    """Truth values in and out."""
    import numpy as np

    model = save(
        scratch / "bool.onnx",
        [node("Where", ["m", "x", "zero"], ["w"]), node("Relu", ["w"], ["y"]), node("Not", ["m"], ["n"])],
        [("m", "BOOL", ["N", 4]), ("x", "FLOAT", ["N", 4])],
        [("y", "FLOAT", ["N", 4]), ("n", "BOOL", ["N", 4])],
        {"zero": np.zeros((1, 4), np.float32)},
    )
    shapes = ((1, 4), (2, 4), (8, 4))
    build(model, scratch / "bool.plan", [{**spans(*shapes, name="m"), **spans(*shapes, name="x")}])
    rng = np.random.default_rng(0)
    inputs = {"m": rng.random((3, 4)) > 0.5, "x": rng.normal(0, 1, (3, 4)).astype(np.float32)}
    wanted = reference(model, inputs)
    with loaded(scratch / "bool.plan") as live:
        got = live.infer(inputs)
        assert worst(got["y"], wanted["y"]) < 1e-6
        assert got["n"].dtype == np.bool_, got["n"].dtype
        assert (got["n"] == wanted["n"]).all()
        return [str(tensor) for tensor in (*live.inputs, *live.outputs)]


@check
def data_dependent_output(scratch: Path) -> Any:
    """NonZero: the output's shape follows from the data, through an output allocator."""
    import numpy as np

    model = save(
        scratch / "nonzero.onnx",
        [node("Relu", ["x"], ["r"]), node("NonZero", ["r"], ["y"])],
        [("x", "FLOAT", ["N", 64])],
        [("y", "INT64", [2, "M"])],
    )
    build(model, scratch / "nonzero.plan", [spans((1, 64), (4, 64), (512, 64))])
    found = {}
    with loaded(scratch / "nonzero.plan") as live:
        for rows in (2, 512, 1):
            inputs = {"x": np.random.default_rng(rows).normal(0, 1, (rows, 64)).astype(np.float32)}
            got = live.infer(inputs)["y"]
            assert (got == np.array(np.nonzero(np.maximum(inputs["x"], 0)))).all()
            found[rows] = got.shape
        nothing = live.infer({"x": np.full((2, 64), -1, np.float32)})["y"]
        assert nothing.shape == (2, 0), nothing.shape
        sessions = live.timed_sessions({"x": np.ones((4, 64), np.float32)})
        assert [session.is_graph for session in sessions] == [False]
        times = [sessions[0].iterate() for _ in range(10)][-1]
        assert sessions[0]._launch.binding.outputs()["y"].shape == (2, 256)
        return {"shapes": found, "times": times._asdict(), "dtype": live.outputs[0].dtype}


@check
def half_and_static_io(scratch: Path) -> Any:
    """A static model with half-precision input and output, and a scalar output."""
    import numpy as np

    model = save(
        scratch / "half.onnx",
        [
            node("Relu", ["x"], ["y"]),
            node("Cast", ["y"], ["f"], to=1),
            node("ReduceSum", ["f"], ["s"], keepdims=0),
        ],
        [("x", "FLOAT16", [2, 8])],
        [("y", "FLOAT16", [2, 8]), ("s", "FLOAT", [])],
    )
    build(model, scratch / "half.plan", (), "fp16")
    inputs = {"x": np.random.default_rng(0).normal(0, 1, (2, 8)).astype(np.float16)}
    wanted = reference(model, inputs)
    with loaded(scratch / "half.plan") as live:
        got = live.infer(inputs)
        assert got["y"].dtype == np.float16
        assert worst(got["y"], wanted["y"]) < 1e-3
        assert worst(got["s"], wanted["s"]) < 1e-2, (got["s"], wanted["s"])
        sessions = live.timed_sessions(inputs)
        assert len(sessions) == 2
        sessions[1].iterate()
        return [str(tensor) for tensor in (*live.inputs, *live.outputs)]


@check
def two_profiles(scratch: Path) -> Any:
    """Each batch runs in the profile that covers it; graphs too, when profiles alternate."""
    model = conv_net(scratch / "profiles.onnx")
    build(model, scratch / "profiles.plan", [batches(1, 2, 4), batches(6, 8, 16)])
    errors = {}
    with loaded(scratch / "profiles.plan") as live:
        for batch in (1, 16, 4, 6):
            errors[batch] = worst(live.infer(images(batch))["y"], reference(model, images(batch))["y"])
        small, large = live.timed_sessions(images(2)), live.timed_sessions(images(8))
        for session in (*small, *large, *small):
            session.iterate()
        with refused("InvalidSpecError", "outside the engine's profile"):
            live.infer(images(5))
    assert max(errors.values()) < 1e-4, errors
    return errors
