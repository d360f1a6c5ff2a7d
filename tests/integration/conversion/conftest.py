"""Models to convert."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path


def classifier(path: Path, *, opset: int = 17, named: bool = True) -> Path:
    """Two convolutions with a residual, a pool and a matrix product: `x` Nx3x32x32 to `y` Nx10."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> TensorProto:
        spread = np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return numpy_helper.from_array((rng.normal(0, 1, shape) / spread).astype(np.float32), name)

    def node(kind: str, inputs: list[str], output: str, name: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(kind, inputs, [output], name if named else "", **attributes)

    nodes = [
        node("Conv", ["x", "w1", "b1"], "c1", "conv1", pads=[1] * 4),
        node("Relu", ["c1"], "r1", "relu1"),
        node("Conv", ["r1", "w2", "b2"], "c2", "conv2", pads=[1] * 4),
        node("Add", ["c2", "r1"], "a", "residual"),
        node("Relu", ["a"], "r2", "relu2"),
        node("GlobalAveragePool", ["r2"], "g", "pool"),
        node("Flatten", ["g"], "f", "flatten"),
        node("MatMul", ["f", "w3"], "m", "head"),
        node("Add", ["m", "b3"], "y", "bias"),
    ]
    weights = [
        weight("w1", 16, 3, 3, 3),
        weight("b1", 16),
        weight("w2", 16, 16, 3, 3),
        weight("b2", 16),
        weight("w3", 16, 10),
        weight("b3", 10),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path
