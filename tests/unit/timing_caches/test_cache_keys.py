"""What a timing cache is specific to."""

from __future__ import annotations

from typing import Any

import pytest

from farm.domain.option_releases import OPTION_RELEASES
from farm.domain.timing_caches import cache_flags, cache_key
from tests.factories import a_build_spec, a_digest


def flags_with(**options: Any) -> str:
    return cache_flags(a_build_spec(precision="fp16", builder_config=options))


def test_flags_are_readable() -> None:
    assert flags_with() == "fp16"
    assert (
        flags_with(tactic_sources=["+CUDNN", "-CUBLAS"], builder_optimization_level=4)
        == "fp16 builder_optimization_level=4 tactic_sources=+CUDNN,-CUBLAS"
    )


@pytest.mark.parametrize(
    "option",
    [
        {"tactic_sources": ["-CUBLAS"]},
        {"builder_optimization_level": 5},
        {"avg_timing_iterations": 8},
        {"memory_pool_limits.WORKSPACE": 1 << 30},
        {"hardware_compatibility_level": "AMPERE_PLUS"},
        {"refit": True},
        {"strip_plan": True},
        {"sparse_weights": True},
        {"version_compatible": True},
        {"max_num_tactics": 4},
        {"strongly_typed": True},
        {"default_device_type": "DLA"},
        {"preview_features": ["+PROFILE_SHARING_0806"]},
        {"an_option_of_tomorrow": True},
    ],
)
def test_what_may_change_a_tactic_has_a_cache_of_its_own(option: dict[str, Any]) -> None:
    assert flags_with(**option) != flags_with()


def test_precisions_have_caches_of_their_own() -> None:
    specs = [a_build_spec(precision=word, builder_config={}) for word in ("fp32", "tf32", "fp16", "int8")]
    assert len({cache_flags(spec) for spec in specs}) == len(specs)


@pytest.mark.parametrize(
    "option",
    [
        {"max_aux_streams": 0},
        {"profiling_verbosity": "DETAILED"},
        {"timing_cache": False},
        {"error_on_timing_cache_miss": True},
        {"disable_compilation_cache": True},
        {"direct_io": True},
    ],
)
def test_what_changes_no_tactic_shares_the_cache(option: dict[str, Any]) -> None:
    assert flags_with(**option) == flags_with()


def test_every_option_of_every_release_has_been_thought_about() -> None:
    said = " ".join((cache_flags.__doc__ or "").split())
    for name in OPTION_RELEASES:
        assert f"`{name}`" in said or name.startswith("memory_pool_limits."), name


def test_every_model_and_every_profile_shares_the_cache() -> None:
    other = a_build_spec(model_sha256=a_digest("unet").sha256, profiles=(), salt="again")
    assert cache_key(other) == cache_key(a_build_spec())


def test_flags_of_any_length_fit_a_database_key_and_stay_apart() -> None:
    one, two = flags_with(a=["x"] * 5000), flags_with(a=["x"] * 5001)
    assert one != two
    assert max(len(one.encode()), len(two.encode())) < 700
