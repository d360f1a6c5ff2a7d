"""`farm export`, and PyTorch models in `farm submit`, as a user runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.driver import FarmCommand, fast_spec
from tests.pytorch import pytorch

NETS = Path(__file__).parents[2] / "torch_nets.py"


@pytest.fixture(autouse=True)
def _needs_pytorch() -> None:
    pytorch()


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """A user's module in the folder that commands run in."""
    path = tmp_path / "nets.py"
    shutil.copy(NETS, path)
    return path


def test_a_factory_of_the_current_folder_becomes_a_file(new_farm: FarmCommand, nets: Path) -> None:
    ended = new_farm.run(
        "export", "nets:resnet", "--input", "1x3x32x32", "--dynamic", "batch", "-o", "net.onnx"
    )
    assert (nets.parent / "net.onnx").exists()
    assert "opset 20 by the dynamo exporter" in ended.out
    assert "agrees with PyTorch: largest error" in ended.out
    assert "at image 1x3x32x32; image 3x3x32x32" in ended.out


def test_programs_get_a_document_and_nothing_else(new_farm: FarmCommand, nets: Path) -> None:
    found = new_farm.json("export", f"{nets}:Volume", "--input", "1x1x8x8x8", "--target", "tensorrt@8.6")
    assert (found["exporter"], found["opset"]) == ("legacy", 17)
    assert "tensorrt 8.6 reads opset 17" in found["why"]
    assert [tensor["name"] for tensor in found["model"]["outputs"]] == ["mask", "score"]
    assert [output["name"] for output in found["comparisons"][0]["outputs"]] == ["mask", "score"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("nets:unknown", "--input", "8x8"), 2, "used in encoder.layer.1"),
        (("nets:raises", "--input", "2x8"), 2, "nets.py:"),
        (("model.onnx",), 2, "not a PyTorch model"),
        (("nets:resnet", "--input", "1x3x32x32", "--target", "tensorrt@5"), 2, "is not known"),
        (("nets:resnet", "--input", "1x3x32x32", "--seed", "-1"), 2, "a seed is a whole number from 0"),
    ],
)
def test_errors_are_one_line(
    new_farm: FarmCommand, nets: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    assert message in new_farm.refused("export", *words, code=code)
    assert not list(nets.parent.glob("*.onnx"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nets.py", "goes into a file whose name ends in .onnx, not into 'nets.py'"),
        ("net.onnx.bak", "goes into a file whose name ends in .onnx"),
        ("folder", "is a folder"),
        ("folder.onnx", "is a folder"),
        ("nowhere/net.onnx", "no such folder"),
    ],
)
def test_only_a_file_of_onnx_is_written_over(
    new_farm: FarmCommand, nets: Path, output: str, message: str
) -> None:
    for name in ("folder", "folder.onnx"):
        (nets.parent / name).mkdir()
    before = nets.read_bytes()
    ended = new_farm.run("export", "nets:resnet", "--input", "1x3x32x32", "-o", output, code=2)
    first, *_ = ended.err.splitlines()
    assert first.startswith("error:"), "nothing is said of an export that does not begin"
    assert message in first
    assert nets.read_bytes() == before


def test_an_earlier_export_is_replaced_and_that_is_said(new_farm: FarmCommand, nets: Path) -> None:
    words = ("export", f"{nets}:resnet", "--input", "1x3x32x32", "--no-compare", "-o", "net.onnx")
    note = "net.onnx was there already, and was replaced"
    assert note not in new_farm.json(*words)["notes"]
    (nets.parent / "net.onnx").write_bytes(b"earlier")
    assert f"note: {note}" in new_farm.run(*words).out
    assert (nets.parent / "net.onnx").stat().st_size > len(b"earlier")
    assert new_farm.json(*words)["notes"] == [note]


def test_the_whole_trace_is_shown_when_asked_for(new_farm: FarmCommand, nets: Path) -> None:
    ended = new_farm.start("export", "nets:raises", "--input", "2x8", "--verbose").end()
    assert ended.code == 2
    assert "Traceback (most recent call last)" in ended.err
    assert f'{nets.name}", line' in ended.err


def test_a_pytorch_model_is_built_for_the_cpu_and_an_rtx_gpu(farm: FarmCommand, nets: Path) -> None:
    found = farm.json(
        "submit", "nets:resnet", "--input", "1x3x32x32", "--dynamic", "batch", "--gpu", "cpu,sm89",
        "--spec", fast_spec(farm.folder), "--batch", "1,4", "--local",
    )  # fmt: skip
    assert [cell["state"] for cell in found["cells"]] == ["SUCCEEDED", "SUCCEEDED"]
    assert {engine["model"] for engine in farm.json("engines")} == {"resnet"}


def test_the_same_module_gives_the_same_engines(farm: FarmCommand, nets: Path) -> None:
    words = (
        "submit",
        "nets:ResNet",
        "--input",
        "1x3x32x32",
        "--gpu",
        "cpu",
        "--spec",
        fast_spec(farm.folder),
        "--local",
    )
    farm.run(*words)
    assert "built before" in farm.run(*words).out


def test_a_spec_file_keeps_the_users_words(farm: FarmCommand, nets: Path) -> None:
    asked = ("--input", "ids=1x16:int64:0..99", "--input", "mask=1x16:int64", "--dynamic", "ids:0=n,1=l",
             "--dynamic", "mask:0=n,1=l", "--gpu", "cpu", "--opset", "18")  # fmt: skip
    shapes = [
        f"--{key}-shapes=ids:{size},mask:{size}"
        for key, size in (("min", "1x4"), ("opt", "1x16"), ("max", "2x32"))
    ]
    plan = farm.json("submit", "nets:Encoder", *asked, *shapes, "--save-spec", "build.yaml", "--dry-run")
    text = (nets.parent / "build.yaml").read_text()
    assert "model: nets:Encoder" in text
    assert "ids:0=n,1=l" in text
    assert farm.json("submit", "--spec", "build.yaml", "--dry-run") == plan


def test_options_of_the_export_are_refused_for_other_models(farm: FarmCommand, nets: Path) -> None:
    (nets.parent / "model.onnx").write_bytes(b"anything")
    said = farm.refused("submit", "model.onnx", "--dynamic", "batch", "--gpu", "cpu", code=2)
    assert "--dynamic is for PyTorch models" in said


def test_a_model_that_can_not_be_exported_queues_nothing(farm: FarmCommand, nets: Path) -> None:
    said = farm.refused("submit", "nets:branches", "--input", "2x8", "--gpu", "cpu", code=2)
    assert "encoder.layer.1" in said
    assert not farm.has_anything()
