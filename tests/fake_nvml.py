# ruff: noqa: N802, N815 - the names are NVML's
"""A stand-in for NVML with GPUs made to order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.devices import MemoryInfo, SliceAttributes


class FakeNvmlError(Exception):
    """NVML's numbered errors, of which pynvml makes classes."""

    def __init__(self, value: int) -> None:
        super().__init__({15: "GPU is lost", 18: "Driver/library version mismatch"}.get(value, "an error"))
        self.value = value


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


@dataclass
class FakeNvml:
    """As much of pynvml as discovery uses."""

    gpus: list[FakeGpu] = field(default_factory=list)
    init_error: int | None = None
    is_open: bool = False
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

    def nvmlDeviceGetName(self, handle: FakeGpu) -> str:
        return handle.name

    def nvmlDeviceGetUUID(self, handle: FakeGpu) -> str:
        return handle.uuid

    def nvmlDeviceGetCudaComputeCapability(self, handle: FakeGpu) -> tuple[int, int]:
        return handle.capability

    def nvmlDeviceGetMemoryInfo(self, handle: FakeGpu) -> MemoryInfo:
        return FakeMemory(handle.memory_mib << 20)

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
