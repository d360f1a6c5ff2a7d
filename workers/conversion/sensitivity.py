"""Which layers lose most by a conversion: every tensor of the model against the same tensor of the converted one."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from farm.domain.error_texts import one_line
from farm.domain.errors import BuildError, InvalidSpecError
from workers.arrays import check_inputs, random_inputs, read_arrays
from workers.conversion.convert import convert_model
from workers.conversion.graphs import LONGEST_TEXT, inputs_of, read_graph, with_shapes, write_graph
from workers.conversion.request import (
    ConversionRequest,
    conversion_request_as_json,
    conversion_request_from_json,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto

    from farm.domain.shapes import Shape
    from workers.toolchains.toolchain import Progress

_NUMPY: dict[int, type[np.generic]] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
#: What a tensor is called that is computed while another value of it is fed.
_MADE = "/made"
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
#: So many tensors are held at once, of the model and of the converted one.
_AT_ONCE = 32
#: Below it a node adds nothing that is worth keeping it in FP32 for: the rounding of FP32 itself.
LEAST_JUMP = 1e-6
_PROVIDERS = ["CPUExecutionProvider"]


class SensitivityRequest(NamedTuple):
    """Compare a model with its conversion, tensor by tensor.

    Attributes:
        conversion: which conversion; nothing is kept in FP32.
        inputs_path: an `.npz` with an array per input; none for seeded random ones.
        shapes: every input's shape for one call.
        seed: of the random inputs.
    """

    conversion: ConversionRequest
    inputs_path: Path | None
    shapes: Mapping[str, Shape]
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """The document that a child gets."""
        return {
            **conversion_request_as_json(self.conversion),
            "operation": "sensitivity",
            "inputs_path": None if self.inputs_path is None else str(self.inputs_path),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "random_seed": self.seed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SensitivityRequest:
        """The inverse of `as_json`."""
        path = value["inputs_path"]
        shapes = {name: tuple(shape) for name, shape in value["shapes"].items()}
        return cls(
            conversion_request_from_json(value),
            None if path is None else Path(path),
            shapes,
            value["random_seed"],
        )


class LayerError(NamedTuple):
    """What a conversion does to one node, or to some that it takes together, such as Conv and Relu.

    Attributes:
        nodes: their names; the last one gives the tensor that was compared.
        operator: of the last one, such as `Relu`.
        relative_error: of its output: the norm of the difference over the norm of the output in FP32.
        snr_db: the same in decibel.
        jump: what they add by themselves: the error that they would have if their inputs had none.
        have_own_names: whether the model names them all, so that a parser can find them.
    """

    nodes: tuple[str, ...]
    operator: str
    relative_error: float
    snr_db: float
    jump: float
    have_own_names: bool

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {**self._asdict(), "nodes": list(self.nodes)}


def compare_layers(request: SensitivityRequest, progress: Progress) -> list[LayerError]:
    """What the conversion does to every node that gives a floating-point tensor, the greatest jump first.

    Raises:
        InvalidSpecError: the inputs do not fit.
        BuildError: the model can not be converted, or not be run with all its tensors as outputs.
    """
    if request.conversion.conversion.half == "bf16":
        raise BuildError(
            "layers can not be compared in bf16: ONNX Runtime has no such kernels on a CPU",
            hint="fp16 shows where 16 bits are too few digits; in range bf16 is as wide as fp32.",
        )
    with tempfile.TemporaryDirectory(dir=request.conversion.converted_path.parent) as scratch:
        converted_path = Path(scratch) / "converted.onnx"
        convert_model(replace(request.conversion, converted_path=converted_path), progress)
        model = read_graph(request.conversion.model_path)
        named = _own_names(request.conversion.model_path)
        inputs = _inputs(request, model)
        other_names = counterparts_of(model, onnx.load(converted_path, load_external_data=False))
        tensors = list(other_names)
        plain = session_with(model, tensors, Path(scratch) / "plain.onnx")
        other = session_with(
            onnx.load(converted_path), list(other_names.values()), Path(scratch) / "all.onnx"
        )
        exact: dict[str, NDArray[Any]] = {}
        errors: dict[str, float] = {}
        for begin in range(0, len(tensors), _AT_ONCE):
            some = tensors[begin : begin + _AT_ONCE]
            progress(begin / len(tensors), f"comparing {len(tensors)} tensors")
            exact |= zip(some, run_tensors(plain, some, inputs), strict=True)
            actual = run_tensors(other, [other_names[name] for name in some], inputs)
            errors |= {
                name: _relative_error(exact[name], found) for name, found in zip(some, actual, strict=True)
            }
        jumps = _own_errors(
            onnx.load(converted_path),
            {other_names[name]: array for name, array in exact.items()},
            inputs,
            Path(scratch) / "forced.onnx",
        )
    makers = {name: node for node in model.graph.node for name in node.output}
    found = [
        _layer_error(node, errors, jumps.get(other_names[node.output[0]]), makers, named)
        for node in model.graph.node
        if node.output[0] in errors
    ]
    return sorted(found, key=lambda layer: -layer.jump)


def _own_errors(
    converted: ModelProto, exact: Mapping[str, NDArray[Any]], inputs: Mapping[str, NDArray[Any]], path: Path
) -> dict[str, float]:
    """The error of every node when its inputs have none: each is fed what the model has there in FP32."""
    types = _types(converted)
    fed = {name: kind for name in exact if (kind := _NUMPY.get(types.get(name, 0))) is not None}
    outputs = {output.name for output in converted.graph.output}
    for node in converted.graph.node:
        for position, name in enumerate(node.output):
            if name in fed and name not in outputs:
                node.output[position] = name + _MADE
    forced = {name: kind for name, kind in fed.items() if name not in outputs}
    converted.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, types[name], None) for name in forced
    )
    made = {name: name if name in outputs else name + _MADE for name in fed}
    del converted.graph.value_info[:]
    session = session_with(
        converted, list(made.values()), path, types={made[name]: types[name] for name in made}
    )
    feeds = {**inputs, **{name: exact[name].astype(kind) for name, kind in forced.items()}}
    found: dict[str, float] = {}
    names = list(made)
    for begin in range(0, len(names), _AT_ONCE):
        some = names[begin : begin + _AT_ONCE]
        actual = run_tensors(session, [made[name] for name in some], feeds)
        found |= {name: _relative_error(exact[name], own) for name, own in zip(some, actual, strict=True)}
    return found


def _own_names(path: Path) -> set[str]:
    return {node.name for node in onnx.load(path, load_external_data=False).graph.node if node.name}


def _inputs(request: SensitivityRequest, model: ModelProto) -> dict[str, NDArray[Any]]:
    """One call's inputs: the first samples of the given ones, or random ones."""
    tensors = inputs_of(model)
    shapes = dict(request.shapes)
    if request.inputs_path is None:
        wanted = [replace(tensor, shape=shapes.get(tensor.name, tensor.shape)) for tensor in tensors]
        return random_inputs(wanted, {tensor.name: tensor.shape for tensor in wanted}, seed=request.seed)
    given = check_inputs(read_arrays(request.inputs_path), tensors)
    return {
        name: array[: shapes[name][0]] if array.ndim and name in shapes else array
        for name, array in given.items()
    }


def counterparts_of(model: ModelProto, converted: ModelProto) -> dict[str, str]:
    """The floating-point tensors that nodes of the model give, with the tensors of the converted one in their place.

    Where a tensor is quantized it is what comes of that: what the nodes behind it compute with.
    """
    there = {name for node in converted.graph.node for name in node.output}
    types = _types(model)
    quantized = {n.input[0]: n.output[0] for n in converted.graph.node if n.op_type == "QuantizeLinear"}
    back = {n.input[0]: n.output[0] for n in converted.graph.node if n.op_type == "DequantizeLinear"}
    outputs = {output.name for output in converted.graph.output}
    return {
        name: name if name in outputs else back.get(quantized.get(name, ""), name)
        for node in model.graph.node
        for name in node.output[:1]
        if name and name in there and types.get(name) in _FLOATS
    }


def _types(model: ModelProto) -> dict[str, int]:
    graph = with_shapes(model).graph
    return {info.name: info.type.tensor_type.elem_type for info in (*graph.value_info, *graph.output)}


def session_with(
    model: ModelProto, tensors: Sequence[str], path: Path, types: Mapping[str, int] | None = None
) -> Any:
    """A session of the model with some of its tensors as outputs, none of them optimized away."""
    outputs = {output.name for output in model.graph.output}
    types = _types(model) if types is None else types
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None)
        for name in tensors
        if name not in outputs
    )
    write_graph(model, path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=_PROVIDERS)
    except Exception as error:
        raise BuildError(f"the layers can not be compared: {one_line(error, LONGEST_TEXT)}") from error


def run_tensors(session: Any, names: Sequence[str], inputs: Mapping[str, Any]) -> Iterator[NDArray[Any]]:
    """Some tensors of a session, in the order of their names.

    Raises:
        InvalidSpecError: the model does not run with these inputs.
    """
    try:
        yield from session.run(list(names), dict(inputs))
    except Exception as error:
        raise InvalidSpecError(
            f"the model does not run with these inputs: {one_line(error, LONGEST_TEXT)}"
        ) from error


def _relative_error(expected: NDArray[Any], actual: NDArray[Any]) -> float:
    """The norm of the difference over the norm of what is expected; 1 where that is no number."""
    wanted, found = (np.asarray(array, dtype=np.float64).ravel() for array in (expected, actual))
    if wanted.shape != found.shape:
        return 1.0
    power, error = float(np.linalg.norm(wanted)), float(np.linalg.norm(wanted - found))
    if not math.isfinite(error) or not math.isfinite(power):
        return 1.0
    return error / power if power else min(error, 1.0)


def _layer_error(
    node: NodeProto,
    errors: Mapping[str, float],
    jump: float | None,
    makers: Mapping[str, NodeProto],
    named: set[str],
) -> LayerError:
    nodes, before = [node], 0.0
    for member in nodes:
        for name in member.input:
            if name in errors:
                before = max(before, errors[name])
            elif name in makers and makers[name].op_type != "Constant" and makers[name] not in nodes:
                # Its own output is nowhere in the converted model: it was taken together with this one.
                nodes.append(makers[name])
    own, names = errors[node.output[0]], tuple(member.name for member in reversed(nodes))
    return LayerError(
        names,
        node.op_type,
        own,
        -20 * math.log10(own) if own else 999.0,
        # A type that numpy lacks can not be fed: then what comes on top of the inputs' error.
        max(own - before, 0.0) if jump is None else jump,
        named.issuperset(names),
    )
