"""Builder options of TensorRT, per version, without TensorRT."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from farm.domain.calibration import ALGORITHM_OPTION
from farm.domain.errors import InvalidSpecError
from farm.domain.option_releases import CHOICE_RELEASES, OPTION_RELEASES, is_in
from farm.domain.targets import DeviceType, ToolchainId
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from tests.unit.trt.surface import TF32, Config, NewerConfig, log_for, surface
from workers.toolchains.tensorrt import TensorRtToolchain
from workers.toolchains.trt_options import apply_options, options_of
from workers.toolchains.trt_options_flags import mark_refittable_weights
from workers.toolchains.trt_options_values import require_dla

VERSIONS = ("8.5.3.1", "8.6.0", "10.16.1.11", "11.4.0.106")
RELEASES = (
    *VERSIONS,
    *("10.0.1", "10.1.0", "10.2.0", "10.3.0", "10.4.0", "10.5.0", "10.6.0", "10.8.0.43", "10.9.0.34"),
    *("10.10.0.31", "10.12.0.36", "11.0.0.114"),
)


#: A value of each kind that is not the default.
VALUES: dict[str, Any] = {
    "int": 2,
    "bytes": "1MiB",
    "bool": True,
    "signed-set": None,
    "choice": None,
    "names": "w1,w0",
}


def another_value(option: BuilderOption) -> Any:
    """What is not the option's default."""
    if option.kind == "bool":
        return not option.default
    if option.kind == "choice":
        return next(word for word in option.choices if word != option.default)
    return f"-{option.choices[0]}" if option.kind == "signed-set" else VALUES[option.kind]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_option_can_be_applied(version: str) -> None:
    trt = surface(version)
    description = ToolchainDescription(ToolchainId("tensorrt", version), {}, options_of(trt))
    for option in description.options:
        value = option.parse(another_value(option))
        assert value != option.default, option.name
        config = trt.IBuilderConfig()
        before = vars(config).copy()
        if option.name == "exclude_lean_runtime":
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        apply_options(trt, config, {option.name: value}, log_for(trt))
        assert ToolchainDescription.from_json(description.as_json()) == description
        if option.kind == "int":
            assert getattr(config, option.name) == 2 != before.get(option.name)


def test_flags_are_called_as_in_tensorrt() -> None:
    trt = surface("10.16.1.11")
    config = trt.IBuilderConfig()
    apply_options(
        trt,
        config,
        {"exclude_lean_runtime": True, "version_compatible": True, "refit": True, "strict_nans": True},
        log_for(trt),
    )
    flags = trt.BuilderFlag
    assert config.flags == {TF32, flags.REFIT, flags.STRICT_NANS} | {
        flags.VERSION_COMPATIBLE,
        flags.EXCLUDE_LEAN_RUNTIME,
    }


def test_flags_that_tensorrt_does_not_take_are_told() -> None:
    trt = surface("10.16.1.11")

    class Stubborn(NewerConfig):
        def set_flag(self, flag: int) -> None:
            pass

    with pytest.raises(InvalidSpecError, match="refuses sparse_weights=true"):
        apply_options(trt, Stubborn(), {"sparse_weights": True}, log_for(trt))


@pytest.mark.parametrize("version", RELEASES)
def test_a_release_offers_just_what_the_table_of_releases_says(version: str) -> None:
    offered = {option.name: option for option in options_of(surface(version))}
    toolchain = ToolchainId("tensorrt", version)
    assert set(offered) - {ALGORITHM_OPTION} == {
        name for name, releases in OPTION_RELEASES.items() if is_in(releases, toolchain)
    }
    for (name, word), releases in CHOICE_RELEASES.items():
        if name in offered:
            assert (word in offered[name].choices) == is_in(releases, toolchain), (name, word)


def test_refit_individual_marks_the_weights_that_it_names() -> None:
    trt = surface("11.4.0.106")
    network = SimpleNamespace(marked=[], mark_weights_refittable=lambda name: name != "nowhere")
    mark_refittable_weights(network, {"refit_individual": ["w0"]}, log_for(trt))
    with pytest.raises(InvalidSpecError, match="finds no weights nowhere in the model"):
        mark_refittable_weights(network, {"refit_individual": ["nowhere", "w0"]}, log_for(trt))


def test_a_device_without_dla_is_told_before_anything_is_built() -> None:
    log = log_for(surface("8.6.0"))
    require_dla(SimpleNamespace(num_DLA_cores=0), {}, log)
    require_dla(SimpleNamespace(num_DLA_cores=2), {"default_device_type": "DLA", "DLA_core": 1}, log)
    with pytest.raises(InvalidSpecError, match="this device has no DLA") as caught:
        require_dla(SimpleNamespace(num_DLA_cores=0), {"default_device_type": "DLA"}, log)
    assert "Leave default_device_type out" in caught.value.hint
    with pytest.raises(InvalidSpecError, match=r"DLA core 2: this device has 2 DLA core"):
        require_dla(SimpleNamespace(num_DLA_cores=2), {"default_device_type": "DLA", "DLA_core": 2}, log)


def test_deprecated_aliases_of_verbosity_are_not_choices() -> None:
    option = next(option for option in options_of(surface("8.6.0")) if option.name == "profiling_verbosity")
    assert option.choices == ("DETAILED", "LAYER_NAMES_ONLY", "NONE")


@pytest.mark.parametrize(("version", "bit"), [("10.16.1.11", 4), ("11.4.0.106", 1)])
def test_tactic_sources_go_by_name_because_their_numbers_move(version: str, bit: int) -> None:
    trt, config = surface(version), Config()
    apply_options(trt, config, {"tactic_sources": ["-JIT_CONVOLUTIONS"]}, log_for(trt))
    assert config.sources == 0b11001 & ~(1 << bit)
    apply_options(trt, config, {"tactic_sources": ["+JIT_CONVOLUTIONS"]}, log_for(trt))
    assert config.sources == 0b11001 | 1 << bit


def test_leaving_cublas_and_cudnn_out_is_an_ordinary_option() -> None:
    trt, config = surface("8.6.0"), NewerConfig()
    apply_options(trt, config, {"tactic_sources": ["-CUBLAS", "-CUBLAS_LT", "-CUDNN"]}, log_for(trt))
    assert config.sources == 0b11000


def test_unknown_options_and_words_are_refused() -> None:
    trt, config = surface("8.5.3.1"), Config()
    with pytest.raises(InvalidSpecError, match="no builder option 'builder_optimization_level'"):
        apply_options(trt, config, {"builder_optimization_level": 2}, log_for(trt))
    with pytest.raises(InvalidSpecError, match="profiling_verbosity can not be 'LOUD'"):
        apply_options(trt, config, {"profiling_verbosity": "LOUD"}, log_for(trt))
    with pytest.raises(InvalidSpecError, match="tactic_sources can not be 'NOTHING'"):
        apply_options(trt, config, {"tactic_sources": ["-NOTHING"]}, log_for(trt))


def test_a_limit_that_is_not_taken_is_told() -> None:
    trt = surface("8.6.0")
    with pytest.raises(InvalidSpecError, match=r"refuses memory_pool_limits.WORKSPACE=2199023255552"):
        apply_options(trt, NewerConfig(), {"memory_pool_limits.WORKSPACE": 2 << 40}, log_for(trt))


@pytest.mark.parametrize("version", VERSIONS)
def test_description_survives_json(version: str) -> None:
    description = TensorRtToolchain(surface(version)).describe()
    assert ToolchainDescription.from_json(description.as_json()) == description
    assert description.needs_device
    assert set(description.precision_notes) == set(description.supported_precisions)


def test_which_gpus_a_release_serves() -> None:
    def gpu(capability: str) -> DeviceType:
        return DeviceType(kind=describe("8.6.0").serves, product_name="G", compute_capability=capability)

    def describe(version: str) -> ToolchainDescription:
        return TensorRtToolchain(surface(version)).describe()

    assert describe("8.6.0").id == ToolchainId("tensorrt", "8.6.0", "cu12")
    assert describe("8.5.3.1").id.variant == "cu11"
    assert describe("8.6.0").can_serve(gpu("9.0"))
    assert not describe("8.6.0").can_serve(gpu("12.0"))
    assert describe("10.16.1.11").can_serve(gpu("12.0"))
