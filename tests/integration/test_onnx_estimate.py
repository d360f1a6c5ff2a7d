"""Estimates of a model's work and memory, by onnx's shape inference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from farm.domain.errors import InvalidSpecError
from farm.storage.onnx_estimate import estimate

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = TensorProto.FLOAT


def a_model(path: Path, nodes: list[Any], shape: list[Any], out: list[Any] | None, **weights: Any) -> Path:
    """From `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("custom", 1)]
    save(helper.make_model(graph, ir_version=8, opset_imports=imports), path)
    return path


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """`y = Relu(x w)`, N x 8 by 8 x 4."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Relu", ["product"], ["y"]),
    ]
    return a_model(tmp_path / "dense.onnx", nodes, ["N", 8], ["N", 4], w=np.ones((8, 4), np.float32))


@pytest.mark.parametrize("batch", [1, 16])
def test_work_and_memory_follow_the_batch(dense: Path, batch: int) -> None:
    found = estimate(dense, {"x": (batch, 8)})
    assert found.flops == batch * (2 * 8 * 4 + 4)
    assert found.weights_bytes == 4 * 32
    # The input beside the product; then the product beside the result.
    assert found.peak_activation_bytes == 4 * batch * (8 + 4)
    assert (found.uncounted, found.open_tensors) == ({}, 0)


def test_what_is_read_again_later_is_held_until_then(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Add", ["x", "b"], ["y"]),
    ]
    found = estimate(a_model(tmp_path / "skip.onnx", nodes, [1, 8], [1, 8]), {"x": (1, 8)})
    assert found.peak_activation_bytes == 3 * 32


def test_operators_that_nobody_knows_are_named_and_in_no_sum(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Warp", ["a"], ["b"], domain="custom"),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    found = estimate(a_model(tmp_path / "custom.onnx", nodes, [1, 8], None), {"x": (1, 8)})
    # After it nobody knows the shapes any more.
    assert found.flops == 8
    assert found.uncounted == {"custom::Warp": 1, "Relu": 1}
    assert found.open_tensors == 2


def test_shapes_that_follow_from_constants_are_known(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "to"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    weights = {"to": np.array([0, 2, 4], np.int64), "w": np.ones((4, 3), np.float32)}
    path = a_model(tmp_path / "reshape.onnx", nodes, ["N", 8], None, **weights)
    assert estimate(path, {"x": (5, 8)}).flops == 2 * 5 * 2 * 4 * 3


@pytest.mark.parametrize("shape", [(1, 9), (8,), (1, 8, 1)])
def test_a_shape_that_does_not_fit_is_refused(dense: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidSpecError, match="does not fit input 'x'"):
        estimate(dense, {"x": shape})


def test_the_largest_tensor_is_named_and_a_constant_is_none(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["wide"]),
        helper.make_node("ReduceSum", ["wide"], ["y"], keepdims=0),
    ]
    path = a_model(tmp_path / "wide.onnx", nodes, ["N", 2], [], w=np.ones((2, 64), np.float32))
    found = estimate(path, {"x": (1, 2)})
    assert (found.largest_tensor, found.largest_elements) == ("wide", 64)
