"""Estimates of what a model takes and does, by onnx's shape inference.

This module imports `onnx`: import it late.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from farm.domain.error_texts import one_line
from farm.domain.errors import InvalidModelError, InvalidSpecError
from farm.domain.estimates import Estimate
from farm.domain.flops import flops_of
from farm.storage.onnx_content import element_count, parse

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm.domain.shapes import Shape

_DEFAULT_DOMAINS = ("", "ai.onnx")
#: Constants of more elements are no shapes and no axes: inference does not need their values.
_LARGEST_SHAPE = 1024
#: What is shown of an error of onnx, in characters.
_LONGEST_TEXT = 300


def estimate(path: Path, shapes: Mapping[str, Shape]) -> Estimate:
    """The estimate of a model at some shapes of its inputs.

    Args:
        path: the graph; weights outside it are not opened.
        shapes: every input's shape, no dimension open.

    Raises:
        InvalidModelError: onnx can not infer the shapes.
        InvalidSpecError: a shape does not fit the model.
    """
    model = parse(path.read_bytes())
    weights = {
        tensor.name: _tensor_bytes(tensor.data_type, element_count(tensor))
        for tensor in model.graph.initializer
    }
    graph = _inferred(model, shapes)
    sizes = _Sizes(graph)
    flops, uncounted = _count(graph, sizes)
    peak, open_tensors = _peak(graph, sizes, frozenset(weights))
    elements = {name: math.prod(sizes.shapes[name]) for name in sizes.bytes if name not in weights}
    largest = max(elements, key=elements.__getitem__, default="")
    return Estimate(
        dict(shapes),
        flops,
        sum(weights.values()),
        peak,
        uncounted,
        open_tensors,
        largest,
        elements.get(largest, 0),
    )


class _Sizes:
    """Shapes and bytes of a graph's tensors."""

    def __init__(self, graph: GraphProto) -> None:
        self.shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self.bytes: dict[str, int] = {}
        for info in [*graph.input, *graph.value_info, *graph.output]:
            kind = info.type.tensor_type
            if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
                shape = tuple(dim.dim_value for dim in kind.shape.dim)
                self.shapes[info.name] = shape
                self.bytes[info.name] = _tensor_bytes(kind.elem_type, math.prod(shape))


def _inferred(model: ModelProto, shapes: Mapping[str, Shape]) -> GraphProto:
    for info in model.graph.input:
        if info.name in shapes:
            dims = info.type.tensor_type.shape.dim
            shape = shapes[info.name]
            fits = len(dims) == len(shape) and all(
                not dim.HasField("dim_value") or dim.dim_value in (size, -1)
                for dim, size in zip(dims, shape, strict=True)
            )
            if not fits:
                raise InvalidSpecError(f"shape {'x'.join(map(str, shape))} does not fit input {info.name!r}")
            for dim, size in zip(dims, shape, strict=True):
                dim.dim_value = size
    # What the exporter noted holds names for dimensions, which are numbers now.
    model.graph.ClearField("value_info")
    for info in model.graph.output:
        info.type.tensor_type.ClearField("shape")
    for tensor in model.graph.initializer:
        if element_count(tensor) > _LARGEST_SHAPE:
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(field)
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # onnx's C++ throws errors of many classes
        raise InvalidModelError(f"onnx can not infer the shapes: {one_line(error, _LONGEST_TEXT)}") from error


def _count(graph: GraphProto, sizes: _Sizes) -> tuple[int, dict[str, int]]:
    """The sum of what can be counted, and the nodes that can not, by operator."""
    total, uncounted = 0, Counter[str]()
    for node in graph.node:
        found = _flops(node, sizes)
        if found is None:
            uncounted[
                node.op_type if node.domain in _DEFAULT_DOMAINS else f"{node.domain}::{node.op_type}"
            ] += 1
        else:
            total += found
    return total, dict(uncounted.most_common())


def _flops(node: NodeProto, sizes: _Sizes) -> int | None:
    if node.domain not in _DEFAULT_DOMAINS:
        return None
    inputs = [sizes.shapes.get(name) for name in node.input if name]
    outputs = [sizes.shapes.get(name) for name in node.output if name]
    attributes: dict[str, Any] = {
        attribute.name: onnx.helper.get_attribute_value(attribute)
        for attribute in node.attribute
        if attribute.name in ("kernel_shape", "mode")
    }
    return flops_of(node.op_type, inputs, outputs, attributes)


def _peak(graph: GraphProto, sizes: _Sizes, constants: frozenset[str]) -> tuple[int, int]:
    """The most bytes held between two nodes, and how many tensors have no known size."""
    last_read: dict[str, int] = {}
    for place, node in enumerate(graph.node):
        for name in _read_by(node):
            last_read[name] = place
    results = {info.name for info in graph.output}
    held = {info.name for info in graph.input} - constants
    made = {name for node in graph.node for name in node.output if name}
    now = peak = sum(sizes.bytes.get(name, 0) for name in held)
    for place, node in enumerate(graph.node):
        fresh = {name for name in node.output if name} - held
        now += sum(sizes.bytes.get(name, 0) for name in fresh)
        held |= fresh
        peak = max(peak, now)
        gone = {name for name in held if last_read.get(name, place) <= place and name not in results}
        now -= sum(sizes.bytes.get(name, 0) for name in gone)
        held -= gone
    return peak, sum(name not in sizes.bytes for name in made)


def _read_by(node: NodeProto) -> list[str]:
    """What a node reads, in its subgraphs too."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            for inner in graph.node:
                names += _read_by(inner)
    return names


def _tensor_bytes(data_type: int, elements: int) -> int:
    try:
        width = onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize
    except (KeyError, TypeError):
        # Texts and types that later releases add.
        return 0
    half = data_type in (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
    return (elements + 1) // 2 if half else elements * width
