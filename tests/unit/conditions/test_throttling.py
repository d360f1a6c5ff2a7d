"""Whether a GPU was throttled while something went on."""

from __future__ import annotations

import os

import pytest

from tests.fake_nvml import FakeGpu, FakeNvml, mig_slice
from workers.condition_watch import ConditionWatch
from workers.nvml_samples import REASONS, THROTTLING, NvmlSampler

WANTED = ("GpuIdle", "ApplicationsClocksSetting", "SyncBoost", "DisplayClockSetting")


def seen(nvml: FakeNvml, gpu: FakeGpu, masks: list[int], uuid: str = "") -> ConditionWatch:
    """A watch that has taken a sample of each mask; its own thread sees nothing else."""
    watch = ConditionWatch(uuid or gpu.uuid, os.getpid(), lambda: "build", nvml=nvml)
    watch._device = NvmlSampler(watch._uuid, nvml)
    for mask in masks:
        gpu.clock_events = mask
        watch.sample()
    return watch


@pytest.mark.parametrize("reason", THROTTLING)
def test_power_and_heat_are_throttling(nvml: FakeNvml, gpu: FakeGpu, reason: str) -> None:
    found = seen(nvml, gpu, [0, REASONS[reason] | REASONS["GpuIdle"], 0]).during("build")
    assert found is not None
    assert (found.samples, found.reasons) == (3, {reason: 1})
    assert str(found) == f"{reason} in 1 of 3 samples"


@pytest.mark.parametrize("reason", WANTED)
def test_idleness_and_wanted_clocks_are_not(nvml: FakeNvml, gpu: FakeGpu, reason: str) -> None:
    found = seen(nvml, gpu, [REASONS[reason]]).during("build")
    assert found is not None
    assert found.reasons == {}


def test_the_bits_are_those_of_nvml() -> None:
    import pynvml

    assert {name: getattr(pynvml, f"nvmlClocksEventReason{name}") for name in REASONS} == REASONS


def test_another_gpu_does_not_matter(nvml: FakeNvml, gpu: FakeGpu) -> None:
    nvml.gpus[0].clock_events = 0x40
    found = seen(nvml, gpu, [0]).during("build")
    assert found is not None
    assert found.reasons == {}


def test_phases_are_told_apart(nvml: FakeNvml, gpu: FakeGpu) -> None:
    phase = ["build"]
    watch = ConditionWatch(gpu.uuid, os.getpid(), lambda: phase[0], nvml=nvml)
    watch._device = NvmlSampler(gpu.uuid, nvml)
    watch.sample()
    phase[0], gpu.clock_events = "benchmark", 0x40
    watch.sample()
    build, benchmark = watch.during("build"), watch.during("benchmark")
    assert build is not None
    assert benchmark is not None
    assert (build.reasons, benchmark.reasons) == ({}, {"HwThermalSlowdown": 1})
    assert watch.during("verify") is None


def test_a_slice_is_throttled_with_its_gpu(gpu: FakeGpu) -> None:
    gpu.slices = [mig_slice("MIG 1g.18gb", "MIG-1", sms=16, memory_mib=16384, compute=1, gpu=1)]
    found = seen(FakeNvml([gpu]), gpu, [0x4], uuid="MIG-1").during("build")
    assert found is not None
    assert found.reasons == {"SwPowerCap": 1}


def test_an_older_driver_tells_under_the_older_name(nvml: FakeNvml, gpu: FakeGpu) -> None:
    nvml.has_event_reasons = False
    found = seen(nvml, gpu, [0x8]).during("build")
    assert found is not None
    assert found.reasons == {"HwSlowdown": 1}


def test_the_block_takes_samples_by_itself_and_closes_nvml(nvml: FakeNvml, gpu: FakeGpu) -> None:
    gpu.clock_events = 0x4
    with ConditionWatch(gpu.uuid, os.getpid(), lambda: "build", nvml=nvml) as watch:
        assert nvml.is_open
    found = watch.during("build")
    assert found is not None
    assert found.samples == found.reasons["SwPowerCap"] >= 1
    assert not nvml.is_open


@pytest.mark.parametrize("uuid", ["", "GPU-unknown"])
def test_where_nobody_looks_nothing_is_claimed(nvml: FakeNvml, uuid: str) -> None:
    with ConditionWatch(uuid, os.getpid(), lambda: "build", nvml=nvml) as watch:
        pass
    assert watch.during("build") is None
    assert not watch.seen.device
    assert not nvml.is_open


def test_without_a_driver_nothing_is_claimed() -> None:
    nvml = FakeNvml(init_error=9)
    with ConditionWatch("GPU-0", os.getpid(), lambda: "build", nvml=nvml) as watch:
        pass
    assert watch.during("build") is None


def test_a_gpu_that_falls_off_the_bus_ends_the_watch_and_nothing_else(nvml: FakeNvml, gpu: FakeGpu) -> None:
    watch = seen(nvml, gpu, [0x4])
    gpu.lost = True
    watch.sample()
    found = watch.during("build")
    assert found is not None
    assert found.samples == 1
    assert "NVML no longer tells reasons: GPU is lost" in watch.seen.notes
