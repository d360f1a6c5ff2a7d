"""A Python file of a user is read, never run, and what is wrong with it is told with its line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import InvalidModelError
from farm.storage.model_files import read_model
from farm.storage.network_source import declared_tensors, defines_network, takes_trt
from tests.integration.network_models.sources import SOURCE, model_of, write_document

if TYPE_CHECKING:
    from pathlib import Path


def source(folder: Path, text: str) -> Path:
    path = folder / "net.py"
    path.write_text(text)
    return path


def test_nothing_of_the_file_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    model_of(
        tmp_path,
        source=f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nimport no_such_module\n{SOURCE}",
    )
    assert not mark.exists()


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        ("network, weights", False),
        ("network, weights, trt", True),
        ("network, weights, tensorrt=None", True),
        ("network, weights, depth=18", False),
        ("network, weights, anything", True),
        ("network, *rest", False),
    ],
)
def test_a_function_is_called_with_what_it_takes(tmp_path: Path, signature: str, expected: bool) -> None:
    assert takes_trt(source(tmp_path, f"def build({signature}): ..."), "build") is expected


@pytest.mark.parametrize(
    "signature", ["", "network", "network, weights, trt, more", "network, weights, *, must"]
)
def test_a_function_that_takes_something_else_is_refused_with_its_line(
    tmp_path: Path, signature: str
) -> None:
    path = source(tmp_path, f"\n\ndef build({signature}): ...")
    with pytest.raises(InvalidModelError, match=r"net\.py:3: build must take"):
        takes_trt(path, "build")


def test_a_function_that_is_not_there_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="no function 'bild'") as refused:
        model_of(tmp_path, function="bild")
    assert "build" in refused.value.hint


def test_what_is_no_python_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"net\.py:2: is no Python"):
        model_of(tmp_path, source="x = 1\ny = = 2\n")


def test_a_function_of_pytorch_is_none_of_a_network(tmp_path: Path) -> None:
    path = source(tmp_path, "def build(network, weights): ...\ndef factory(pretrained=False): ...\n")
    assert defines_network(path, "build")
    assert not defines_network(path, "factory")
    assert not defines_network(path, "missing")


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        ('{"a": "1x3"}', ["a float32 1x3"]),
        ('{"a": (1, 3)}', ["a float32 1x3"]),
        ('{"a": ("int32", (1, 3)), "b": ("fp16", "Nx4")}', ["a int32 1x3", "b float16 Nx4"]),
        ('{"a": ("N", 3, None, -1)}', ["a float32 Nx3x?x?"]),
    ],
)
def test_inputs_may_be_declared_by_a_constant(tmp_path: Path, constant: str, expected: list[str]) -> None:
    for statement in (f"INPUTS = {constant}", f"INPUTS: dict = {constant}"):
        assert list(map(str, declared_tensors(source(tmp_path, statement), "INPUTS"))) == expected


@pytest.mark.parametrize(
    "constant", ["shapes()", '{"a": size}', "3", "{1: (1, 3)}", '{"a": 3}', '{"a": "1xq%"}']
)
def test_a_constant_that_can_not_be_read_is_refused_with_its_line(tmp_path: Path, constant: str) -> None:
    with pytest.raises(InvalidModelError, match=r"net\.py:1: INPUTS"):
        declared_tensors(source(tmp_path, f"INPUTS = {constant}"), "INPUTS")


def test_the_command_line_wins_over_the_constant(tmp_path: Path) -> None:
    assert [str(tensor) for tensor in model_of(tmp_path, inputs=("data:4x3x8x8",)).inputs] == [
        "data float32 4x3x8x8"
    ]


def test_inputs_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"what the inputs of net\.py:build are") as refused:
        model_of(tmp_path, source=SOURCE.replace("INPUTS", "_OTHER"))
    assert "--input" in refused.value.hint


def test_weights_that_would_run_code_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", kernel=np.array([{}, None], dtype=object))
    (tmp_path / "torch.npz").write_bytes(b"\x80\x02}q\x00.")
    for name in ("objects.npz", "torch.npz"):
        with pytest.raises(InvalidModelError, match=rf"{name} is no \.npz of plain arrays"):
            model_of(tmp_path, weights=tmp_path / name)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"farm_network": 1}'])
def test_a_document_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(InvalidModelError, match=r"network\.json"):
        read_model(tmp_path / "network.json")


@pytest.mark.parametrize("change", [{"source": "gone.py"}, {"weights": "gone.npz"}, {"takes_trt": False}])
def test_a_document_that_does_not_fit_its_files_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    document = write_document(tmp_path)
    document.write_text(json.dumps({**json.loads(document.read_text()), **change}))
    with pytest.raises(InvalidModelError):
        read_model(document)
