"""Small ONNX models, their inputs, and what ONNX Runtime makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

OPSET = 17  # the newest that TensorRT 8's parser knows


def save(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: Any = None,
    opset: int = OPSET,
) -> Path:
    """An ONNX file; tensors are `(name, type name, shape)`."""
    import onnx
    from onnx import helper, numpy_helper

    def tensor(name: str, kind: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), shape)

    graph = helper.make_graph(
        nodes,
        path.stem,
        [tensor(*value) for value in inputs],
        [tensor(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    """One node, named after its output."""
    from onnx import helper

    return helper.make_node(operator, inputs, outputs, name=f"{operator}_{outputs[0]}", **attributes)


def conv_net(path: Path) -> Path:
    """`x` Nx3x32x32 through three convolutions to `y` Nx10."""
    import numpy as np

    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(0, 0.2, (16, 3, 3, 3)).astype(np.float32),
        "w1": rng.normal(0, 0.1, (32, 16, 3, 3)).astype(np.float32),
        "w2": rng.normal(0, 0.1, (32, 32, 3, 3)).astype(np.float32),
        "wg": rng.normal(0, 0.2, (32, 10)).astype(np.float32),
    }
    nodes = []
    value = "x"
    for index in range(3):
        nodes.append(node("Conv", [value, f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]))
        nodes.append(node("Relu", [f"c{index}"], [f"r{index}"]))
        value = f"r{index}"
    nodes += [
        node("GlobalAveragePool", [value], ["pooled"]),
        node("Flatten", ["pooled"], ["flat"]),
        node("MatMul", ["flat", "wg"], ["y"]),
    ]
    return save(path, nodes, [("x", "FLOAT", ["N", 3, 32, 32])], [("y", "FLOAT", ["N", 10])], weights)


def reference(model: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    """What ONNX Runtime computes on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def images(batch: int, seed: int = 1) -> dict[str, Any]:
    """Inputs for `conv_net`."""
    import numpy as np

    return {"x": np.random.default_rng(seed).normal(0, 1, (batch, 3, 32, 32)).astype(np.float32)}
