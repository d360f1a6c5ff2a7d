"""TensorRT-RTX builds with several profiles, values of shape inputs, and formats: real engines on this CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from farm.domain.errors import BuildError, InvalidSpecError
from farm.domain.io_formats import FORMATS
from farm.domain.shapes import ShapeRange
from workers.toolchains import load_toolchain
from workers.toolchains.toolchain import BuildInput

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("tensorrt_rtx")

SMALL = {"x": ShapeRange((1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16))}
LARGE = {"x": ShapeRange((1, 3, 32, 32), (1, 3, 32, 32), (2, 3, 32, 32))}


@pytest.fixture(scope="module")
def toolchain() -> Any:
    return load_toolchain("tensorrt-rtx")


def saved(path: Path, nodes: list[Any], inputs: list[Any], output: Any, **weights: Any) -> Path:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*output)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, str(path))
    return path


def convolution(folder: Path, dtype: int = TensorProto.FLOAT) -> Path:
    """`x` Nx3xHxW to `y` of 16 channels."""
    kernel = (
        np.random.default_rng(0).normal(0, 0.3, (16, 3, 3, 3)).astype(helper.tensor_dtype_to_np_dtype(dtype))
    )
    return saved(
        folder / "net.onnx",
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        [("x", dtype, ["N", 3, "H", "W"])],
        ("y", dtype, ["N", 16, "H", "W"]),
        w=kernel,
    )


def expansion(folder: Path) -> Path:
    """`x` Nx1 expanded to the shape that `size` holds."""
    return saved(
        folder / "expand.onnx",
        [helper.make_node("Expand", ["x", "size"], ["e"]), helper.make_node("Relu", ["e"], ["y"])],
        [("x", TensorProto.FLOAT, ["N", 1]), ("size", TensorProto.INT64, [2])],
        ("y", TensorProto.FLOAT, ["A", "B"]),
    )


def built(toolchain: Any, model: Path, *profiles: dict[str, ShapeRange], **more: Any) -> bytes:
    engine = model.with_suffix(".plan")
    request = BuildInput(model, engine, "fp32", profiles=profiles, compute_capability="8.9", **more)
    toolchain.build(request, lambda _fraction, _message: None)
    return engine.read_bytes()


def test_several_profiles_are_in_one_engine(toolchain: Any, tmp_path: Path) -> None:
    model = convolution(tmp_path)
    plans = {
        built(toolchain, model, *profiles)
        for profiles in ((SMALL,), (LARGE,), (SMALL, LARGE), (LARGE, SMALL))
    }
    assert len(plans) == 4, "each of them, and their order, makes another engine"
    assert all(plan.startswith(b"vtrt") for plan in plans)


def test_every_profile_must_cover_every_dynamic_input(toolchain: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="no optimization profile covers it"):
        built(toolchain, convolution(tmp_path), SMALL, {})


def test_an_input_that_holds_a_shape_takes_values(toolchain: Any, tmp_path: Path) -> None:
    x = ShapeRange((1, 1), (1, 1), (1, 1))
    few, many = (
        built(toolchain, expansion(tmp_path), {"x": x, "size": ShapeRange((1, 4), (2, 8), most)})
        for most in ((4, 16), (64, 64))
    )
    assert few != many


def test_an_input_that_holds_a_shape_and_has_no_values_is_named(toolchain: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="'size' holds a shape") as caught:
        built(toolchain, expansion(tmp_path), {"x": ShapeRange((1, 1), (1, 1), (1, 1))})
    assert "size:…, 2 value(s) joined by x" in caught.value.hint


def test_values_for_an_input_that_feeds_no_shape_are_refused(toolchain: Any, tmp_path: Path) -> None:
    model = saved(
        tmp_path / "add.onnx",
        [helper.make_node("Cast", ["n"], ["f"], to=1), helper.make_node("Relu", ["f"], ["y"])],
        [("n", TensorProto.INT32, [2])],
        ("y", TensorProto.FLOAT, [2]),
    )
    with pytest.raises(InvalidSpecError, match="'n' is static and feeds no shape"):
        built(toolchain, model, {"n": ShapeRange((1, 1), (2, 2), (4, 4))})


def test_types_are_the_models_and_formats_can_be_given(toolchain: Any) -> None:
    description = toolchain.describe()
    assert description.io_types == ()
    assert set(description.io_formats) == set(FORMATS)


@pytest.mark.parametrize(
    ("type_", "format_"), [("fp32", "chw32"), ("fp32", "hwc"), ("fp16", "hwc8"), ("fp16", "chw2")]
)
def test_a_format_makes_another_engine(toolchain: Any, tmp_path: Path, type_: str, format_: str) -> None:
    model = convolution(tmp_path, TensorProto.FLOAT if type_ == "fp32" else TensorProto.FLOAT16)
    plain = built(toolchain, model, SMALL)
    assert built(toolchain, model, SMALL, io_formats={"x": f"{type_}:{format_}"}) != plain
    assert built(toolchain, model, SMALL, io_formats={"x": f"{type_}:chw"}) == plain


def test_a_type_that_is_not_the_models_is_refused_at_the_builder_too(toolchain: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="takes the type of 'x' from the model: it can not be fp16"):
        built(toolchain, convolution(tmp_path), SMALL, io_formats={"x": "fp16:chw16"})


def test_what_the_builder_does_not_take_fails_in_its_words(toolchain: Any, tmp_path: Path) -> None:
    # The plan refuses this before it is queued; the builder has the last word all the same.
    with pytest.raises(BuildError, match="unsupported by tensor's allowed TensorFormats"):
        built(toolchain, convolution(tmp_path), SMALL, io_formats={"x": "fp32:hwc8"})
