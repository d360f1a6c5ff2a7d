"""How many times faster: medians of compute, of the same shape, device and method."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.filing import Engine, Run
from farm.domain.speedups import ComparedFigure, compare_with_baselines
from farm.domain.targets import DeviceKind, DeviceType, Target
from tests.factories import (
    a_build_spec,
    a_device_type,
    a_digest,
    a_measurement,
    a_summary,
    a_toolchain_id,
    an_l4,
)

if TYPE_CHECKING:
    from farm.domain.benchmarks import Measurement

NOW = datetime(2026, 11, 21, tzinfo=UTC)
H200, CPU = a_device_type(), a_device_type(DeviceKind.CPU)


def figure(median_ms: float, batch: int = 8, **changes: Any) -> Measurement:
    return a_measurement(batch, compute=a_summary(median_ms), **{"graph": False, **changes})


def engine(
    number: int,
    toolchain: str,
    precision: str,
    *figures: Measurement,
    device: DeviceType = H200,
    version: str = "2.13.0",
) -> Engine:
    target = Target(device, a_toolchain_id(toolchain, version, ""))
    spec = a_build_spec(target=target, precision=precision, builder_config={})
    run = Run(number, number, "GPU-0", "580", "host", NOW, None, figures, None)
    return Engine(number, spec, a_digest(str(number)), 1.0, "", 0, 0, "", "j-1", NOW, (run,))


def times(figures: list[ComparedFigure], number: int) -> list[dict[str, float]]:
    return [
        {word: speedup.times for word, speedup in found.speedups.items()}
        for found in figures
        if found.engine.id == number
    ]


def test_a_ratio_is_the_baselines_median_over_the_engines() -> None:
    figures, words = compare_with_baselines(
        [engine(1, "tensorrt", "fp16", figure(2.0)), engine(2, "torch", "fp16", figure(6.0))]
    )
    assert words == ["torch-amp"]
    assert times(figures, 1) == [{"torch-amp": 3.0}]
    assert times(figures, 2) == [{"torch-amp": 1.0}]


def test_baselines_are_compared_with_each_other_too() -> None:
    torch, amp = engine(1, "torch", "fp32", figure(9.0)), engine(2, "torch", "fp16", figure(6.0))
    assert times(compare_with_baselines([torch, amp])[0], 2) == [{"torch": 1.5, "torch-amp": 1.0}]


@pytest.mark.parametrize(
    "other",
    [
        figure(6.0, batch=1),
        figure(6.0, shapes={"input": (8, 3, 16, 16)}),
        figure(6.0, graph=True),
        figure(6.0, transfers=False),
        figure(6.0, streams=4),
    ],
)
def test_another_shape_or_method_is_never_compared(other: Measurement) -> None:
    mine, torch = engine(1, "tensorrt", "fp16", figure(2.0)), engine(2, "torch", "fp32", other)
    assert times(compare_with_baselines([mine, torch])[0], 1) == [{}]


def test_a_baseline_on_another_device_is_never_compared() -> None:
    mine = engine(1, "tensorrt", "fp16", figure(2.0))
    torch = engine(2, "torch", "fp32", figure(6.0), device=an_l4())
    assert times(compare_with_baselines([mine, torch])[0], 1) == [{}]


def test_onnx_runtime_on_the_cpu_is_compared_with_engines_on_any_device_and_by_any_method() -> None:
    mine = engine(1, "tensorrt", "fp16", figure(2.0), figure(1.0, graph=True))
    ort = engine(2, "onnxruntime", "fp32", figure(60.0), device=CPU)
    found = times(compare_with_baselines([mine, ort])[0], 1)
    assert sorted(one["ort-cpu"] for one in found) == [30.0, 60.0]


def test_only_the_baselines_that_are_named_count() -> None:
    engines = [
        engine(1, "tensorrt", "fp16", figure(2.0)),
        engine(2, "torch", "fp32", figure(8.0)),
        engine(3, "torch", "fp16", figure(6.0)),
    ]
    figures, words = compare_with_baselines(engines, ["torch-amp", "ort-cuda"])
    assert words == ["torch-amp"]
    assert times(figures, 1) == [{"torch-amp": 3.0}]


def test_of_several_releases_of_a_baseline_the_newest_counts() -> None:
    engines = [
        engine(1, "tensorrt", "fp16", figure(2.0)),
        engine(2, "torch", "fp32", figure(6.0), version="2.13.0"),
        engine(3, "torch", "fp32", figure(8.0), version="2.9.1"),
    ]
    assert times(compare_with_baselines(engines)[0], 1) == [{"torch": 3.0}]


def test_disturbed_figures_count_on_request_alone() -> None:
    disturbed = figure(6.0, taints=("drift",))
    engines = [engine(1, "tensorrt", "fp16", figure(2.0)), engine(2, "torch", "fp32", disturbed)]
    assert times(compare_with_baselines(engines)[0], 1) == [{}]
    assert times(compare_with_baselines(engines)[0], 2) == []
    assert times(compare_with_baselines(engines, with_tainted=True)[0], 1) == [{"torch": 3.0}]


def test_the_ratios_interval_is_the_widest_that_both_medians_allow() -> None:
    mine = engine(1, "tensorrt", "fp16", figure(2.0, interval_ms=(1.9, 2.1)))
    torch = engine(2, "torch", "fp32", figure(6.0, interval_ms=(5.7, 6.3)))
    speedup = compare_with_baselines([mine, torch])[0][0].speedups["torch"]
    assert speedup.interval == pytest.approx((5.7 / 2.1, 6.3 / 1.9))
    without = replace(mine, runs=(replace(mine.runs[0], measurements=(figure(2.0),)),))
    assert compare_with_baselines([without, torch])[0][0].speedups["torch"].interval is None


def test_figures_come_by_shape_and_method_the_fastest_first() -> None:
    engines = [
        engine(1, "torch", "fp32", figure(6.0, 8), figure(3.0, 1)),
        engine(2, "tensorrt", "fp16", figure(2.0, 8), figure(1.0, 1)),
    ]
    order = [(found.measurement.batch, found.engine.id) for found in compare_with_baselines(engines)[0]]
    assert order == [(1, 2), (1, 1), (8, 2), (8, 1)]
