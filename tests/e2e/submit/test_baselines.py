"""`farm submit --baseline` and `farm compare`: engines beside what a user would run instead, as a user sees it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.driver import FarmCommand, fast_spec
from tests.pytorch import pytorch

NETS = Path(__file__).parents[2] / "torch_nets.py"
EXPORTED = ("nets:resnet", "--input", "1x3x32x32", "--dynamic", "batch", "--gpu", "cpu", "--batch", "1,4")


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """A user's module in the folder that commands run in."""
    pytorch()
    path = tmp_path / "nets.py"
    shutil.copy(NETS, path)
    return path


def test_pytorch_is_measured_beside_the_engines_of_the_same_model(farm: FarmCommand, nets: Path) -> None:
    words = (
        "submit",
        *EXPORTED,
        "--spec",
        fast_spec(farm.folder),
        "--baseline",
        "torch,torch-amp-bf16,ort-cpu",
    )
    found = farm.json(*words, "--local")
    cells = [(cell["toolchain"].split()[0], cell["precision"], cell["state"]) for cell in found["cells"]]
    assert cells == [
        ("onnxruntime", "fp32", "SUCCEEDED"),
        ("torch", "fp32", "SUCCEEDED"),
        ("torch", "bf16", "SUCCEEDED"),
    ]
    engines = farm.json("engines", "resnet")
    assert [engine["verified"] for engine in engines] == [True, True, True]
    assert len({str(engine["accuracy"]["reference"]) for engine in engines}) == 1
    assert len({engine["spec"]["model"] for engine in engines}) == 1
    # The same model again is the same program, so that nothing is measured twice.
    assert {cell["disposition"] for cell in farm.json(*words, "--dry-run")["cells"]} == {"built"}

    rows = farm.json("compare", "resnet", "--than", "torch", "--batch", "4", "--tainted")
    ort = next(row for row in rows if row["baseline"] == "ort-cpu")
    torch = next(row for row in rows if row["baseline"] == "torch")
    ratio = ort["times_faster_than"]["torch"]
    assert ratio["times"] == pytest.approx(torch["median_ms"] / ort["median_ms"])
    assert ratio["engine"] == torch["engine"]
    assert "× torch-amp-bf16" in farm.run("compare", "resnet", "--tainted").out

    # What is there to be compared with is handed out where it is named.
    assert "onnxruntime" in farm.run("fetch", "resnet", "--dry-run").out
    assert (
        "· torch 2."
        in farm.run("fetch", "resnet", "--toolchain", "torch", "--precision", "bf16", "--dry-run").out
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--baseline", "torch"), "torch runs a PyTorch model, and dense.onnx is none"),
        (("--baseline", "trch"), "unknown baseline 'trch'"),
        (("--baseline", "ort-cuda"), "ort-cuda: nothing is built for a device that runs it"),
    ],
)
def test_what_can_not_be_measured_is_refused_in_a_line(
    farm: FarmCommand, dense: Path, words: tuple[str, ...], message: str
) -> None:
    assert message in farm.refused("submit", dense, "--gpu", "cpu", "--batch", "1", *words, code=2)


def test_a_model_without_baselines_has_nothing_to_compare_with(farm: FarmCommand, dense: Path) -> None:
    farm.run("submit", dense, "--gpu", "sm89", "--batch", "1", "--spec", fast_spec(farm.folder))
    error = farm.refused("compare", "dense", code=3)
    assert "no baseline of dense@1 has been measured" in error
