# ruff: noqa: N802, N815 - the names are NVML's
"""A stand-in for NVML with GPUs made to order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.devices import MemoryInfo, SliceAttributes


class FakeNvmlError(Exception):
    """NVML's numbered errors, of which pynvml makes classes."""

    def __init__(self, value: int) -> None:
        super().__init__({15: "GPU is lost", 18: "Driver/library version mismatch"}.get(value, "an error"))
        self.value = value


FUNCTION_NOT_FOUND = 13
NOT_SUPPORTED, NOT_FOUND, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, GPU_IS_LOST, VERSION_MISMATCH = (
    3,
    6,
    9,
    12,
    15,
    18,
)


@dataclass
class FakeMemory:
    """A GPU's memory; in bytes."""

    total: int
    used: int = 0


@dataclass
class FakeUtilization:
    """In percent."""

    gpu: int
    memory: int = 0


@dataclass
class FakeValue:
    """A field's, of which pynvml makes a union."""

    uiVal: int


@dataclass
class FakeField:
    """What a card tells under a number."""

    value: FakeValue
    nvmlReturn: int = 0


@dataclass
class FakeProcess:
    """With a context on a GPU."""

    pid: int


@dataclass
class FakeAttributes:
    """What a MIG slice was given."""

    multiprocessorCount: int
    memorySizeMB: int
    computeInstanceSliceCount: int
    gpuInstanceSliceCount: int


@dataclass
class FakeGpu:
    """A GPU, or a MIG slice, as NVML sees it."""

    name: str
    uuid: str
    capability: tuple[int, int] = (9, 0)
    cores: int = 16896
    memory_mib: int = 143771
    mig_mode: int | None = None
    slices: list[FakeGpu | None] = field(default_factory=list)
    attributes: FakeAttributes | None = None
    lost: bool = False
    clock_events: int = 0
    #: What it tells beside: by the name of the function, without `nvmlDeviceGet`; what is not there it does not support.
    tells: dict[str, Any] = field(default_factory=dict)


@dataclass
class FakeNvml:
    """As much of pynvml as the workers use."""

    gpus: list[FakeGpu] = field(default_factory=list)
    init_error: int | None = None
    is_open: bool = False
    has_event_reasons: bool = True
    NVMLError: type[Exception] = FakeNvmlError

    def nvmlInit(self) -> None:
        if self.init_error is not None:
            raise FakeNvmlError(self.init_error)
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.159.03"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        if self.gpus[index].lost:
            raise FakeNvmlError(GPU_IS_LOST)
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:
        for gpu in self.gpus:
            for found in (gpu, *gpu.slices):
                if found is not None and found.uuid == uuid:
                    return found
        raise FakeNvmlError(NOT_FOUND)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: FakeGpu) -> FakeGpu:
        return next(gpu for gpu in self.gpus if handle in gpu.slices)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: FakeGpu) -> int:
        if not self.has_event_reasons:
            raise FakeNvmlError(FUNCTION_NOT_FOUND)
        return self.nvmlDeviceGetCurrentClocksThrottleReasons(handle)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: FakeGpu) -> int:
        if handle.lost:
            raise FakeNvmlError(GPU_IS_LOST)
        return handle.clock_events

    def nvmlDeviceGetName(self, handle: FakeGpu) -> str:
        return handle.name

    def nvmlDeviceGetUUID(self, handle: FakeGpu) -> str:
        return handle.uuid

    def nvmlDeviceGetCudaComputeCapability(self, handle: FakeGpu) -> tuple[int, int]:
        return handle.capability

    def nvmlDeviceGetMemoryInfo(self, handle: FakeGpu) -> MemoryInfo:
        if handle.lost:
            raise FakeNvmlError(GPU_IS_LOST)
        return FakeMemory(handle.memory_mib << 20, self._told(handle, "MemoryUsed", 0) << 20)

    def nvmlDeviceGetClockInfo(self, handle: FakeGpu, type: int) -> int:
        return int(self._told(handle, {1: "SmClock", 2: "MemoryClock"}[type]))

    def nvmlDeviceGetTemperature(self, handle: FakeGpu, sensor: int) -> int:
        assert sensor == 0
        return int(self._told(handle, "Temperature"))

    def nvmlDeviceGetFieldValues(self, handle: FakeGpu, field_ids: list[int]) -> list[FakeField]:
        assert field_ids == [186]
        told = self._told(handle, "PowerInstant", 0)
        return [FakeField(FakeValue(told), 0 if told else NOT_SUPPORTED)]

    def nvmlDeviceGetPowerUsage(self, handle: FakeGpu) -> int:
        return int(self._told(handle, "PowerUsage"))

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeGpu) -> int:
        return int(self._told(handle, "TotalEnergyConsumption"))

    def nvmlDeviceGetUtilizationRates(self, handle: FakeGpu) -> FakeUtilization:
        return FakeUtilization(self._told(handle, "Utilization"))

    def nvmlDeviceGetComputeRunningProcesses(self, handle: FakeGpu) -> list[FakeProcess]:
        return [FakeProcess(pid) for pid in self._told(handle, "Compute")]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: FakeGpu) -> list[FakeProcess]:
        return [FakeProcess(pid) for pid in self._told(handle, "Graphics")]

    def nvmlDeviceGetTotalEccErrors(self, handle: FakeGpu, kind: int, counter: int) -> int:
        assert counter == 0
        return int(self._told(handle, {0: "Corrected", 1: "Uncorrected"}[kind]))

    def _told(self, handle: FakeGpu, name: str, default: Any = None) -> Any:
        """A value, or what a test has put in the place of one to be called."""
        if handle.lost:
            raise FakeNvmlError(GPU_IS_LOST)
        if name not in handle.tells and default is None:
            raise FakeNvmlError(NOT_SUPPORTED)
        value = handle.tells.get(name, default)
        return value() if callable(value) else value

    def nvmlDeviceGetNumGpuCores(self, handle: FakeGpu) -> int:
        return handle.cores

    def nvmlDeviceGetMigMode(self, handle: FakeGpu) -> list[int]:
        if handle.mig_mode is None:
            raise FakeNvmlError(NOT_SUPPORTED)
        return [handle.mig_mode, handle.mig_mode]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: FakeGpu) -> int:
        return len(handle.slices)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: FakeGpu, index: int) -> FakeGpu:
        found = handle.slices[index]
        if found is None:
            raise FakeNvmlError(NOT_FOUND)
        return found

    def nvmlDeviceGetAttributes_v2(self, handle: FakeGpu) -> SliceAttributes:
        if handle.attributes is None:
            raise FakeNvmlError(NOT_SUPPORTED)
        return handle.attributes


def mig_slice(name: str, uuid: str, *, sms: int, memory_mib: int, compute: int, gpu: int) -> FakeGpu:
    attributes = FakeAttributes(
        multiprocessorCount=sms,
        memorySizeMB=memory_mib,
        computeInstanceSliceCount=compute,
        gpuInstanceSliceCount=gpu,
    )
    return FakeGpu(name, uuid, attributes=attributes)
