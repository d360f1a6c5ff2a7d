"""What models have in common that differ in the values of their weights alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper, save_model

from farm.storage.model_cache import ModelCache
from farm.storage.onnx_files import read_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def model(
    weights: Any = WEIGHTS, shape: tuple[int, ...] = (2, 4), name: str = "w", operator: str = "Relu"
) -> ModelProto:
    """`y = operator(reshape(x @ w))`."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", name], ["product"], name="multiply"),
            helper.make_node("Reshape", ["product", "shape"], ["shaped"], name="reshape"),
            helper.make_node(operator, ["shaped"], ["y"], name="activate"),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(weights, name),
            numpy_helper.from_array(np.array(shape, dtype=np.int64), "shape"),
        ],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


@pytest.fixture
def structure(tmp_path: Path) -> Callable[..., str]:
    """The structure of a model, through a file."""

    def of(made: ModelProto, **options: Any) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        save_model(made, folder / "model.onnx", **options)
        return read_model(folder / "model.onnx").structure_sha256

    return of


def test_other_weights_make_another_model_of_the_same_structure(structure: Callable[..., str]) -> None:
    assert structure(model()) == structure(model(WEIGHTS * 2 + 1))


def test_it_does_not_matter_where_weights_are_kept(structure: Callable[..., str]) -> None:
    outside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    assert structure(model()) == structure(model(WEIGHTS + 1), **outside)


def test_who_wrote_it_and_when_does_not_matter(structure: Callable[..., str]) -> None:
    other = model(WEIGHTS + 1)
    other.producer_name, other.producer_version = "pytorch", "2.9"
    assert structure(model()) == structure(other)


@pytest.mark.parametrize(
    "other",
    [
        model(np.zeros((3, 8), dtype=np.float32), shape=(2, 8)),
        model(WEIGHTS.astype(np.float64)),
        model(shape=(4, 2)),
        model(name="other"),
        model(operator="Sigmoid"),
    ],
    ids=["size of weights", "type of weights", "a shape's value", "a name", "an operator"],
)
def test_anything_else_is_another_structure(structure: Callable[..., str], other: ModelProto) -> None:
    if other.graph.initializer[0].data_type == TensorProto.DOUBLE:
        other.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
        other.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    assert structure(model()) != structure(other)


def quantized(values: Any) -> ModelProto:
    """Weights of 8 bits, which are whole numbers and yet weights."""
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["q", "scale"], ["w"], name="back"),
            helper.make_node("MatMul", ["x", "w"], ["y"], name="multiply"),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [
            numpy_helper.from_array(values, "q"),
            numpy_helper.from_array(np.array(0.1, dtype=np.float32), "scale"),
        ],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_weights_of_8_bits_are_weights(structure: Callable[..., str]) -> None:
    first = quantized(np.ones((3, 4), dtype=np.int8))
    second = quantized(np.full((3, 4), 7, dtype=np.int8))
    assert structure(first) == structure(second)


def test_what_was_read_before_is_remembered_with_its_structure(tmp_path: Path) -> None:
    import os

    path = tmp_path / "model.onnx"
    save_model(model(), path)
    # Long enough ago to be remembered at all.
    os.utime(path, (1, 1))
    cache = ModelCache(tmp_path / "cache")
    assert cache.read(path) == cache.read(path) == read_model(path)
