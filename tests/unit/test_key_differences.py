"""Which components of two keys differ."""

from __future__ import annotations

from farm.domain.calibration import Calibration
from farm.domain.key_difference import key_differences
from tests.factories import a_build_spec, a_shape_range, a_target, a_toolchain_id


def test_equal_keys_differ_in_nothing() -> None:
    assert key_differences(a_build_spec(), a_build_spec()) == []


def test_each_component_that_differs_is_named_with_both_values() -> None:
    other = a_build_spec(
        precision="int8",
        target=a_target(toolchain=a_toolchain_id(version="8.6.1")),
        builder_config={"builder_optimization_level": 5},
        profiles=({"input": a_shape_range(high=32)},),
        calibration=Calibration("ab" * 32, 8, 64),
    )
    found = {each.component: (each.before, each.after) for each in key_differences(a_build_spec(), other)}
    assert found["toolchain.version"] == ("8.6.0", "8.6.1")
    assert found["precision"] == ("fp16", "int8")
    assert found["builder_config.builder_optimization_level"] == (4, 5)
    assert found["builder_config.tactic_sources"] == (["+CUDNN", "-CUBLAS"], None)
    assert found["profiles[0].input.max"] == ([16, 3, 8, 8], [32, 3, 8, 8])
    assert found["calibration.samples"] == (None, 64)
    assert "model" not in found
