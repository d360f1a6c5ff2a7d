"""One look at a GPU through NVML."""

from __future__ import annotations

import os
from typing import Any

import pytest

from farm.domain.conditions import DeviceProcess, DeviceSample
from tests.fake_nvml import GPU_IS_LOST, FakeGpu, FakeNvml, FakeNvmlError, mig_slice
from workers.nvml_samples import NvmlSampler

EVERYTHING: dict[str, Any] = {
    "SmClock": 1980,
    "MemoryClock": 3201,
    "Temperature": 41,
    "PowerUsage": 350_500,
    "TotalEnergyConsumption": 1_234_567,
    "Utilization": 97,
    "MemoryUsed": 1024,
    "Compute": [1],
    "Graphics": [],
    "Corrected": 2,
    "Uncorrected": 1,
}


def sampled(nvml: FakeNvml, uuid: str = "GPU-1", own: tuple[int, ...] = (1,)) -> DeviceSample:
    found = NvmlSampler(uuid, nvml).sample(5.0, own)
    assert found is not None
    return found


def test_every_answer_is_in_its_unit(nvml: FakeNvml, gpu: FakeGpu) -> None:
    gpu.tells, gpu.clock_events = EVERYTHING, 0x5
    found = sampled(nvml)
    assert found == DeviceSample(
        at=5.0,
        sm_clock_mhz=1980,
        memory_clock_mhz=3201,
        reasons=("GpuIdle", "SwPowerCap"),
        temperature_c=41,
        power_w=350.5,
        energy_j=1234.567,
        utilisation_percent=97,
        memory_used_mib=1024,
        processes=found.processes,
        ecc_errors=3,
    )


@pytest.mark.parametrize("absent", [*EVERYTHING])
def test_what_a_device_does_not_support_is_absent_and_no_note(
    nvml: FakeNvml, gpu: FakeGpu, absent: str
) -> None:
    gpu.tells = EVERYTHING
    everything = sampled(nvml)
    gpu.tells = {name: value for name, value in EVERYTHING.items() if name != absent}
    sampler = NvmlSampler("GPU-1", nvml)
    found = sampler.sample(5.0, (1,))
    assert found is not None
    assert sampler.notes == []
    changed = {name for name in vars(found) if getattr(found, name) != getattr(everything, name)}
    # The memory that is used is always told; an absent list of processes leaves the other one.
    assert len(changed) == (0 if absent == "Graphics" else 1)


def test_what_ends_later_is_noted_once_and_the_rest_goes_on(nvml: FakeNvml, gpu: FakeGpu) -> None:
    gpu.tells = dict(EVERYTHING)
    sampler = NvmlSampler("GPU-1", nvml)

    def lost() -> int:
        raise FakeNvmlError(GPU_IS_LOST)

    gpu.tells["PowerUsage"] = lost
    for _ in range(2):
        found = sampler.sample(5.0)
        assert found is not None
        assert (found.power_w, found.sm_clock_mhz) == (None, 1980)
    assert sampler.notes == ["NVML no longer tells power w: GPU is lost"]


def test_a_module_that_lacks_a_function_is_one_that_does_not_support_it(gpu: FakeGpu) -> None:
    class Older(FakeNvml):
        @property
        def nvmlDeviceGetTotalEnergyConsumption(self) -> Any:  # type: ignore[override]  # noqa: N802
            raise AttributeError("an older nvidia-ml-py")

    gpu.tells = EVERYTHING
    found = sampled(Older([gpu]))
    assert (found.energy_j, found.power_w) == (None, 350.5)


def test_processes_are_own_or_others_and_draw_or_compute(nvml: FakeNvml, gpu: FakeGpu) -> None:
    gpu.tells = {"Compute": [os.getpid(), 4_000_001], "Graphics": [4_000_001, 4_000_002]}
    own, other, drawing = sampled(nvml, own=(os.getpid(),)).processes or ()
    assert own.is_own
    assert own.name
    assert other == DeviceProcess(4_000_001)
    assert drawing == DeviceProcess(4_000_002, is_graphics=True)


def test_a_slice_has_its_own_memory_and_processes_and_its_gpus_clocks(gpu: FakeGpu) -> None:
    piece = mig_slice("MIG 1g.18gb", "MIG-1", sms=16, memory_mib=16384, compute=1, gpu=1)
    gpu.slices, gpu.tells = [piece], EVERYTHING
    piece.tells = {"Compute": [7], "MemoryUsed": 10}
    found = sampled(FakeNvml([gpu]), "MIG-1")
    assert (found.sm_clock_mhz, found.memory_used_mib) == (1980, 10)
    assert [process.pid for process in found.processes or ()] == [7]
    assert NvmlSampler("MIG-1", FakeNvml([gpu])).is_slice


def test_a_cpu_has_no_nvml() -> None:
    sampler = NvmlSampler("", FakeNvml(init_error=9))
    assert not sampler.is_open
    assert sampler.sample(1.0) is None
    sampler.close()


def test_the_power_is_that_of_this_moment_where_the_driver_tells_it(nvml: FakeNvml, gpu: FakeGpu) -> None:
    gpu.tells = {"PowerInstant": 610_000, "PowerUsage": 350_500}
    assert sampled(nvml).power_w == 610
    gpu.tells = {"PowerUsage": 350_500}
    assert sampled(nvml).power_w == 350.5
