"""Precisions of TensorRT, per version, without TensorRT."""

from __future__ import annotations

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.targets import ToolchainId
from farm.domain.toolchains import PRECISIONS
from tests.unit.trt.surface import NewerConfig, surface
from workers.toolchains.trt_precision import apply_precision, precisions_of


@pytest.mark.parametrize(
    ("version", "done"),
    [
        ("8.5.3.1", {"fp32", "tf32", "fp16", "int8", "int8+fp16"}),
        ("8.6.0", {"fp32", "tf32", "fp16", "int8", "int8+fp16"}),
        ("10.16.1.11", {"fp32", "tf32", "fp16", "bf16", "int8", "int8+fp16"}),
        ("11.4.0.106", {"fp32", "tf32"}),
    ],
)
def test_precisions_follow_the_release(version: str, done: set[str]) -> None:
    answers = precisions_of(surface(version), ToolchainId("tensorrt", version))
    assert set(answers) == set(PRECISIONS)
    assert {precision for precision, reason in answers.items() if not reason} == done
    assert all(version in reason for reason in answers.values() if reason)


def test_reasons_say_what_to_do() -> None:
    old = precisions_of(surface("8.6.0"), ToolchainId("tensorrt", "8.6.0"))
    new = precisions_of(surface("11.4.0.106"), ToolchainId("tensorrt", "11.4.0.106"))
    assert old["fp8"] == "not supported yet by this toolchain (tensorrt 8.6.0); nearest: fp16"
    assert new["fp16"].startswith("needs typed conversion of the model, not supported yet by this toolchain")


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("fp32", set()),
        ("tf32", {"TF32"}),
        ("fp16", {"TF32", "FP16"}),
        ("bf16", {"TF32", "BF16"}),
        ("int8", {"TF32", "INT8"}),
        ("int8+fp16", {"TF32", "INT8", "FP16"}),
    ],
)
def test_flags_of_a_precision(precision: str, flags: set[str]) -> None:
    trt, config = surface("10.16.1.11"), NewerConfig()
    note = apply_precision(trt, config, precision)
    assert config.flags == {trt.BuilderFlag.__members__[flag] for flag in flags}
    assert "weakly typed" in note


def test_a_precision_that_is_not_done_is_refused_at_build_too() -> None:
    with pytest.raises(InvalidSpecError, match="fp16 is not supported by tensorrt 11"):
        apply_precision(surface("11.4.0.106"), NewerConfig(), "fp16")
