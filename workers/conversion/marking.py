"""Models whose intermediate tensors are outputs, so that an engine of theirs tells what it computes on the way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import onnx
from onnx import ModelProto, TensorProto

from farm.domain.errors import BuildError
from workers.arrays import check_inputs, read_arrays, with_values, write_arrays
from workers.conversion.graphs import inputs_of, read_graph, with_shapes, write_graph
from workers.conversion.marking_request import CALL, PLAN
from workers.conversion.sensitivity import counterparts_of, run_tensors, session_with

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray
    from onnx import NodeProto

    from workers.conversion.marking_request import MarkRequest
    from workers.toolchains.toolchain import Progress

#: What the reference has for the tensors of one model may take so much.
_MOST_BYTES = 256 << 20
#: So many tensors are computed at once.
_AT_ONCE = 16


def mark_layers(request: MarkRequest, progress: Progress) -> int:
    """Writes the marked models, what the reference has for their tensors, and a plan of it all.

    Returns:
        How many tensors there are to compare.

    Raises:
        InvalidSpecError: the inputs do not fit.
        BuildError: ONNX Runtime does not run the model with all its tensors as outputs.
    """
    model = read_graph(request.model_path)
    built = onnx.load(request.built_path)
    others = counterparts_of(model, built)
    makers = {node.output[0]: node for node in model.graph.node if node.output}
    inputs = _one_call(request, model)
    write_arrays(request.folder / CALL, inputs)
    names = list(others)
    if not names:
        raise BuildError("no layer of this model gives floating-point values that could be compared")
    session = session_with(model, names, request.folder / "reference.onnx")
    chunks: list[list[str]] = []
    arrays: dict[str, NDArray[Any]] = {}
    for begin in range(0, len(names), _AT_ONCE):
        some = names[begin : begin + _AT_ONCE]
        progress(begin / len(names), f"the reference of {len(names)} tensors")
        for name, array in zip(some, run_tensors(session, some, inputs), strict=True):
            held = sum(one.nbytes for one in arrays.values())
            if arrays and (len(arrays) >= request.per_model or held + array.nbytes > _MOST_BYTES):
                chunks.append(list(arrays))
                _write_chunk(request, built, len(chunks), arrays, others)
                arrays = {}
            arrays[name] = array
    chunks.append(list(arrays))
    _write_chunk(request, built, len(chunks), arrays, others)
    known = set(names)
    plan = [
        {
            "model": _marked(number),
            "expected": _expected(number),
            "layers": [
                {
                    "tensor": name,
                    "output": others[name],
                    "node": makers[name].name,
                    "operator": makers[name].op_type,
                    "inputs": _compared_inputs(makers[name], makers, known),
                }
                for name in chunk
            ],
        }
        for number, chunk in enumerate(chunks, 1)
    ]
    (request.folder / PLAN).write_text(json.dumps(plan))
    for path in request.folder.glob("reference.onnx*"):
        path.unlink()
    return len(names)


def _compared_inputs(node: NodeProto, makers: Mapping[str, NodeProto], known: Collection[str]) -> list[str]:
    """The nearest tensors before a node that are compared, where those between are taken together with it."""
    found: dict[str, None] = {}
    seen: set[str] = set()
    ahead = list(node.input)
    while ahead:
        name = ahead.pop(0)
        if name in seen:
            continue
        seen.add(name)
        if name in known:
            found[name] = None
        elif name in makers:
            ahead += makers[name].input
    return list(found)


def _write_chunk(
    request: MarkRequest,
    built: ModelProto,
    number: int,
    arrays: Mapping[str, NDArray[Any]],
    others: Mapping[str, str],
) -> None:
    """One model with some tensors as outputs beside its own, and what the reference has there."""
    marked = ModelProto()
    marked.CopyFrom(built)
    inferred = with_shapes(built).graph
    known = {info.name: info for info in (*inferred.value_info, *inferred.output)}
    own = {output.name for output in marked.graph.output}
    marked.graph.output.extend(
        known.get(name) or onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in dict.fromkeys(others[name] for name in arrays)
        if name not in own
    )
    write_graph(marked, request.folder / _marked(number))
    write_arrays(request.folder / _expected(number), arrays)


def _marked(number: int) -> str:
    return f"marked-{number}.onnx"


def _expected(number: int) -> str:
    return f"expected-{number}.npz"


def _one_call(request: MarkRequest, model: ModelProto) -> dict[str, NDArray[Any]]:
    """The first samples, as many as one call takes."""
    tensors = inputs_of(model)
    given = check_inputs(with_values(read_arrays(request.inputs_path), request.values, tensors), tensors)
    return {
        name: array[: request.shapes[name][0]]
        if array.ndim and name not in request.values and request.shapes.get(name)
        else array
        for name, array in given.items()
    }
