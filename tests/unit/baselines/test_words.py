"""The words for baselines, and which engine is one."""

from __future__ import annotations

import pytest

from farm.domain.baselines import BASELINES, ONLY_BASELINES, baseline_of, parse_baselines
from farm.domain.errors import InvalidSpecError
from farm.domain.specs import BuildSpec
from farm.domain.targets import DeviceKind, Target
from tests.factories import a_build_spec, a_device_type, a_toolchain_id
from workers.toolchains import MODULES


def spec(toolchain: str, precision: str, kind: DeviceKind = DeviceKind.GPU, **changes: object) -> BuildSpec:
    target = Target(a_device_type(kind), a_toolchain_id(toolchain, "2.13.0", "cu130"))
    return a_build_spec(target=target, precision=precision, builder_config={}, **changes)


def word(given: BuildSpec) -> str | None:
    found = baseline_of(given)
    return found.word if found else None


def test_every_baseline_is_run_by_a_toolchain_that_there_is() -> None:
    assert {baseline.toolchain for baseline in BASELINES.values()} <= set(MODULES)
    assert set(MODULES) >= ONLY_BASELINES


def test_words_are_taken_once_and_in_their_order() -> None:
    found = parse_baselines(("torch-amp", "ort-cpu", "Torch-AMP "))
    assert [baseline.word for baseline in found] == ["torch-amp", "ort-cpu"]


def test_a_word_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidSpecError, match="unknown baseline 'torch-apm'") as caught:
        parse_baselines(("torch-apm",))
    assert "torch-amp" in caught.value.hint


@pytest.mark.parametrize(
    ("toolchain", "precision", "expected"),
    [
        ("torch", "fp32", "torch"),
        ("torch", "tf32", "torch-tf32"),
        ("torch", "fp16", "torch-amp"),
        ("torch", "bf16", "torch-amp-bf16"),
        ("torch-compile", "fp16", "torch-compile-amp"),
        ("torchscript", "fp32", "torchscript"),
        ("onnxruntime-cuda", "tf32", "ort-cuda-tf32"),
        ("tensorrt", "fp32", None),
        ("torch", "int8", None),
    ],
)
def test_toolchain_and_precision_say_which_baseline_an_engine_is(
    toolchain: str, precision: str, expected: str | None
) -> None:
    assert word(spec(toolchain, precision)) == expected


def test_onnx_runtime_is_the_baseline_of_cpus_on_a_cpu() -> None:
    assert word(spec("onnxruntime", "fp32", DeviceKind.CPU)) == "ort-cpu"
    assert word(spec("onnxruntime", "fp32")) is None


def test_an_engine_with_options_is_another_thing_than_its_word_says() -> None:
    target = spec("torch", "fp32").target
    tuned = a_build_spec(target=target, precision="fp32", builder_config={"channels_last": True})
    assert baseline_of(tuned) is None
    assert word(spec("torch", "fp32", salt="once more")) == "torch"


def test_the_program_is_in_the_key_and_only_where_there_is_one() -> None:
    plain = a_build_spec()
    assert "program" not in plain.as_json()
    with_program = a_build_spec(program="a" * 64)
    assert with_program.digest != plain.digest
    assert with_program.digest != a_build_spec(program="b" * 64).digest
    assert BuildSpec.from_json(with_program.as_json()) == with_program
