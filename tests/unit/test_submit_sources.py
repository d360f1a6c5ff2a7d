"""`farm submit` exports PyTorch models, and takes everything else as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest

from cli.build_request import Wish
from cli.sources import opset_limit, source_options, with_exported_model
from farm.domain.errors import InvalidSpecError
from farm.domain.targets import ToolchainId
from farm.domain.toolchains import ToolchainDescription

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = click.Context(source_options(click.Command("submit")))


def wish(model: Path, **values: Any) -> Wish:
    return Wish({"model": str(model), **values})


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("net.onnx", {}),
        ("lenet.py:build", {}),
        ("lenet:build", {}),
        ("net.pt2", {"toolchain": ("torch-tensorrt@2.13",)}),
    ],
)
def test_what_needs_no_export_is_left_as_it_is(tmp_path: Path, name: str, values: dict[str, Any]) -> None:
    (tmp_path / "lenet.py").write_text("def build(network, weights): ...\n")
    asked = wish(tmp_path / name, **values)
    assert with_exported_model(CONTEXT, asked) is asked


@pytest.mark.parametrize(("key", "value"), [("dynamic", ("batch",)), ("opset", 17), ("exporter", "legacy")])
def test_an_option_of_the_export_needs_a_pytorch_model(tmp_path: Path, key: str, value: Any) -> None:
    with pytest.raises(InvalidSpecError, match=f"--{key} is for PyTorch models, and net.onnx"):
        with_exported_model(CONTEXT, wish(tmp_path / "net.onnx", **{key: value}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"declared_inputs": ("1x",)}, "not a shape"),
        ({"dynamic": ("1x",)}, "not a dynamic dimension"),
        ({"exporter": "legasy"}, "no exporter 'legasy'"),
    ],
)
def test_words_are_checked_before_anything_is_loaded(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        with_exported_model(CONTEXT, wish(tmp_path / "nets.py:resnet", **values))


def test_the_target_that_reads_least_limits_the_opset() -> None:
    known = [
        ToolchainDescription(ToolchainId("tensorrt", version), {}, max_opset=opset)
        for version, opset in (("8.6.0", 17), ("10.0.1", 20), ("11.0", 0))
    ]
    assert opset_limit(known) == (17, "tensorrt 8.6.0")
    assert opset_limit(known[2:]) == (0, "")
