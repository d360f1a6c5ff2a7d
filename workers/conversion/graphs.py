"""Models on their way through a conversion: read, made ready, counted, written."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import onnx
from onnx import ModelProto, TensorProto, shape_inference, version_converter

from farm.domain.error_texts import one_line
from farm.domain.errors import BuildError, InvalidSpecError
from farm.domain.models import Tensor
from farm.domain.shapes import DYNAMIC
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: A protobuf message ends at 2 GiB; weights beyond this go into a file of their own.
LARGEST_INLINE_BYTES = 1 << 30
#: What is shown of an error of a converter, in characters; its log has the rest.
LONGEST_TEXT = 300
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
#: They compute nothing.
_CARRIERS = frozenset({"Cast", "QuantizeLinear", "DequantizeLinear"})
#: First operator set whose Q/DQ nodes take FP16 tensors and FP8 types (ONNX's changelog).
QDQ_OF_HALVES_OPSET = 19


def read_graph(path: Path) -> ModelProto:
    """A model with all its weights, every node with a name of its own.

    A node without a name can not be told from others by what keeps nodes out of a conversion.
    """
    model = onnx.load(path)
    seen = {node.name for node in model.graph.node}
    named: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if node.name and node.name not in named:
            named.add(node.name)
            continue
        name = f"{node.op_type}_{number}"
        while name in seen:
            name += "_"
        node.name = name
        seen.add(name)
        named.add(name)
    return model


def check_kept(model: ModelProto, kept_layers: Sequence[str]) -> None:
    """Refuses names that no node has.

    Raises:
        InvalidSpecError: one is unknown.
    """
    names = {node.name for node in model.graph.node}
    for name in kept_layers:
        if name not in names:
            raise InvalidSpecError(
                f"the model has no node {name!r} to keep in FP32", hint=did_you_mean(name, names)
            )


def with_opset(model: ModelProto, least: int) -> ModelProto:
    """The same model in a newer operator set, if its own is older.

    Raises:
        BuildError: ONNX's converter can not lift it.
    """
    own = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    if own >= least:
        return model
    try:
        return version_converter.convert_version(model, least)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise BuildError(
            f"the model's opset {own} can not be lifted to {least}, which this precision needs: "
            f"{one_line(error, LONGEST_TEXT)}",
            hint=f"Export it again for opset {least}.",
        ) from error


def with_shapes(model: ModelProto) -> ModelProto:
    """The same model with the types and shapes of all tensors that can be inferred."""
    if model.ByteSize() > LARGEST_INLINE_BYTES:
        return model
    return shape_inference.infer_shapes(model, data_prop=True)


def write_graph(model: ModelProto, path: Path) -> None:
    """Writes a model, large weights into a file beside it."""
    large = model.ByteSize() > LARGEST_INLINE_BYTES
    onnx.save_model(
        model, path, save_as_external_data=large, all_tensors_to_one_file=True, location=f"{path.name}.data"
    )


def check_written(path: Path, *, strictly: bool) -> None:
    """Has ONNX's checker look at a converted model.

    Args:
        path: of the model.
        strictly: whether all types must agree as well: only where those of the model before did.

    Raises:
        BuildError: the checker refuses it.
    """
    why = why_refused(path, strictly=strictly)
    if why:
        raise BuildError(
            f"the converted model is not valid ONNX: {why}",
            hint="Try --set converter=MODELOPT, or --keep-fp32 with the node.",
        )


def why_refused(path: Path, *, strictly: bool) -> str:
    """What ONNX's checker has against a model; empty if nothing.

    Args:
        path: of the model.
        strictly: whether all types must agree as well.
    """
    try:
        onnx.checker.check_model(str(path), full_check=strictly)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError) as error:
        return one_line(error, LONGEST_TEXT)
    return ""


def inputs_of(model: ModelProto) -> list[Tensor]:
    """What must be fed, with numpy's names of the types."""
    given = {tensor.name for tensor in model.graph.initializer}
    found = []
    for info in model.graph.input:
        if info.name in given:
            continue
        kind = info.type.tensor_type
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else DYNAMIC
            for dim in kind.shape.dim
        )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        found.append(Tensor(info.name, dtype, shape))
    return found


def count_quantized(model: ModelProto) -> tuple[int, int]:
    """How many nodes quantize, and how many of those that compute take what was quantized."""
    operators = Counter(node.op_type for node in model.graph.node)
    dequantized = {
        output for node in model.graph.node if node.op_type == "DequantizeLinear" for output in node.output
    }
    fed = sum(
        # A bias comes third, in FP32; a sum of which one half is in 8 bits is not computed in 8 bits.
        1
        for node in model.graph.node
        if node.op_type not in _CARRIERS and node.input and dequantized.issuperset(node.input[:2])
    )
    return operators["QuantizeLinear"] + operators["DequantizeLinear"], fed


def count_halves(model: ModelProto) -> tuple[int, int]:
    """How many nodes give a tensor in 16 bits, and how many give a floating-point tensor at all."""
    types = {
        info.name: info.type.tensor_type.elem_type for info in (*model.graph.value_info, *model.graph.output)
    }
    halves = floats = 0
    for node in model.graph.node:
        if node.op_type in _CARRIERS:
            continue
        kinds = {types.get(name) for name in node.output}
        if kinds & set(_HALVES):
            halves += 1
        if kinds & {*_HALVES, TensorProto.FLOAT}:
            floats += 1
    return halves, floats
