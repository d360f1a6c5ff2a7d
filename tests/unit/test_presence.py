"""Whether a GPU is still there, through a stand-in for NVML, and which failures its loss explains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.jobs import FailureClass
from farm.domain.targets import DeviceKind
from tests.factories import a_crash, a_device, a_device_type, a_failure
from tests.fake_nvml import DRIVER_NOT_LOADED, FakeGpu, FakeNvml
from workers import presence
from workers.presence import DEVICE_LOST, DeviceWatch, why_gone

if TYPE_CHECKING:
    from farm.domain.targets import Device


@pytest.fixture(autouse=True)
def no_second_thoughts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second look follows at once."""
    monkeypatch.setattr(presence, "SECOND_LOOK_S", 0.0)
    monkeypatch.setattr(presence, "GAP_S", 0.01)


@pytest.fixture
def gpu() -> Device:
    """As it was found when the worker started."""
    return a_device(uuid="GPU-1")


def test_a_gpu_that_nvml_lists_is_there_and_nvml_is_closed_again(gpu: Device) -> None:
    nvml = FakeNvml([FakeGpu("NVIDIA H200", "GPU-0"), FakeGpu("NVIDIA H200", "GPU-1")])
    assert why_gone(gpu, nvml) == ""
    assert not nvml.is_open


def test_a_gpu_that_fell_off_the_bus_is_gone(gpu: Device) -> None:
    assert "GPU is lost" in why_gone(gpu, FakeNvml([FakeGpu("NVIDIA H200", "GPU-1", lost=True)]))


def test_a_gpu_that_is_not_listed_any_more_is_gone(gpu: Device) -> None:
    assert why_gone(gpu, FakeNvml([FakeGpu("NVIDIA H200", "GPU-0")]))


def test_a_driver_that_is_gone_takes_its_gpu_along(gpu: Device) -> None:
    assert "NVML does not start" in why_gone(gpu, FakeNvml(init_error=DRIVER_NOT_LOADED))


def test_one_look_that_fails_is_a_hiccup(gpu: Device) -> None:
    class Hiccup(FakeNvml):
        looks = 0

        def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:  # noqa: N802 - the name is NVML's
            self.looks += 1
            return (
                FakeGpu("", uuid, lost=True) if self.looks == 1 else super().nvmlDeviceGetHandleByUUID(uuid)
            )

    nvml = Hiccup([FakeGpu("NVIDIA H200", "GPU-1")])
    assert why_gone(gpu, nvml) == ""
    assert nvml.looks == 2


def test_a_cpu_is_always_there() -> None:
    cpu = a_device(a_device_type(DeviceKind.CPU), uuid="CPU-1")
    assert why_gone(cpu, FakeNvml(init_error=DRIVER_NOT_LOADED)) == ""


def test_whatever_a_toolchain_makes_of_it_the_loss_of_its_device_is_transient_and_no_crash(
    gpu: Device,
) -> None:
    lost = FakeNvml([FakeGpu("NVIDIA H200", "GPU-1", lost=True)])
    for failure in (a_crash(), a_failure(failure_class=FailureClass.REFUSED)):
        with DeviceWatch(gpu, lost) as watch:
            blamed = watch.blamed(failure)
        assert (blamed.code, blamed.failure_class, blamed.is_crash) == (
            DEVICE_LOST,
            FailureClass.TRANSIENT,
            False,
        )
        assert f"{gpu.uuid} of {gpu.host} is gone" in blamed.message


@pytest.mark.parametrize(
    "said",
    [
        "tensorrt could not build the engine: CUDA says no CUDA-capable device is detected",
        "CUDA says cuCtxSynchronize failed: uncorrectable ECC error encountered",
        "cudaErrorECCUncorrectable",
    ],
)
def test_a_toolchain_that_says_so_is_believed(gpu: Device, said: str) -> None:
    there = FakeNvml([FakeGpu("NVIDIA H200", "GPU-1")])
    with DeviceWatch(gpu, there) as watch:
        assert watch.blamed(a_failure(message=said)).code == DEVICE_LOST


def test_a_failure_beside_a_gpu_that_is_there_stays_what_it_is(gpu: Device) -> None:
    failure = a_failure()
    with DeviceWatch(gpu, FakeNvml([FakeGpu("NVIDIA H200", "GPU-1")])) as watch:
        assert watch.blamed(failure) is failure


def test_a_wrong_request_and_what_failed_before_the_device_was_used_stay_what_they_are(gpu: Device) -> None:
    lost = FakeNvml([FakeGpu("NVIDIA H200", "GPU-1", lost=True)])
    failure, wrong = a_failure(), a_failure(failure_class=FailureClass.REQUEST)
    watch = DeviceWatch(gpu, lost)
    assert watch.blamed(failure) is failure
    with watch:
        assert watch.blamed(wrong) is wrong


def test_a_gpu_that_goes_while_it_is_watched_is_noticed(gpu: Device) -> None:
    fake = FakeGpu("NVIDIA H200", "GPU-1")
    with DeviceWatch(gpu, FakeNvml([fake])) as watch:
        assert watch.reason == ""
        fake.lost = True
        watch._thread.join(30)
        assert "GPU is lost" in watch.reason
