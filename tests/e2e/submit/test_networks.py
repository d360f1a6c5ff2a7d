"""`farm submit SOURCE.py:FUNCTION`: a network of TensorRT's own API, from the user's file to an engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.pytorch import pytorch

if TYPE_CHECKING:
    from tests.e2e.driver import FarmCommand

EXAMPLES = Path(__file__).parents[3] / "examples"
LENET = f"{EXAMPLES / 'lenet_network.py'}:build"
RTX = ("--toolchain", "tensorrt-rtx", "--gpu", "sm89")


@pytest.fixture
def lenet(farm: FarmCommand) -> Path:
    """A folder with LeNet's weights and digits, as the example writes them."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    subprocess.run(
        [sys.executable, EXAMPLES / "lenet_weights.py", farm.folder], check=True, capture_output=True
    )
    return farm.folder


@pytest.mark.slow
def test_lenet_is_built_from_a_function_and_found_again(farm: FarmCommand, lenet: Path) -> None:
    words = ("submit", LENET, "--weights", lenet / "lenet.npz", *RTX, "--batch", "1,8")
    farm.run(*words, "--inputs", lenet / "digits28.npz", "--local")
    (engine,) = farm.json("engines", "lenet_network")
    assert engine["unverified_reason"].startswith("built ahead of time")
    farm.run("fetch", "lenet_network", "--gpu", "sm89", "-o", lenet / "lenet.engine")
    assert (lenet / "lenet.engine").read_bytes()[:4] == b"vtrt"
    again = farm.json(*words, "--dry-run")
    assert [cell["disposition"] for cell in again["cells"]] == ["built"]


@pytest.mark.slow
def test_a_module_is_found_from_where_one_is_and_names_the_model(farm: FarmCommand, lenet: Path) -> None:
    (lenet / "nets").mkdir()
    (lenet / "nets" / "tiny.py").write_text((EXAMPLES / "lenet_network.py").read_text())
    words = (
        "submit",
        lenet / "nets.tiny:build",
        "--weights",
        lenet / "lenet.npz",
        *RTX,
        "--batch",
        1,
        "--dry-run",
    )
    assert farm.json(*words)["name"] == "tiny"


@pytest.mark.slow
def test_other_weights_are_another_model_of_the_name(farm: FarmCommand, lenet: Path) -> None:
    words = ("submit", LENET, *RTX, "--batch", 1, "--dry-run", "--json")
    with np.load(lenet / "lenet.npz") as arrays:
        np.savez(lenet / "zero.npz", **{name: 0 * array for name, array in arrays.items()})
    found = [
        farm.run(*words, "--weights", lenet / name).document["model"] for name in ("lenet.npz", "zero.npz")
    ]
    assert len(set(found)) == 2


@pytest.mark.slow
def test_a_saved_spec_asks_for_the_same(farm: FarmCommand, lenet: Path) -> None:
    saved = farm.folder / "build.yaml"
    words = (
        "submit",
        LENET,
        "--weights",
        lenet / "lenet.npz",
        *RTX,
        "--batch",
        1,
        "--input",
        "data:Nx1x28x28",
    )
    plain = farm.json(*words, "--save-spec", saved, "--dry-run")
    assert "data:Nx1x28x28" in saved.read_text()
    assert farm.json("submit", "--spec", saved, "--dry-run") == plain


@pytest.mark.slow
def test_an_error_of_the_function_fails_the_job_alone_with_its_line(farm: FarmCommand, lenet: Path) -> None:
    source = lenet / "broken.py"
    source.write_text("def build(network, weights):\n    print('so far')\n    return weights['gone']\n")
    words = ("submit", f"{source}:build", "--weights", lenet / "lenet.npz", "--input", "data:1x1x28x28", *RTX)
    ended = farm.run(*words, "--local", code=None)
    assert ended.code != 0
    assert "broken.py:3 in build: KeyError: 'gone'" in ended.out + ended.err


def test_what_takes_no_network_is_refused_before_anything_is_queued(farm: FarmCommand, lenet: Path) -> None:
    words = ("submit", LENET, "--weights", lenet / "lenet.npz", "--batch", 1)
    said = farm.refused(*words, "--gpu", "cpu", code=2)
    assert "takes an ONNX model, not a network defined with TensorRT's API" in said
    assert "nearest: fp32" in farm.refused(*words, *RTX, "--precision", "fp16", code=2)
    assert not farm.has_anything()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("net.py:bild", "--weights", "w.npz"), "net.py has no 'bild'"),
        (("net.py:build", "--weights", "gone.npz"), "gone.npz: no such file"),
        (("net.py:build", "--weights", "w.npz"), "what the inputs of net.py:build are"),
        (("net.py:build", "--weights", "w.npz", "--input", "data:1xqx%"), "not a size"),
        (("gone.py:build", "--weights", "w.npz"), "gone.py: no such file"),
        (("model.onnx", "--weights", "w.npz"), "--weights is for a network that a function defines"),
    ],
)
def test_what_is_wrong_with_the_words_is_said_at_once(farm: FarmCommand, words: Any, said: str) -> None:
    folder = farm.folder
    (folder / "net.py").write_text("def build(network, weights): ...\n")
    np.savez(folder / "w.npz", a=np.zeros(1))
    placed = [
        folder / word if word.partition(":")[0].endswith((".py", ".npz", ".onnx")) else word for word in words
    ]
    assert said in farm.refused("submit", *placed, code=2)


@pytest.mark.slow
def test_a_state_dict_is_taken_where_pytorch_is(farm: FarmCommand, lenet: Path) -> None:
    torch = pytorch()
    with np.load(lenet / "lenet.npz") as arrays:
        torch.save({name: torch.tensor(array) for name, array in arrays.items()}, lenet / "lenet.pth")
    words = ("submit", LENET, *RTX, "--batch", 1, "--dry-run", "--json")
    found = [
        farm.run(*words, "--weights", lenet / name).document["model"] for name in ("lenet.npz", "lenet.pth")
    ]
    assert len(set(found)) == 1, "the same weights in other wrapping"
