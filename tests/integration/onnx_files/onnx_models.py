"""Small ONNX models to read, and how the reader takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import ModelProto, TensorProto, helper, numpy_helper

from farm.domain.errors import InvalidModelError
from farm.storage.onnx_files import read_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


OPSET = 20
FLOAT = TensorProto.FLOAT
WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)
# One folder serves all examples of a property: each of them writes its files anew.
EVERY_EXAMPLE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def small_model(
    weights: np.ndarray[Any, Any] = WEIGHTS,
    *,
    nodes: list[onnx.NodeProto] | None = None,
    functions: tuple[onnx.FunctionProto, ...] = (),
    opset: int = OPSET,
    batch: int | str | None = "N",
) -> ModelProto:
    """`y = x @ w`, with x of N x 3 and w of 3 x 4."""
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"], name="multiply")],
        "graph",
        [helper.make_tensor_value_info("x", FLOAT, [batch, 3])],
        [helper.make_tensor_value_info("y", FLOAT, [batch, 4])],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(
        graph,
        ir_version=10,
        functions=functions,
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("custom", 1)],
    )


def save_model(model: ModelProto | bytes, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def move_outside(tensor: TensorProto, **entries: object) -> None:
    """Point a tensor at an external file, with entries as given and no others."""
    for field in ("raw_data", "float_data", "int64_data"):
        tensor.ClearField(field)
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))


def refusal_of(path: Path) -> InvalidModelError:
    with pytest.raises(InvalidModelError) as caught:
        read_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable(), "one line, and nothing that a terminal would obey"
    return caught.value


def content_sha256(model: ModelProto | bytes, path: Path) -> str:
    return read_model(save_model(model, path)).digest.sha256


def deep_model() -> ModelProto:
    """A model with tensors in every kind of place: see `tensors_of`."""

    def constant(name: str) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(WEIGHTS[0], name))

    then = helper.make_graph(
        [helper.make_node("Add", ["m", "bias"], ["t"])],
        "then",
        [],
        [helper.make_tensor_value_info("t", FLOAT, None)],
        [numpy_helper.from_array(WEIGHTS[1], "bias")],
    )
    otherwise = helper.make_graph(
        [constant("e")], "else", [], [helper.make_tensor_value_info("e", FLOAT, None)]
    )
    shift = helper.make_function(
        "custom",
        "Shift",
        ["a"],
        ["b"],
        [constant("by"), helper.make_node("Add", ["a", "by"], ["b"])],
        [helper.make_opsetid("", OPSET)],
    )
    model = small_model(
        nodes=[
            helper.make_node("MatMul", ["x", "w"], ["p"], name="multiply"),
            helper.make_node("Shift", ["p"], ["m"], domain="custom"),
            helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=otherwise),
        ],
        functions=(shift,),
    )
    model.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    values = numpy_helper.from_array(WEIGHTS[2], "sparse")
    indices = numpy_helper.from_array(np.array([0, 2, 4, 6]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [8]))
    start = numpy_helper.from_array(WEIGHTS[1], "start")
    model.training_info.add().initialization.initializer.append(start)
    return model


def tensors_of(model: ModelProto) -> list[TensorProto]:
    graph, (otherwise, then) = model.graph, model.graph.node[-1].attribute
    return [
        graph.initializer[0],
        graph.sparse_initializer[0].values,
        graph.sparse_initializer[0].indices,
        then.g.initializer[0],
        otherwise.g.node[0].attribute[0].t,
        model.functions[0].node[0].attribute[0].t,
        model.training_info[0].initialization.initializer[0],
    ]


def count_places() -> int:
    return len(tensors_of(deep_model()))


def spread_over_files(model: ModelProto, folder: Path, file_of: Callable[[int], str]) -> None:
    """Move every tensor into an external file, one after the other within a file."""
    for name in {file_of(index) for index in range(count_places())}:
        (folder / name).write_bytes(b"")
    for index, tensor in enumerate(tensors_of(model)):
        payload, file = tensor.raw_data, folder / file_of(index)
        move_outside(tensor, location=file.name, offset=file.stat().st_size, length=len(payload))
        with file.open("ab") as stream:
            stream.write(payload)
