"""How large the vocabularies are that a graph looks its integer inputs up in.

This module imports `onnx`: import it late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

from farm.domain.errors import InvalidModelError
from farm.domain.input_ranges import InputRange
from farm.storage.onnx_content import parse

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import NodeProto

#: What hands integers on as they are, whatever it does to their shape.
_HANDS_ON = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Expand")
_INTEGERS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)


def vocabularies(path: Path) -> dict[str, InputRange]:
    """The range of every integer input that indexes rows of weights: from 0 to the last row of the smallest.

    Args:
        path: the graph; weights outside it are not opened, for their shapes are in it. A file that is no graph gives
            nothing.
    """
    try:
        graph = parse(path.read_bytes()).graph
    except (OSError, InvalidModelError):
        return {}
    rows = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    constants = {
        node.output[0]: attribute.t.dims[0]
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value" and attribute.t.dims
    }
    rows.update(constants)
    # An input by every name that its integers have on their way.
    origin = {
        info.name: info.name
        for info in graph.input
        if info.type.tensor_type.elem_type in _INTEGERS and info.name not in rows
    }
    found: dict[str, InputRange] = {}
    for node in graph.node:
        if node.op_type in _HANDS_ON and node.input and node.input[0] in origin:
            origin.update(dict.fromkeys(node.output, origin[node.input[0]]))
        elif (
            node.op_type == "Gather" and node.input[0] in rows and node.input[1] in origin and not _axis(node)
        ):
            name, last = origin[node.input[1]], rows[node.input[0]] - 1
            known = found.get(name, InputRange(0, last))
            found[name] = InputRange(0, min(known.high, last))
    # Of a table with one row there is nothing to draw.
    return {name: span for name, span in found.items() if span.high > 0}


def _axis(node: NodeProto) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
