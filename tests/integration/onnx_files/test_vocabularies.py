"""The vocabularies that a graph looks its integer inputs up in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from farm.storage.onnx_vocabularies import vocabularies

if TYPE_CHECKING:
    from pathlib import Path


def a_graph(path: Path, nodes: list[Any], tables: dict[str, int], *, dtype: int = TensorProto.INT64) -> Path:
    """Two inputs `ids` and `types`, nodes, and tables of so many rows of 4."""
    inputs = [helper.make_tensor_value_info(name, dtype, ["N", "T"]) for name in ("ids", "types")]
    rows = [numpy_helper.from_array(np.zeros((count, 4), np.float32), name) for name, count in tables.items()]
    outputs = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "net", inputs, outputs, rows)
    save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def gather(table: str, indices: str, output: str, **attributes: Any) -> Any:
    return helper.make_node("Gather", [table, indices], [output], **attributes)


def test_each_input_has_the_rows_of_the_table_that_it_looks_up(tmp_path: Path) -> None:
    nodes = [
        gather("words", "ids", "a"),
        gather("kinds", "types", "b"),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    assert vocabularies(a_graph(tmp_path / "m.onnx", nodes, {"words": 30522, "kinds": 2})) == {
        "ids": (0, 30521),
        "types": (0, 1),
    }


def test_of_two_tables_the_smaller_counts(tmp_path: Path) -> None:
    nodes = [
        gather("words", "ids", "a"),
        gather("few", "ids", "b"),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    assert vocabularies(a_graph(tmp_path / "m.onnx", nodes, {"words": 100, "few": 7})) == {"ids": (0, 6)}


def test_indices_are_followed_through_what_hands_them_on(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["ids"], ["cast"], to=TensorProto.INT64),
        helper.make_node("Identity", ["cast"], ["same"]),
        gather("words", "same", "y"),
    ]
    path = a_graph(tmp_path / "m.onnx", nodes, {"words": 50}, dtype=TensorProto.INT32)
    assert vocabularies(path) == {"ids": (0, 49)}


@pytest.mark.parametrize(
    "nodes",
    [
        # Along another axis, after some arithmetic, in a table of one row, and not at all.
        [gather("words", "ids", "y", axis=1)],
        [helper.make_node("Add", ["ids", "types"], ["sum"]), gather("words", "sum", "y")],
        [gather("one", "ids", "y")],
        [helper.make_node("Cast", ["ids"], ["y"], to=TensorProto.FLOAT)],
    ],
)
def test_what_is_not_plain_is_not_guessed(tmp_path: Path, nodes: list[Any]) -> None:
    assert vocabularies(a_graph(tmp_path / "m.onnx", nodes, {"words": 50, "one": 1})) == {}


def test_a_file_that_is_no_graph_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no graph")
    assert vocabularies(tmp_path / "m.onnx") == {}
    assert vocabularies(tmp_path / "nowhere.onnx") == {}
