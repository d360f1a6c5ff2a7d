"""Which submissions have a PyTorch model for their baselines, and in which words the others are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cli.baseline_options import baselines_of, program_name, program_of
from cli.build_request import Wish
from farm.domain.errors import InvalidSpecError
from farm.domain.model_formats import PT2, TORCHSCRIPT
from workers.export.sources import parse_source

if TYPE_CHECKING:
    from pathlib import Path


def name_of(model: str, *baselines: str, **values: Any) -> str:
    wish = Wish({"model": f"/models/{model}", "baseline": baselines, **values})
    return program_name(wish, parse_source(model))


@pytest.mark.parametrize("model", ["nets:resnet", "nets.py:resnet", "net.pt2"])
def test_a_module_or_a_program_is_kept_as_a_program(model: str) -> None:
    assert name_of(model, "torch", "torch-compile", "torchscript") == "program.pt2"


def test_torchscript_is_kept_as_it_is_for_what_runs_it() -> None:
    assert name_of("net.ts", "torchscript-amp") == "program.ts"


@pytest.mark.parametrize("words", [(), ("ort-cpu",), ("ort-cpu", "ort-cuda")])
def test_nothing_is_kept_where_no_baseline_runs_pytorch(words: tuple[str, ...]) -> None:
    assert name_of("nets:resnet", *words) == ""
    assert name_of("net.onnx", *words) == ""


def test_an_onnx_file_has_no_pytorch_model_and_the_refusal_says_what_has_one() -> None:
    with pytest.raises(
        InvalidSpecError, match=r"torch-amp runs a PyTorch model, and net\.onnx is none"
    ) as caught:
        name_of("net.onnx", "ort-cpu", "torch-amp")
    assert "MODULE:FACTORY or x.pt2" in caught.value.hint


def test_torchscript_is_no_program() -> None:
    with pytest.raises(
        InvalidSpecError, match=r"torch-compile runs a PyTorch program, and net\.ts is TorchScript"
    ):
        name_of("net.ts", "torchscript", "torch-compile")


def test_shapes_that_are_fixed_in_the_onnx_file_alone_are_no_comparison() -> None:
    with pytest.raises(InvalidSpecError, match="--static fixes shapes in the ONNX file alone"):
        name_of("nets:resnet", "torch", static={"image": (1, 3, 8, 8)})


def test_a_program_that_is_submitted_as_it_is_needs_none_beside_it() -> None:
    assert program_name(Wish({"model": "/models/net.pt2", "baseline": ("torch",)}), None) == ""


def test_a_mistyped_word_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="unknown baseline 'tensorrt'"):
        baselines_of(Wish({"baseline": ("tensorrt",)}))


@pytest.mark.parametrize(("name", "expected"), [("program.pt2", PT2), ("program.ts", TORCHSCRIPT)])
def test_the_file_says_what_it_is(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).write_bytes(b"program")
    path, sha256, found = program_of({"program": str(tmp_path / name)})
    assert (path, found, len(sha256)) == (tmp_path / name, expected, 64)
    assert program_of({}) == (None, "", "")
