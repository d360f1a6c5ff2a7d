"""Builder options of TensorRT, per version, without TensorRT."""

from __future__ import annotations

from typing import Any

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.targets import DeviceType, ToolchainId
from farm.domain.toolchains import ToolchainDescription
from tests.unit.trt.surface import POOLS, Config, NewerConfig, log_for, surface
from workers.toolchains.tensorrt import TensorRtToolchain
from workers.toolchains.trt_options import apply_options, options_of

VERSIONS = ("8.5.3.1", "8.6.0", "10.16.1.11", "11.4.0.106")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_option_can_be_applied(version: str) -> None:
    trt = surface(version)
    description = ToolchainDescription(ToolchainId("tensorrt", version), {}, options_of(trt))
    values: dict[str, Any] = {
        "int": 2,
        "bytes": "1GiB",
        "bool": False,
        "choice": "detailed",
        "signed-set": "-jit_convolutions",
    }
    chosen = description.normalise({option.name: values[option.kind] for option in description.options})
    config = trt.IBuilderConfig()
    apply_options(trt, config, chosen, log_for(trt))
    assert config.pools[POOLS["WORKSPACE"]] == 1 << 30
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    assert trt.BuilderFlag.DISABLE_TIMING_CACHE in config.flags
    assert config.avg_timing_iterations == 2


def test_what_a_release_lacks_is_not_offered() -> None:
    names = {version: {option.name for option in options_of(surface(version))} for version in VERSIONS}
    assert names["8.6.0"] - names["8.5.3.1"] == {"builder_optimization_level", "max_aux_streams"}
    assert names["10.16.1.11"] - names["8.6.0"] == {"memory_pool_limits.TACTIC_SHARED_MEMORY"}
    assert not any("DLA" in name for name in names["11.4.0.106"])


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
