"""What a graph takes, gives and consists of, and whether it is one that onnx accepts.

This module imports `onnx`: import it late.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import onnx
from onnx import GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto

from farm.domain.errors import InvalidModelError
from farm.domain.models import Tensor
from farm.domain.shapes import DYNAMIC
from farm.domain.suggestions import did_you_mean
from farm.storage.onnx_content import dtype_name, element_count, is_external, messages_in

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEFAULT_DOMAINS = ("", "ai.onnx")
#: Inference parses the graph again and copies it, which is too much for a convenience beyond this.
LARGEST_INFERRED_BYTES = 64 << 20
_LONGEST_REASON = 400
#: What onnx's C++ throws at graphs it can not take: its own errors, and the standard library's by other names.
REFUSALS = (
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    RuntimeError,
    ValueError,
    LookupError,
    ArithmeticError,
)


def check_operators(model: ModelProto) -> tuple[int, dict[str, int]]:
    """The version of the default operator set, and how many nodes there are of each type.

    Operators of other domains are counted as `domain::Operator` and not looked at: a toolchain may
    have a plugin for them.

    Raises:
        InvalidModelError: the operator set is missing or too new, or has no such operator.
    """
    newest_ir = onnx.IR_VERSION
    if model.ir_version > newest_ir:
        raise InvalidModelError(
            f"IR version {model.ir_version}; newest known: {newest_ir}",
            hint="Update the farm's onnx, or export the model for an older opset.",
        )
    # Before IR version 3 there was one operator set, and no field to name it.
    opset = 1 if model.ir_version < 3 else _opset(model.opset_import)
    if opset is None:
        raise InvalidModelError(
            "does not say which opset it was written for", hint="Export it again, or add opset_import."
        )
    counts = _count_operators(model.graph, opset)
    for function in model.functions:
        counts += _count_operators(function, _opset(function.opset_import))
    return opset, dict(sorted(counts.items()))


def inputs_of(model: ModelProto) -> tuple[Tensor, ...]:
    """What must be fed: inputs without those that have a value already.

    Raises:
        InvalidModelError: an input is not a tensor, or has no shape.
    """
    graph = model.graph
    given = {tensor.name for tensor in graph.initializer}
    given |= {sparse.values.name for sparse in graph.sparse_initializer}
    inputs = tuple(_tensor(info, "input") for info in graph.input if info.name not in given)
    for info in graph.input:
        if info.name not in given and not info.type.tensor_type.HasField("shape"):
            raise InvalidModelError(
                f"input {info.name!r} has no shape",
                hint="Export the model with the input's rank; dimensions may be left dynamic by name.",
            )
    return inputs


def outputs_of(model: ModelProto) -> tuple[Tensor, ...]:
    """What comes out. An output whose shape is not given has the shape `()`.

    Raises:
        InvalidModelError: there is none, or one is not a tensor.
    """
    if not model.graph.output:
        raise InvalidModelError("the graph has no outputs", hint="Export or copy the model again.")
    return tuple(_tensor(info, "output") for info in model.graph.output)


def check_graph(model: ModelProto, data: bytes, *, has_external_data: bool) -> None:
    """Have onnx's own checker look at the graph.

    Args:
        model: the parsed graph.
        data: the bytes that it was parsed from.
        has_external_data: whether any tensor is kept outside. The checker is then given a copy in which
            those tensors are empty, so that it opens no file: their files were checked with more care.

    Raises:
        InvalidModelError: the checker refuses it.
    """
    if has_external_data or _without_shape(model):
        data = _light_copy(model).SerializeToString()
    try:
        onnx.checker.check_model(data)
    except REFUSALS as error:
        raise InvalidModelError(f"onnx refuses the graph: {one_line(str(error))}") from error


def with_inferred_shapes(model: ModelProto, data: bytes, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Outputs with the shapes that onnx infers, where the graph gives none and it is small."""
    if not _without_shape(model) or len(data) > LARGEST_INFERRED_BYTES:
        return outputs
    # Only a convenience: a graph that can not be inferred may still be one that can be built.
    with contextlib.suppress(InvalidModelError, *REFUSALS):
        return outputs_of(onnx.shape_inference.infer_shapes(data))
    return outputs


def parameters_of(model: ModelProto) -> int:
    """How many weights there are; constants in nodes are not counted."""
    count = 0
    for root in (model.graph, *model.functions):
        for message in messages_in(root):
            if isinstance(message, GraphProto):
                count += sum(element_count(tensor) for tensor in message.initializer)
                count += sum(element_count(sparse.values) for sparse in message.sparse_initializer)
    return count


def _opset(imports: Iterable[onnx.OperatorSetIdProto]) -> int | None:
    versions = {entry.version for entry in imports if entry.domain in _DEFAULT_DOMAINS}
    if len(versions) > 1:
        raise InvalidModelError(f"names more than one opset: {sorted(versions)}")
    newest = onnx.defs.onnx_opset_version()
    for version in versions:
        if not 1 <= version <= newest:
            raise InvalidModelError(
                f"opset {version}; newest known: {newest}",
                hint="Update the farm's onnx, or export the model for an older opset.",
            )
        return version
    return None


def _count_operators(root: GraphProto | onnx.FunctionProto, opset: int | None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for node in messages_in(root):
        if isinstance(node, NodeProto):
            if node.domain not in _DEFAULT_DOMAINS:
                counts[f"{node.domain}::{node.op_type}"] += 1
                continue
            # One look-up for each operator, not for each node.
            if node.op_type not in counts and opset is not None:
                _check_operator(node, opset)
            counts[node.op_type] += 1
    return counts


def _check_operator(node: NodeProto, opset: int) -> None:
    try:
        onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        pass
    else:
        return
    where = f"operator {node.op_type!r} of node {node.name or next(iter(node.output), '')!r}"
    if onnx.defs.has(node.op_type):
        since = min(
            schema.since_version
            for schema in onnx.defs.get_all_schemas_with_history()
            if schema.domain == "" and schema.name == node.op_type
        )
        raise InvalidModelError(
            f"{where} is not in opset {opset}; it came with opset {since}",
            hint=f"Export the model for opset {since} or newer.",
        )
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    nearest = did_you_mean(node.op_type, known)
    hint = "If a plugin provides it, give the node a domain of its own."
    if nearest.startswith("Did"):
        # Else it lists all two hundred.
        hint = f"{nearest} {hint}"
    raise InvalidModelError(f"{where} is not in the ONNX standard", hint=hint)


def _tensor(info: ValueInfoProto, role: str) -> Tensor:
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        is_a = f"is a {kind.removesuffix('_type').replace('_', ' ')}" if kind else "has no type"
        raise InvalidModelError(
            f"{role} {info.name!r} {is_a}; engines take and give tensors only",
            hint="Export the model with tensors; skl2onnx has the option zipmap=False for classifiers.",
        )
    dims = info.type.tensor_type.shape.dim
    dtype = dtype_name(info.type.tensor_type.elem_type, f"{role} {info.name!r}")
    # Some exporters write -1 as a size where ONNX has a dimension without one.
    shape = tuple(max(dim.dim_value, DYNAMIC) if dim.HasField("dim_value") else DYNAMIC for dim in dims)
    return Tensor(info.name, dtype, shape, tuple(dim.dim_param for dim in dims))


def _without_shape(model: ModelProto) -> bool:
    return any(not info.type.tensor_type.HasField("shape") for info in model.graph.output)


def _light_copy(model: ModelProto) -> ModelProto:
    """A copy that the checker can judge alone: nothing outside it, and all outputs with a shape.

    The checker asks for the shape of outputs; toolchains do not.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    for info in copy.graph.output:
        info.type.tensor_type.shape.SetInParent()
    for message in messages_in(copy):
        if isinstance(message, SparseTensorProto) and (
            is_external(message.values) or is_external(message.indices)
        ):
            # Values and indices must agree in number, so both go.
            _empty(message.values)
            message.ClearField("indices")
        elif isinstance(message, TensorProto) and is_external(message):
            _empty(message)
    return copy


def _empty(tensor: TensorProto) -> None:
    name, data_type = tensor.name, tensor.data_type
    tensor.Clear()
    tensor.name, tensor.data_type = name, data_type
    tensor.dims.append(0)


def one_line(text: str) -> str:
    """What onnx says, fit to be shown."""
    # The checker quotes names from the model, which may hold anything, such as a terminal's commands.
    words = " ".join(text.split())
    return "".join(char if char.isprintable() else "?" for char in words)[:_LONGEST_REASON]
