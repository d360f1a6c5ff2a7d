"""The watch over a device while a child works, and what it says of the child's measurements."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.conditions import DeviceProcess, DeviceSample, HostSample, Watched
from tests.factories import a_measurement
from workers.child.requests import AttemptResult
from workers.condition_watch import BUILD_GAP_S, GAP_S, HOST_GAP_S, ConditionWatch, judged

if TYPE_CHECKING:
    from tests.fake_nvml import FakeGpu, FakeNvml


def a_watched(**changes: object) -> Watched:
    """Two seconds of an H200 at 500 W, alone on its device."""
    device = [
        DeviceSample(at=n * GAP_S, sm_clock_mhz=1980, energy_j=500 * n * GAP_S, reasons=(), processes=())
        for n in range(40)
    ]
    host = [HostSample(at=n * HOST_GAP_S, ran_s=n * HOST_GAP_S, waited_s=0.0) for n in range(20)]
    return replace(Watched(device, host), **changes)  # type: ignore[arg-type]


def test_ten_times_a_second_and_more_often_is_looked_at() -> None:
    assert 1 / GAP_S >= 10
    assert 1 / HOST_GAP_S >= 10


def test_a_build_is_left_in_peace(nvml: FakeNvml, gpu: FakeGpu) -> None:
    phase = ["build"]
    watch = ConditionWatch(gpu.uuid, os.getpid(), lambda: phase[0], nvml=nvml)
    with watch:
        assert watch._gap_s() == BUILD_GAP_S
        phase[0] = "benchmark"
        assert watch._gap_s() == GAP_S


def test_a_watch_has_samples_from_before_a_window_to_after_it(nvml: FakeNvml, gpu: FakeGpu) -> None:
    gpu.tells = {"SmClock": 1980, "TotalEnergyConsumption": lambda: int(300_000 * time.monotonic())}
    with ConditionWatch(gpu.uuid, os.getpid(), lambda: "benchmark", nvml=nvml) as watch:
        time.sleep(0.05)
        window = (time.monotonic(), time.monotonic() + 0.3)
        time.sleep(0.3)
    result = watch.judged(AttemptResult(measurements=(a_measurement(window=window),)))
    conditions = result.measurements[0].conditions
    assert conditions["sm_clock_mhz"]["median"] == 1980
    assert conditions["energy_j"] > 0
    assert watch.seen.host[0].at <= window[0]
    assert watch.seen.host[-1].at >= window[1]


def test_a_measurement_gets_the_conditions_of_its_window_and_energy_per_inference() -> None:
    measured = a_measurement(8, window=(0.5, 1.5))
    found = judged(measured, a_watched())
    assert found.conditions["energy_per_inference_j"] * 8 * measured.compute.count == 500
    assert found.taints == ()
    assert replace(found, conditions={}) == measured


def test_energy_per_inference_is_not_told_where_the_window_has_other_work_in_it() -> None:
    for measured in (
        a_measurement(window=(0.5, 1.5), flushed=True),
        a_measurement(window=(0.5, 1.5), streams=4),
    ):
        found = judged(measured, a_watched())
        assert "energy_j" in found.conditions
        assert "energy_per_inference_j" not in found.conditions


def test_what_disturbed_it_comes_after_what_the_child_says_itself() -> None:
    stranger = DeviceProcess(7, "game")
    device = [
        replace(sample, processes=(DeviceProcess(1, is_own=True), stranger)) for sample in a_watched().device
    ]
    measured = a_measurement(window=(0.5, 1.5), taints=("drift: +2 %",))
    assert judged(measured, a_watched(device=device)).taints == ("drift: +2 %", "foreign process: game (7)")


def test_a_measurement_that_does_not_tell_its_window_stays_as_it_is() -> None:
    assert judged(a_measurement(), a_watched()) == a_measurement()


def test_of_a_cpu_the_host_is_watched_alone() -> None:
    with ConditionWatch("", os.getpid(), lambda: "benchmark") as watch:
        pass
    assert watch.seen.device == []
    assert watch.seen.host
    assert not watch.seen.notes
