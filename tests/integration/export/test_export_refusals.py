"""What can not be exported is told in one line, with the submodule or the user's own line that caused it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import (
    AccuracyError,
    FarmError,
    InvalidModelError,
    InvalidRequestError,
    InvalidSpecError,
)
from workers.export.request import Exporter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workers.export.request import Exported


def refusal(
    exported: Callable[..., Exported], error: type[FarmError], name: str, *inputs: str, **wishes: object
) -> FarmError:
    """The error of an export that must fail; nothing may be left of it."""
    with pytest.raises(error) as caught:
        exported(name, *inputs, **wishes)
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_control_flow_that_depends_on_data(exported: Callable[..., Exported]) -> None:
    error = refusal(exported, InvalidModelError, "branches", "2x8")
    assert "in encoder.layer.1 (" in error.message
    assert "torch_nets.py:" in error.message
    assert "depends on the values of a tensor" in error.message
    assert "torch.where" in error.hint


@pytest.mark.parametrize(
    ("exporter", "operator"), [(Exporter.DYNAMO, "aten._linalg_svd"), (Exporter.LEGACY, "aten::linalg_svd")]
)
def test_an_operator_that_onnx_does_not_have(
    exported: Callable[..., Exported], exporter: Exporter, operator: str
) -> None:
    error = refusal(exported, InvalidModelError, "unknown", "8x8", exporter=exporter)
    assert f"no ONNX for operator {operator}" in error.message
    assert error.message.endswith("used in encoder.layer.1")


def test_an_operator_that_no_exporter_has(exported: Callable[..., Exported]) -> None:
    error = refusal(exported, InvalidModelError, "unknown", "8x8", max_opset=17, limited_by="tensorrt 8.6.0")
    assert error.message.startswith("the legacy exporter has no ONNX")
    assert "can not do it either" in error.hint


def test_a_dynamic_dimension_that_the_code_fixes(exported: Callable[..., Exported]) -> None:
    error = refusal(exported, InvalidModelError, "fixed_batch", "2x8", dynamic=["batch"])
    assert "dimension batch of input 'x' can not stay dynamic" in error.message
    assert "the code in encoder.layer.1 fixes it to 2" in error.message


def test_what_the_legacy_tracer_guesses_is_a_note_with_the_module_path(
    exported: Callable[..., Exported],
) -> None:
    (note,) = exported("branches", "64x8", exporter=Exporter.LEGACY, tolerance=1e9).notes
    assert "in encoder.layer.1: Converting a tensor to a Python boolean" in note


@pytest.mark.parametrize("exporter", list(Exporter))
def test_the_users_own_mistake(exported: Callable[..., Exported], exporter: Exporter) -> None:
    error = refusal(exported, InvalidRequestError, "raises", "2x8", exporter=exporter)
    assert "in forward: ValueError: the user's own words (in encoder.layer.1)" in error.message
    assert "torch_nets.py:" in error.message


def test_another_result_than_pytorchs(exported: Callable[..., Exported], tmp_path: Path) -> None:
    error = refusal(exported, AccuracyError, "noise", "2x8")
    assert "output 'output'" in error.message
    assert "worst at [" in error.message
    assert "where PyTorch has" in error.message
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_can_be_left_out(exported: Callable[..., Exported]) -> None:
    found = exported("noise", "2x8", compares=False)
    assert found.comparisons == ()
    assert found.path.exists()


def test_ids_that_are_no_whole_numbers(exported: Callable[..., Exported]) -> None:
    error = refusal(exported, InvalidRequestError, "Encoder", "1x16", "1x16")
    assert "(in words)" in error.message
    assert ":int64:0..LARGEST" in error.hint


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnat", "has no 'resnat'"),
        ("with_arguments", r"wants arguments \(classes\)"),
        ("nn", "neither a factory nor an nn.Module"),
        ("broken", r"torch_nets.py:\d+ in broken: KeyError: 'backbone'"),
        ("resnet", r"are not said: forward\(image\)"),
    ],
)
def test_a_factory_that_makes_no_model(exported: Callable[..., Exported], name: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        exported(name)


def test_outputs_that_are_no_tensors(exported: Callable[..., Exported]) -> None:
    with pytest.raises(InvalidModelError, match="output_1 is a int, and ONNX has tensors only"):
        exported("Numbers", "2x8")


def test_other_names_than_outputs(exported: Callable[..., Exported]) -> None:
    with pytest.raises(InvalidRequestError, match=r"1 output name\(s\) for 2 output\(s\): mask, score"):
        exported("Volume", "1x1x8x8x8", output_names=("mask",))


def test_a_file_that_does_not_parse(exported: Callable[..., Exported], tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("def model(:\n")
    with pytest.raises(InvalidRequestError, match=r"does not import: .*odd.py:1: SyntaxError"):
        exported(tmp_path / "odd.py:model", "1x3")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("1x3x99999999x99999999", "can't allocate memory"),
        ("1x3x8x8:int64:0..99999999999999999999", "Overflow"),
    ],
)
def test_samples_that_can_not_be_made(exported: Callable[..., Exported], size: str, message: str) -> None:
    error = refusal(exported, InvalidSpecError, "resnet", size)
    assert error.message.startswith("no sample of input 'image' can be made (1x3x")
    assert message in error.message
    assert "enforce fail" not in error.message
