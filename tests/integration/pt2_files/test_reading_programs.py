"""A `.pt2` program is read without PyTorch, and told apart by what it computes."""

from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import InvalidModelError
from farm.domain.model_formats import PT2
from farm.storage.model_files import read_model
from tests.integration.pt2_files.programs import program, save, value
from tests.pytorch import pytorch

if TYPE_CHECKING:
    from pathlib import Path


def test_inputs_outputs_and_operators_are_read_without_pytorch(tmp_path: Path) -> None:
    before = "torch" in sys.modules
    model = read_model(save(tmp_path / "net.pt2"))
    assert ("torch" in sys.modules) is before
    assert model.format == PT2
    assert list(map(str, model.inputs)) == ["x float32 s77x8", "ids int64 3"]
    assert list(map(str, model.outputs)) == ["relu bfloat16 s77x4", "ids int64 3"]
    assert model.operators == {"aten.matmul": 1, "aten.relu": 1}
    assert model.parameters == 32
    assert model.digest.size_bytes == (tmp_path / "net.pt2").stat().st_size


@pytest.mark.parametrize(
    "changes",
    [
        {"folder": "another"},
        {"data__sample_inputs__model.pt": b"samples"},
        {".data__serialization_id": b"123"},
        {"byteorder": b"little"},
    ],
)
def test_what_is_no_part_of_the_program_does_not_count(tmp_path: Path, changes: dict[str, Any]) -> None:
    plain = read_model(save(tmp_path / "net.pt2"))
    assert read_model(save(tmp_path / "other.pt2", **changes)).digest.sha256 == plain.digest.sha256


def test_where_the_code_stood_does_not_count(tmp_path: Path) -> None:
    moved = program()
    moved["graph_module"]["graph"]["nodes"][0]["metadata"]["stack_trace"] = "line 2 of another file"
    digests = {
        read_model(save(tmp_path / "a.pt2")).digest.sha256,
        read_model(save(tmp_path / "b.pt2", moved)).digest.sha256,
    }
    assert len(digests) == 1


def test_the_graph_and_the_weights_count(tmp_path: Path) -> None:
    other = program()
    other["graph_module"]["graph"]["nodes"][1]["target"] = "torch.ops.aten.tanh.default"
    found = [
        save(tmp_path / "a.pt2"),
        save(tmp_path / "b.pt2", other),
        save(tmp_path / "c.pt2", data__weights__weight_1=b"\1"),
    ]
    assert len({read_model(path).digest.sha256 for path in found}) == 3


def test_an_input_that_is_no_tensor_is_refused_with_what_to_do(tmp_path: Path) -> None:
    odd = program()
    odd["graph_module"]["signature"]["input_specs"].append({"user_input": {"arg": {"as_int": 3}}})
    with pytest.raises(InvalidModelError, match="is no tensor") as refused:
        read_model(save(tmp_path / "net.pt2", odd))
    assert "as a constant" in refused.value.hint


def test_an_unknown_element_type_is_refused(tmp_path: Path) -> None:
    odd = program()
    odd["graph_module"]["graph"]["tensor_values"]["x"] = value(99, 2, 8)
    with pytest.raises(InvalidModelError, match="x has an element type"):
        read_model(save(tmp_path / "net.pt2", odd))


@pytest.mark.parametrize("document", [{}, [], {"graph_module": None}, {"graph_module": {"graph": {}}}])
def test_what_is_no_program_is_refused_in_one_line(tmp_path: Path, document: Any) -> None:
    with pytest.raises(InvalidModelError, match=r"net\.pt2: is no program") as refused:
        read_model(save(tmp_path / "net.pt2", document))
    assert "torch.export.save" in refused.value.hint


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(InvalidModelError, match="is no program"):
        read_model(tmp_path / "net.pt2")


def test_a_state_dict_under_that_name_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as archive:
        archive.writestr("net/data.pkl", b"")
    with pytest.raises(InvalidModelError, match="a state dict, or TorchScript"):
        read_model(tmp_path / "net.pt2")


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="No such file"):
        read_model(tmp_path / "net.pt2")


@pytest.mark.slow
def test_pytorchs_own_files_are_read(tmp_path: Path) -> None:
    torch = pytorch()

    class Net(torch.nn.Module):  # type: ignore[misc]  # PyTorch has no types here
        def __init__(self) -> None:
            super().__init__()
            self.dense = torch.nn.Linear(8, 4)

        def forward(self, x: Any, scale: Any) -> dict[str, Any]:
            return {"scores": self.dense(x).relu() * scale}

    batch = torch.export.Dim("batch", min=1, max=64)
    given = (torch.zeros(2, 8), torch.ones(4))
    torch.export.save(
        torch.export.export(Net(), given, dynamic_shapes=({0: batch}, None)), tmp_path / "net.pt2"
    )
    model = read_model(tmp_path / "net.pt2")
    assert [(t.name, t.dtype, t.shape) for t in model.inputs] == [
        ("x", "float32", (-1, 8)),
        ("scale", "float32", (4,)),
    ]
    assert [(t.dtype, t.shape) for t in model.outputs] == [("float32", (-1, 4))]
    assert model.parameters == 8 * 4 + 4
    assert model.operators["aten.linear"] == 1
