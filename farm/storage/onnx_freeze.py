"""A dynamic model with the shapes of inputs fixed: a model of its own, with its own digest.

This module imports `onnx`: import it late.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import ModelProto

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import shape_text
from farm.domain.suggestions import did_you_mean
from farm.storage import onnx_content
from farm.storage.onnx_files import graph_bytes, model_in
from farm.storage.onnx_graph import LARGEST_INFERRED_BYTES, REFUSALS, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx import TensorShapeProto, ValueInfoProto

    from farm.domain.models import Model
    from farm.domain.shapes import Shape


@dataclass(frozen=True)
class FrozenModel:
    """What freezing led to.

    Attributes:
        model: the frozen one; its external data is where the original's is.
        graph: the file of its graph.
    """

    model: Model
    graph: Path


def freeze_model(path: Path, shapes: Mapping[str, Shape], folder: Path) -> FrozenModel:
    """Fixes the shapes of inputs.

    A dimension that has a name is fixed wherever the graph has that name: with `N` fixed in one input it is fixed
    in the others and in the outputs. Shapes of outputs are inferred anew; those of tensors in between are dropped,
    since every toolchain infers them for itself.

    Args:
        path: the graph of a model in ONNX, its external data beside it.
        shapes: the whole shape of every input that is to be fixed.
        folder: where the frozen graph is written.

    Raises:
        InvalidModelError: the model can not be taken.
        InvalidSpecError: an input is unknown, fixed at something else, or the model does not take these shapes.
    """
    data = graph_bytes(path)
    model = onnx_content.parse(data)
    given = {tensor.name for tensor in model.graph.initializer}
    inputs = {info.name: info for info in model.graph.input if info.name not in given}
    symbols: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise InvalidSpecError(f"the model has no input {name!r}", hint=did_you_mean(name, inputs))
        _fix(inputs[name], shape, symbols)
    for info in (*inputs.values(), *model.graph.output):
        for dim in _dims(info):
            if dim.dim_param in symbols:
                dim.dim_value = symbols[dim.dim_param]
    del model.graph.value_info[:]
    if len(data) <= LARGEST_INFERRED_BYTES:
        _check_shapes(model, onnx_content.parse(data))
        _infer_outputs(model)
    frozen = model.SerializeToString()
    graph = folder / path.name
    graph.write_bytes(frozen)
    return FrozenModel(model_in(frozen, path.name, path.parent), graph)


def _dims(info: ValueInfoProto) -> list[TensorShapeProto.Dimension]:
    return list(info.type.tensor_type.shape.dim)


def _fix(info: ValueInfoProto, shape: Shape, symbols: dict[str, int]) -> None:
    """Sets an input's dimensions, and notes what that says of names."""
    dims = _dims(info)
    now = tuple(dim.dim_value if dim.dim_value > 0 else -1 for dim in dims)
    if len(dims) != len(shape) or any(old not in (-1, new) for old, new in zip(now, shape, strict=True)):
        raise InvalidSpecError(
            f"{shape_text(shape)} does not fit input {info.name!r}, which is {shape_text(now)}",
            hint="Only what is dynamic can be fixed, and the model's other sizes stay. For another size export the "
            "model again.",
        )
    if 0 in shape:
        raise InvalidSpecError(
            f"input {info.name!r} can not be fixed at {shape_text(shape)}: that holds nothing"
        )
    for dim, size in zip(dims, shape, strict=True):
        if dim.dim_param and symbols.setdefault(dim.dim_param, size) != size:
            raise InvalidSpecError(
                f"dimension {dim.dim_param!r} can not be {symbols[dim.dim_param]} and {size}",
                hint="The model has one name for several dimensions, so they are equal.",
            )
        dim.dim_value = size


def _check_shapes(frozen: ModelProto, original: ModelProto) -> None:
    """Refuses shapes at which the graph contradicts itself, as far as onnx can tell."""
    reason = _contradiction(frozen)
    # Of a graph with operators that onnx does not know, or that it finds fault with anyway, it can not tell.
    if reason and not _contradiction(original):
        raise InvalidSpecError(
            f"the model does not take these shapes: {reason}",
            hint="Give sizes that its layers can compute with.",
        )


def _contradiction(model: ModelProto) -> str:
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except REFUSALS as error:
        return one_line(str(error))
    return ""


def _infer_outputs(model: ModelProto) -> None:
    """Puts the shapes that follow into the outputs, in place of names that meant a dynamic one."""
    with contextlib.suppress(*REFUSALS):
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        for info, found in zip(model.graph.output, inferred.graph.output, strict=True):
            if found.type.tensor_type.HasField("shape"):
                info.type.tensor_type.shape.CopyFrom(found.type.tensor_type.shape)
