"""Words for precisions, and which device has which."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.conversion import Conversion, conversion_of, is_strongly_typed, why_model_can_not
from farm.domain.precisions import PRECISIONS, canonical_precision, is_quantized, why_device_can_not
from farm.domain.targets import DeviceKind, DeviceType, ToolchainId
from tests.factories import a_device_type, a_model

RTX = ToolchainId("tensorrt-rtx", "1.7.1.116", "cu13")
CPU = ToolchainId("onnxruntime", "1.31.1")


def gpu(capability: str) -> DeviceType:
    return a_device_type(compute_capability=capability)


def tensorrt(version: str) -> ToolchainId:
    return ToolchainId("tensorrt", version, "cu12")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_set_means_the_same_in_any_order_and_case(precision: str) -> None:
    for parts in permutations(precision.split("+")):
        assert canonical_precision("+".join(parts).upper()) == precision


@pytest.mark.parametrize("word", ["int8+fp32", "tf32+int8", "int8+tf32+fp32"])
def test_what_is_in_32_bits_anyway_need_not_be_said(word: str) -> None:
    assert canonical_precision(word) == "int8"


@given(st.text(max_size=12))
def test_a_word_is_a_precision_or_given_back(word: str) -> None:
    found = canonical_precision(word)
    assert found in PRECISIONS or found == word.lower()


@pytest.mark.parametrize(
    ("capability", "precision", "nearest"),
    [
        ("7.5", "bf16", "fp16"),
        ("7.5", "tf32", "fp32"),
        ("7.5", "fp8", "int8+fp16"),
        ("8.6", "fp8+fp16", "int8+fp16"),
        ("6.0", "int8", "fp16"),
        ("6.0", "fp8", "fp16"),
    ],
)
def test_a_type_that_the_hardware_lacks_is_refused_with_the_nearest_that_it_has(
    capability: str, precision: str, nearest: str
) -> None:
    reason = why_device_can_not(gpu(capability), precision)
    assert reason.startswith(f"compute capability {capability} has no")
    assert reason.endswith(f"nearest: {nearest}")
    assert not why_device_can_not(gpu(capability), nearest), "the nearest one is one that works"


def test_every_type_is_had_from_the_capability_on_that_brought_it() -> None:
    for capability, precision in (
        ("8.0", "bf16"),
        ("8.0", "tf32"),
        ("8.9", "fp8"),
        ("10.0", "fp8"),
        ("6.1", "int8"),
    ):
        assert why_device_can_not(gpu(capability), precision) == ""


def test_a_cpu_has_no_compute_capability_to_judge_by() -> None:
    assert all(not why_device_can_not(a_device_type(DeviceKind.CPU), precision) for precision in PRECISIONS)


@pytest.mark.parametrize(
    ("toolchain", "precision", "options", "typed"),
    [
        (tensorrt("8.6.0"), "fp16", {}, False),
        (tensorrt("8.6.0"), "fp16", {"strongly_typed": True}, False),
        (tensorrt("10.16.1"), "fp16", {}, False),
        (tensorrt("10.16.1"), "fp16", {"strongly_typed": True}, True),
        (tensorrt("10.16.1"), "fp8", {}, True),
        (tensorrt("11.4.0"), "fp16", {}, True),
        (RTX, "fp32", {}, True),
        (CPU, "int8", {}, False),
    ],
)
def test_the_models_own_types_decide_where_there_are_no_flags_or_where_it_is_asked_for(
    toolchain: ToolchainId, precision: str, options: dict[str, bool], typed: bool
) -> None:
    assert is_strongly_typed(toolchain, precision, options) is typed


@pytest.mark.parametrize(
    ("toolchain", "precision", "expected"),
    [
        (RTX, "fp32", None),
        (RTX, "tf32", None),
        (RTX, "fp16", Conversion("fp16")),
        (RTX, "bf16", Conversion("bf16")),
        (RTX, "int8", Conversion("", "int8")),
        (RTX, "int8+fp16", Conversion("fp16", "int8")),
        (RTX, "fp8+fp16", Conversion("fp16", "fp8")),
        (tensorrt("8.6.0"), "int8+fp16", None),
        (tensorrt("11.4.0"), "fp16", Conversion("fp16")),
        (CPU, "fp32", None),
        (CPU, "int8", Conversion("", "int8", for_cpu=True)),
    ],
)
def test_a_model_is_converted_where_no_flag_could_say_the_precision(
    toolchain: ToolchainId, precision: str, expected: Conversion | None
) -> None:
    assert conversion_of(toolchain, precision, {}, a_model()) == expected


def test_what_a_model_says_by_itself_is_not_quantized_again() -> None:
    model = replace(a_model(), operators={"QuantizeLinear": 2, "DequantizeLinear": 2, "Conv": 1})
    assert conversion_of(RTX, "int8", {}, model) is None
    assert conversion_of(RTX, "int8+fp16", {}, model) == Conversion("fp16")


def test_bf16_is_modelopts_and_the_rest_by_choice() -> None:
    assert Conversion("bf16").needs_modelopt
    assert not Conversion("fp16", "int8").needs_modelopt
    chosen = conversion_of(RTX, "int8", {"converter": "MODELOPT"}, a_model())
    assert chosen is not None
    assert chosen.needs_modelopt


@pytest.mark.parametrize(
    ("precision", "nearest"), [("fp32", "fp16"), ("tf32", "fp16"), ("int8", "int8+fp16")]
)
def test_turing_multiplies_no_matrices_in_fp32_on_tensorrt_rtx(precision: str, nearest: str) -> None:
    model, turing = replace(a_model(), operators={"Conv": 1, "MatMul": 1}), DeviceType.any_of("7.5")
    reason = why_model_can_not(RTX, turing, precision, model)
    assert reason == f"TensorRT-RTX has no MatMul in FP32 for compute capability 7.5; nearest: {nearest}"
    assert why_model_can_not(RTX, turing, nearest, model) == ""
    assert why_model_can_not(RTX, turing, precision, a_model()) == "", "convolutions alone are built"
    assert why_model_can_not(RTX, DeviceType.any_of("8.0"), precision, model) == ""
    casting = replace(model, operators={**model.operators, "Cast": 1})
    assert why_model_can_not(RTX, turing, precision, casting) == "", "its products may be in FP16 already"
    assert why_model_can_not(tensorrt("10.16.1"), gpu("7.5"), precision, model) == ""


def test_a_set_with_a_type_of_8_bits_is_quantized() -> None:
    assert [word for word in PRECISIONS if is_quantized(word)] == ["int8", "int8+fp16", "fp8", "fp8+fp16"]
