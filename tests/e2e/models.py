"""Small ONNX models for the command line: good ones, slow ones, and ones that nobody should take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

FLOAT = TensorProto.FLOAT


def dense(seed: int = 0, *, batch: int | str = "N", opset: int = 17, operator: str = "Relu") -> ModelProto:
    """`scores = Relu(x @ w)`, with x of N x 8 and w of 8 x 4."""
    weights = np.random.default_rng(seed).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["product"], name="multiply"),
            helper.make_node(operator, ["product"], ["scores"], name="activate"),
        ],
        "dense",
        [helper.make_tensor_value_info("x", FLOAT, [batch, 8])],
        [helper.make_tensor_value_info("scores", FLOAT, [batch, 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", opset)])


def segmentation(seed: int = 0, *, classes: int = 3) -> ModelProto:
    """`map = Conv(Relu(Conv(x)))`, with x of N x 1 x 8 x 8 and a score for every class and pixel."""
    draw = np.random.default_rng(seed)
    first, second = draw.standard_normal((8, 1, 3, 3)), draw.standard_normal((classes, 8, 3, 3))
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "first"], ["features"], name="features", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["features"], ["active"], name="activate"),
            helper.make_node("Conv", ["active", "second"], ["map"], name="classify", pads=[1, 1, 1, 1]),
        ],
        "segmentation",
        [helper.make_tensor_value_info("x", FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("map", FLOAT, ["N", classes, 8, 8])],
        [
            numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in (("first", first), ("second", second))
        ],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


def lookup(seed: int = 0, *, words: int = 100) -> ModelProto:
    """`scores = table[ids] * mask`, with ids and mask of N x 6 and a table of words x 4: an index beyond it fails."""
    table = np.random.default_rng(seed).standard_normal((words, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["found"], name="look-up"),
            helper.make_node("Cast", ["attention_mask"], ["weights"], name="cast", to=FLOAT),
            helper.make_node("Unsqueeze", ["weights", "last"], ["column"], name="unsqueeze"),
            helper.make_node("Mul", ["found", "column"], ["scores"], name="multiply"),
        ],
        "lookup",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["N", 6])
            for name in ("ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("scores", FLOAT, ["N", 6, 4])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([2]), "last")],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


def slow(seed: int = 0, *, size: int = 512, layers: int = 6) -> ModelProto:
    """A chain of matrix products: one inference of 512 rows takes milliseconds on any CPU."""
    weights = np.random.default_rng(seed).standard_normal((size, size)).astype(np.float32) / size**0.5
    nodes = [helper.make_node("MatMul", [f"t{n}", "w"], [f"t{n + 1}"]) for n in range(layers)]
    graph = helper.make_graph(
        nodes,
        "slow",
        [helper.make_tensor_value_info("t0", FLOAT, ["N", size])],
        [helper.make_tensor_value_info(f"t{layers}", FLOAT, ["N", size])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


def two_dynamic() -> ModelProto:
    """`y = a + b`, two inputs of which more than the batch is dynamic."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        "two",
        [helper.make_tensor_value_info(name, FLOAT, ["N", "length"]) for name in ("a", "b")],
        [helper.make_tensor_value_info("y", FLOAT, ["N", "length"])],
    )
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])


def save(model: ModelProto | bytes, path: Path) -> Path:
    """Writes a model, or what is taken for one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def save_external(path: Path, *, location: str = "weights.bin", **entries: Any) -> Path:
    """The dense model with its weights in a file beside it, and the entry as given."""
    model = dense()
    tensor = model.graph.initializer[0]
    (path.parent / "weights.bin").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return save(model, path)
