"""Precisions of TensorRT, per version, without TensorRT."""

from __future__ import annotations

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.precisions import PRECISIONS
from farm.domain.targets import ToolchainId
from tests.unit.trt.surface import NewerConfig, surface
from workers.toolchains.trt_precision import apply_precision, precisions_of


@pytest.mark.parametrize(
    ("version", "done"),
    [
        ("8.5.3.1", set(PRECISIONS) - {"bf16", "fp8", "fp8+fp16"}),
        ("8.6.0", set(PRECISIONS) - {"bf16", "fp8", "fp8+fp16"}),
        ("10.16.1.11", set(PRECISIONS)),
        ("11.4.0.106", set(PRECISIONS) - {"best"}),
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
    assert old["bf16"] == "BF16 came with TensorRT 10; nearest: fp16 (tensorrt 8.6.0)"
    assert old["fp8"].startswith("FP8 came with TensorRT 10")
    assert "`farm tune` finds the fastest" in new["best"]


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


@pytest.mark.parametrize(
    ("capability", "has_ranges", "flags"),
    [
        ("9.0", False, {"TF32", "FP16", "BF16"}),
        ("9.0", True, {"TF32", "FP16", "BF16", "INT8"}),
        ("7.5", True, {"TF32", "FP16", "INT8"}),
    ],
)
def test_best_takes_all_that_the_device_has_and_int8_where_there_are_ranges(
    capability: str, has_ranges: bool, flags: set[str]
) -> None:
    trt, config = surface("10.16.1.11"), NewerConfig()
    apply_precision(trt, config, "best", capability=capability, has_ranges=has_ranges)
    assert config.flags == {trt.BuilderFlag.__members__[flag] for flag in flags}


@pytest.mark.parametrize("precision", ["tf32", "fp16", "int8+fp16", "fp8"])
def test_a_strongly_typed_network_takes_no_flag_but_tf32(precision: str) -> None:
    trt, config = surface("10.16.1.11"), NewerConfig()
    note = apply_precision(trt, config, precision, strongly_typed=True)
    assert config.flags == {trt.BuilderFlag.TF32}
    assert "strongly typed" in note


def test_a_precision_that_is_not_done_is_refused_at_build_too() -> None:
    with pytest.raises(InvalidSpecError, match="best is not supported by tensorrt 11"):
        apply_precision(surface("11.4.0.106"), NewerConfig(), "best")
