"""The layers of an engine that is an ONNX graph: what ONNX Runtime's optimizer left of the model.

This module imports `onnx`: import it late.
"""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto
from onnx.shape_inference import infer_shapes

from farm.domain.layers import EngineLayers, IoTensor, Layer, LayerTensor
from farm.storage.onnx_content import element_count, parse

if TYPE_CHECKING:
    from pathlib import Path

_DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "fp32", TensorProto.DOUBLE: "fp64", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16",
    TensorProto.INT8: "int8", TensorProto.UINT8: "uint8", TensorProto.INT32: "int32", TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool", TensorProto.INT4: "int4", TensorProto.UINT4: "int4",
    TensorProto.FLOAT8E4M3FN: "fp8", TensorProto.FLOAT8E4M3FNUZ: "fp8", TensorProto.FLOAT8E5M2: "fp8",
    TensorProto.FLOAT8E5M2FNUZ: "fp8",
}  # fmt: skip
#: What ONNX Runtime puts behind the names of nodes and tensors: of blocks of channels, of quantization, of a second one.
_ENDINGS = re.compile(r"(_nchwc|_QuantizeLinear_Output|_quant|_quantized|_token_\d+)+$")
_CONVERSIONS = ("ReorderInput", "ReorderOutput", "QuantizeLinear", "DequantizeLinear", "Transpose", "Cast")
#: What is fused into what it follows.
_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu")
#: Weights are told from shapes and axes by their type.
_WEIGHT_DTYPES = ("fp64", "fp32", "fp16", "bf16", "fp8", "int8", "uint8", "int4")


def read_onnx_layers(engine_path: Path, model_data: bytes = b"") -> EngineLayers | None:
    """The nodes of the graph in an engine's file; none if there is no graph in it.

    Args:
        engine_path: an ONNX file, or an archive with one and its weights.
        model_data: the graph that it was made from, to tell which of its nodes each layer computes.

    Raises:
        InvalidModelError: it looks like a graph, but can not be read.
    """
    data = _graph_bytes(engine_path)
    if data is None:
        return None
    model = parse(data)
    covered = _nodes_by_layer(model.graph, parse(model_data).graph) if model_data else {}
    tensors = _Tensors(model)
    layers = tuple(
        tensors.layer(node, covered.get(place, _name(node))) for place, node in enumerate(model.graph.node)
    )
    io = [tensors.io(info.name, "input") for info in model.graph.input if info.name not in tensors.constants]
    io += [tensors.io(info.name, "output") for info in model.graph.output]
    return EngineLayers(layers, tuple(io), is_detailed=True, source="ONNX")


def _graph_bytes(path: Path) -> bytes | None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            graphs = [name for name in archive.namelist() if name.endswith(".onnx")]
            return archive.read(graphs[0]) if graphs else None
    with path.open("rb") as stream:
        # The first field of an ONNX file is its IR version.
        return None if stream.read(1) != b"\x08" else b"\x08" + stream.read()


class _Tensors:
    """Types and shapes of a graph's tensors, as far as they are known."""

    def __init__(self, model: ModelProto) -> None:
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._known: dict[str, LayerTensor] = {}
        for tensor in model.graph.initializer:
            self._note(tensor.name, tensor.data_type, tuple(tensor.dims))
        for info in _inferred(model):
            kind = info.type.tensor_type
            dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
            self._note(info.name, kind.elem_type, tuple(dims) if kind.HasField("shape") else None)

    def layer(self, node: NodeProto, nodes: tuple[str, ...]) -> Layer:
        """A node as a layer; what it writes is of its first input's type where nobody says another."""
        inputs = [self._tensor(name) for name in node.input if name and name not in self.constants]
        weights = [self.constants[name] for name in node.input if name in self.constants]
        for name in filter(None, node.output):
            if not self._tensor(name).dtype:
                self._known[name] = LayerTensor(
                    name, self._written(node, inputs), "", self._tensor(name).shape
                )
        return Layer(
            name=node.name or node.output[0],
            type=f"{node.domain}::{node.op_type}" if node.domain else node.op_type,
            precision=_precision(weights, inputs),
            inputs=tuple(inputs),
            outputs=tuple(self._tensor(name) for name in node.output if name),
            weights_bytes=sum(filter(None, (self._bytes(tensor) for tensor in weights))),
            nodes=nodes,
        )

    def _written(self, node: NodeProto, inputs: list[LayerTensor]) -> str:
        """The type of what a node writes: of what its conversion says, else of what it reads."""
        if node.op_type == "Cast":
            return next((_DTYPES.get(item.i, "") for item in node.attribute if item.name == "to"), "")
        place = {"QuantizeLinear": 2, "DequantizeLinear": 1}.get(node.op_type)
        if place is not None and len(node.input) > place and node.input[place] in self.constants:
            return _DTYPES.get(self.constants[node.input[place]].data_type, "")
        return inputs[0].dtype if inputs else ""

    def io(self, name: str, mode: str) -> IoTensor:
        """An input or output of the graph."""
        tensor = self._tensor(name)
        return IoTensor(name, mode, tensor.dtype, tensor.shape)

    def _tensor(self, name: str) -> LayerTensor:
        return self._known.get(name, LayerTensor(name))

    def _note(self, name: str, data_type: int, shape: tuple[int, ...] | None) -> None:
        self._known[name] = LayerTensor(name, _DTYPES.get(data_type, ""), "", shape)

    def _bytes(self, tensor: TensorProto) -> int | None:
        return LayerTensor("", _DTYPES.get(tensor.data_type, ""), "", (element_count(tensor),)).size_bytes


def _inferred(model: ModelProto) -> list[ValueInfoProto]:
    """What the graph says of its tensors, and what follows from that; ONNX Runtime's own operators end the chain."""
    graph = model.graph
    try:
        graph = infer_shapes(_without_weights(model)).graph
    except Exception:  # noqa: BLE001 - onnx throws what it likes; the graph's own words are enough then
        graph = model.graph
    return [*graph.value_info, *graph.input, *graph.output]


def _without_weights(model: ModelProto) -> ModelProto:
    """A copy without the large constants, which inference does not look at."""
    light = ModelProto()
    light.CopyFrom(model)
    for tensor in light.graph.initializer:
        if element_count(tensor) > 1024:
            for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(name)
    return light


def _precision(weights: list[TensorProto], inputs: list[LayerTensor]) -> str:
    """Of the largest weights; scales and zero points are single values."""
    large = [tensor for tensor in weights if element_count(tensor) > 1]
    words = [_DTYPES.get(tensor.data_type, "") for tensor in sorted(large, key=element_count, reverse=True)]
    words = [word for word in words if word in _WEIGHT_DTYPES] + [tensor.dtype for tensor in inputs]
    return next(filter(None, words), "")


def _name(node: NodeProto) -> tuple[str, ...]:
    return (node.name or node.output[0],)


def _nodes_by_layer(engine: GraphProto, model: GraphProto) -> dict[int, tuple[str, ...]]:
    """For the place of every layer the nodes of the model that it computes.

    ONNX Runtime keeps the name of a node or of the tensor that it writes, with endings of its own. A node that
    nobody is named after was fused: an activation into what it follows, anything else into its first reader.
    """
    makers = {name: place for place, node in enumerate(model.node) for name in node.output if name}
    owner = _named_after(engine, model, makers)
    for place, node in enumerate(model.node):
        before = makers.get(node.input[0]) if node.input else None
        if place not in owner and node.op_type in _ACTIVATIONS and before in owner:
            owner[place] = owner[before]
    readers: dict[int, list[int]] = {}
    for place, node in enumerate(model.node):
        for name in node.input:
            if name in makers:
                readers.setdefault(makers[name], []).append(place)
    # Nodes stand in the order in which they can run, so every reader comes first here.
    for place in range(len(model.node) - 1, -1, -1):
        if place not in owner:
            theirs = [owner[reader] for reader in readers.get(place, ()) if reader in owner]
            if theirs:
                owner[place] = theirs[0]
    found: dict[int, tuple[str, ...]] = dict.fromkeys(range(len(engine.node)), ())
    for place, node in enumerate(model.node):
        if place in owner:
            found[owner[place]] += _name(node)
    return found


def _named_after(engine: GraphProto, model: GraphProto, makers: dict[str, int]) -> dict[int, int]:
    """Layers by the place of the node whose name, or whose tensor's name, they bear or write."""
    by_name = {node.name: place for place, node in enumerate(model.node) if node.name}
    owner: dict[int, int] = {}
    for place, node in enumerate(engine.node):
        plain = _ENDINGS.sub("", node.name)
        found = by_name.get(plain, makers.get(plain) if plain else None)
        if found is not None and _may_be(node, model.node[found]):
            owner.setdefault(found, place)
    for place, node in enumerate(engine.node):
        for name in node.output:
            found = makers.get(name, makers.get(_ENDINGS.sub("", name)))
            if found is not None and _may_be(node, model.node[found]):
                owner.setdefault(found, place)
    return owner


def _may_be(layer: NodeProto, node: NodeProto) -> bool:
    """What the optimizer adds to convert bears names of the model and computes nothing of it."""
    return layer.op_type == node.op_type or layer.op_type not in _CONVERSIONS
