"""A graph with its floats in double precision: weights, constants, types of inputs and outputs, casts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, GraphProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from onnx import ModelProto, NodeProto, ValueInfoProto

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
#: Attributes that name an element type.
_TYPES = ("to", "dtype", "output_datatype")
#: Inputs that are floats of single precision by definition, by operator.
_SINGLE = {"Resize": (1, 2), "Upsample": (1,)}


def in_doubles(model: ModelProto) -> None:
    """Changes a model, read with all its weights, to doubles wherever it has floats of 16 or 32 bits."""
    single = {
        name
        for graph in _graphs(model.graph)
        for node in graph.node
        for name in _inputs_at(node, _SINGLE.get(node.op_type, ()))
    }
    for graph in _graphs(model.graph):
        for tensor in graph.initializer:
            if tensor.name not in single:
                _widen(tensor)
        for info in (*graph.input, *graph.output):
            _widen_type(info)
        # They follow from the rest; what the exporter noted holds no more.
        del graph.value_info[:]
        _widen_nodes(graph.node, single)
    for function in model.functions:
        _widen_nodes(function.node, single)


def _widen_nodes(nodes: Iterable[NodeProto], single: set[str]) -> None:
    for node in nodes:
        if single.intersection(node.output):
            continue
        for attribute in node.attribute:
            if attribute.name in _TYPES and attribute.i in _FLOATS:
                attribute.i = TensorProto.DOUBLE
            elif attribute.type == AttributeProto.TENSOR:
                _widen(attribute.t)
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                _make_tensor(attribute)


def _make_tensor(attribute: AttributeProto) -> None:
    """A constant given as a plain float, which is one of single precision by definition, as a tensor of doubles."""
    value = attribute.f if attribute.name == "value_float" else list(attribute.floats)
    tensor = numpy_helper.from_array(np.asarray(value, dtype=np.float64))
    attribute.CopyFrom(helper.make_attribute("value", tensor))


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type in _FLOATS:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _widen_type(info: ValueInfoProto) -> None:
    kind = info.type.tensor_type
    if kind.elem_type in _FLOATS:
        kind.elem_type = TensorProto.DOUBLE


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and all that are nested in it."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _graphs(attribute.g)
            for nested in attribute.graphs:
                yield from _graphs(nested)


def _inputs_at(node: NodeProto, positions: tuple[int, ...]) -> list[str]:
    return [node.input[at] for at in positions if at < len(node.input) and node.input[at]]
