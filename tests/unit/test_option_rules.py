"""Which builder options need or exclude one another, and which releases have them."""

from __future__ import annotations

from typing import Any

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.option_releases import where_it_is
from farm.domain.option_rules import check_together, why_never_run, why_options_can_not
from farm.domain.targets import ToolchainId
from farm.domain.toolchains import BuilderOption, ToolchainDescription

TRT8, TRT10, TRT11 = (ToolchainId("tensorrt", version) for version in ("8.6.0", "10.16.1.11", "11.4.0.106"))
RTX = ToolchainId("tensorrt-rtx", "1.7.1.116")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"refit": True, "refit_identical": True}, "refit and refit_identical exclude each other"),
        ({"refit": True, "refit_individual": ["w"]}, "refit and refit_individual exclude each other"),
        ({"exclude_lean_runtime": True}, "needs version_compatible"),
        ({"error_on_timing_cache_miss": True, "timing_cache": False}, "needs the timing cache"),
        ({"DLA_core": 0}, "DLA_core needs default_device_type=DLA"),
        ({"gpu_fallback": True}, "gpu_fallback needs default_device_type=DLA"),
        ({"engine_capability": "DLA_STANDALONE"}, "needs default_device_type=DLA"),
        (
            {"engine_capability": "DLA_STANDALONE", "default_device_type": "DLA", "gpu_fallback": True},
            "excludes gpu_fallback",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidSpecError, match=complaint):
        check_together(options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strip_plan": True},
        {"strip_plan": True, "refit": True},
        {"version_compatible": True, "exclude_lean_runtime": True},
        {"default_device_type": "DLA", "DLA_core": 0, "gpu_fallback": True},
        {"engine_capability": "DLA_STANDALONE", "default_device_type": "DLA"},
        {"error_on_timing_cache_miss": True},
    ],
)
def test_options_that_go_together_pass(options: dict[str, Any]) -> None:
    check_together(options)


def test_normalising_checks_options_against_each_other() -> None:
    flags = tuple(BuilderOption(name, "bool", default=False) for name in ("refit", "refit_identical"))
    description = ToolchainDescription(TRT10, {}, flags)
    assert description.normalise({"refit": "yes", "refit_identical": "no"}) == {"refit": True}
    with pytest.raises(InvalidSpecError, match="exclude each other"):
        description.normalise({"refit": "yes", "refit_identical": "yes"})


def test_weights_stream_in_strongly_typed_networks_alone() -> None:
    wanted = {"weight_streaming": True}
    assert "add strongly_typed=true" in why_options_can_not(TRT10, "fp16", wanted)
    for toolchain, options in ((TRT10, {**wanted, "strongly_typed": True}), (TRT11, wanted), (RTX, wanted)):
        assert why_options_can_not(toolchain, "fp16", options) == ""


def test_what_is_not_timed_has_no_fastest_build() -> None:
    assert "no fastest of 3 builds" in why_options_can_not(TRT10, "fp16", {"strip_plan": True}, 3)
    assert why_options_can_not(TRT10, "fp16", {"strip_plan": True}) == ""
    assert why_options_can_not(TRT10, "fp16", {"refit": True}, 3) == ""


def test_precision_constraints_say_nothing_to_a_strongly_typed_network() -> None:
    wanted = {"precision_constraints": "OBEY"}
    assert why_options_can_not(TRT8, "fp16", wanted) == ""
    assert "no effect" in why_options_can_not(TRT10, "fp16", {**wanted, "strongly_typed": True})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"strip_plan": True}, "stripped plan"),
        ({"runtime_platform": "WINDOWS_AMD64"}, "another system"),
        ({"version_compatible": True, "exclude_lean_runtime": True}, "without its lean runtime"),
        ({"engine_capability": "SAFETY"}, "engine_capability=SAFETY"),
    ],
)
def test_engines_that_can_not_run_as_they_are_say_why(options: dict[str, Any], reason: str) -> None:
    assert reason in why_never_run(options)


def test_engines_that_run_say_nothing() -> None:
    assert why_never_run({"refit": True, "version_compatible": True, "default_device_type": "DLA"}) == ""


@pytest.mark.parametrize(
    ("toolchain", "option", "word", "sentence"),
    [
        (TRT8, "strip_plan", "", "strip_plan is in TensorRT 10.0 and later."),
        (TRT11, "precision_constraints", "", "precision_constraints is in TensorRT 8.5 to 10."),
        (TRT11, "strongly_typed", "", "strongly_typed is in TensorRT 10."),
        (
            TRT8,
            "hardware_compatibility_level",
            "same_compute_capability",
            "hardware_compatibility_level=same_compute_capability is in TensorRT 10.9 and later.",
        ),
        (
            TRT10,
            "preview_features",
            "+FASTER_DYNAMIC_SHAPES_0805",
            "preview_features=+FASTER_DYNAMIC_SHAPES_0805 is in TensorRT 8.5 to 8.6.",
        ),
        (
            RTX,
            "refit",
            "",
            "refit is not offered for TensorRT-RTX: building with it fails without a GPU, and these engines are "
            "built ahead of time.",
        ),
        (
            TRT10,
            "editable_timing_cache",
            "",
            "editable_timing_cache is not offered: nothing in the farm edits a timing cache by hand; `farm caches "
            "drop` disowns one.",
        ),
        (TRT8, "no_such_option", "", ""),
        (TRT8, "refit", "", ""),
    ],
)
def test_what_a_release_lacks_is_told_with_where_it_is(
    toolchain: ToolchainId, option: str, word: str, sentence: str
) -> None:
    assert where_it_is(toolchain, option, word) == sentence


def test_a_refused_word_comes_with_the_releases_that_have_it() -> None:
    level = BuilderOption(
        "hardware_compatibility_level", "choice", default="NONE", choices=("AMPERE_PLUS", "NONE")
    )
    description = ToolchainDescription(TRT8, {}, (level,))
    with pytest.raises(InvalidSpecError, match="can not be 'same_compute_capability'") as caught:
        description.normalise({"hardware_compatibility_level": "same_compute_capability"})
    assert "TensorRT 10.9 and later" in caught.value.hint
    with pytest.raises(
        InvalidSpecError, match=r"tensorrt 8\.6\.0 has no builder option 'strip_plan'"
    ) as caught:
        description.normalise({"strip_plan": True})
    assert caught.value.hint == "strip_plan is in TensorRT 10.0 and later."


def test_names_are_a_set() -> None:
    option = BuilderOption("refit_individual", "names", default=[])
    assert option.parse(" w1, w0,w1 ") == option.parse(["w0", "w1"]) == ["w0", "w1"]
    assert option.parse("") == option.default
