"""What a model's files are decides which toolchains take it, before anything is queued."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import UnsupportedTargetError
from farm.domain.model_formats import NETWORK, ONNX, PT2, why_no_reference, why_not_format
from farm.domain.toolchains import ToolchainDescription
from tests.factories import a_cpu_toolchain, a_model, a_toolchain
from tests.unit.plan.fleets import plan

if TYPE_CHECKING:
    from tests.fakes import InMemoryDatabase

BUILDS_BOTH = (ONNX, NETWORK)
TRT8 = a_toolchain(model_formats=BUILDS_BOTH)
TRT11 = a_toolchain(version="11.0.0", model_formats=BUILDS_BOTH)
RTX = a_toolchain(name="tensorrt-rtx", version="1.7.1", model_formats=BUILDS_BOTH)
TORCH = a_toolchain(name="torch-tensorrt", version="2.11.0", model_formats=(PT2,))
NETWORK_MODEL, PROGRAM = a_model(format=NETWORK), a_model(format=PT2)


def reason(toolchain: ToolchainDescription, precision: str = "fp32", model_format: str = NETWORK) -> str:
    return why_not_format(toolchain, precision, {}, a_model(format=model_format))


def test_a_cell_that_can_not_read_the_model_is_refused_in_the_plan(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="takes an ONNX model, not a network"):
        plan(fleet, NETWORK_MODEL, gpus=("cpu",), batches=(1,))
    with pytest.raises(UnsupportedTargetError, match=r"farm export MODEL\.pt2"):
        plan(fleet, PROGRAM, gpus=("h200",), batches=(1,))


@pytest.mark.parametrize("toolchain", [TRT8, TRT11, RTX])
def test_networks_are_built_by_every_tensorrt(toolchain: ToolchainDescription) -> None:
    assert not reason(toolchain, "fp32")
    assert not reason(toolchain, "tf32")


@pytest.mark.parametrize("precision", ["fp16", "int8+fp16"])
def test_a_weakly_typed_release_has_flags_for_a_network_too(precision: str) -> None:
    assert not reason(TRT8, precision)


@pytest.mark.parametrize("toolchain", [TRT11, RTX])
@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8", "fp8"])
def test_a_strongly_typed_release_has_the_types_of_the_function(
    toolchain: ToolchainDescription, precision: str
) -> None:
    assert "have the function define it so and ask for fp32; nearest: fp32" in reason(toolchain, precision)


def test_ten_told_to_be_strongly_typed_converts_no_network() -> None:
    ten = a_toolchain(version="10.13.3", model_formats=BUILDS_BOTH)
    assert not why_not_format(ten, "fp16", {}, NETWORK_MODEL)
    assert "nearest: fp32" in why_not_format(ten, "fp16", {"strongly_typed": True}, NETWORK_MODEL)


def test_programs_are_built_by_torch_tensorrt_alone_and_it_builds_nothing_else() -> None:
    assert not reason(TORCH, model_format=PT2)
    assert "farm export" in reason(TRT8, model_format=PT2)
    assert "farm export" in reason(a_cpu_toolchain(), model_format=PT2)
    assert "takes a PyTorch program (.pt2), not an ONNX model" in reason(TORCH, model_format=ONNX)


def test_what_a_toolchain_takes_survives_being_filed() -> None:
    assert ToolchainDescription.from_json(TRT8.as_json()).model_formats == BUILDS_BOTH


def test_a_toolchain_that_was_filed_before_there_were_formats_takes_onnx() -> None:
    document = TRT8.as_json()
    del document["model_formats"]
    assert ToolchainDescription.from_json(document).model_formats == (ONNX,)


def test_a_network_has_no_reference_on_the_cpu() -> None:
    assert why_no_reference(ONNX) == ""
    assert why_no_reference(PT2) == ""
    assert "outputs/NAME" in why_no_reference(NETWORK)


def test_the_format_is_no_part_of_what_tells_models_apart() -> None:
    assert replace(NETWORK_MODEL, format=ONNX) == a_model()
