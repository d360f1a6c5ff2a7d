# ruff: noqa: N802, N815 - the names are NVML's
"""The devices of this host: its GPUs, found through NVML, and its CPU.

Nothing of NVIDIA's is imported before somebody asks. `DeviceLock` keeps one of the devices for one holder.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import platform
import re
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from farm.domain.targets import Device, DeviceKind, DeviceType
from workers.device_lock import DeviceLock

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Device", "DeviceLock", "Discovery", "describe_cpu", "discover_devices", "discover_gpus"]

# Opaque: what NVML hands out is only ever handed back to it.
Handle: TypeAlias = Any

_LOG = logging.getLogger(__name__)
_MIB = 1 << 20

# FP32 cores per SM: 64 for these, 128 for 5.x, 6.1, 6.2, 8.6, 8.7, 8.9, 9.0 and what came since; appendix
# "Compute Capabilities" of NVIDIA's CUDA C++ Programming Guide, 12.x (sections 7.x, 8.x, 9.0, ...). The same
# figures are in _ConvertSMVer2Cores of NVIDIA/cuda-samples, Common/helper_cuda.h.
_HAS_64_CORES_PER_SM = {(6, 0), (7, 0), (7, 2), (7, 5), (8, 0)}

_NVML_NOT_SUPPORTED = 3
_NVML_NOT_FOUND = 6
_NVML_DRIVER_NOT_LOADED = 9
_NVML_LIBRARY_NOT_FOUND = 12
_NVML_FUNCTION_NOT_FOUND = 13

# The widest first; the second word is the kernel's, in /proc/cpuinfo.
_VECTOR_EXTENSIONS = (
    ("amx", "amx_tile"),
    ("avx512", "avx512f"),
    ("avx2", "avx2"),
    ("avx", "avx"),
    ("sse4.2", "sse4_2"),
    ("sve2", "sve2"),
    ("sve", "sve"),
    ("neon", "asimd"),
    ("neon", "neon"),
)
# ARM's kernels give numbers instead of a model name: implementer and part, from the cores' MIDR_EL1.
_ARM_PARTS = {
    ("0x41", "0xd0c"): "ARM Neoverse-N1",
    ("0x41", "0xd40"): "ARM Neoverse-V1",
    ("0x41", "0xd49"): "ARM Neoverse-N2",
    ("0x41", "0xd4f"): "ARM Neoverse-V2",
}


class MemoryInfo(Protocol):
    """A GPU's memory; in bytes."""

    total: int


class SliceAttributes(Protocol):
    """What a MIG slice was given."""

    multiprocessorCount: int
    memorySizeMB: int
    gpuInstanceSliceCount: int
    computeInstanceSliceCount: int


class Nvml(Protocol):
    """What discovery uses of the module `pynvml` (nvidia-ml-py)."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle: ...
    def nvmlDeviceGetName(self, handle: Handle) -> str: ...
    def nvmlDeviceGetUUID(self, handle: Handle) -> str: ...
    def nvmlDeviceGetCudaComputeCapability(self, handle: Handle) -> tuple[int, int]: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Handle) -> MemoryInfo: ...
    def nvmlDeviceGetNumGpuCores(self, handle: Handle) -> int: ...
    def nvmlDeviceGetMigMode(self, handle: Handle) -> list[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Handle) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, index: int) -> Handle: ...
    def nvmlDeviceGetAttributes_v2(self, handle: Handle) -> SliceAttributes: ...


@dataclass(frozen=True)
class Discovery:
    """What was found, and in words what was found but can not be used."""

    devices: tuple[Device, ...]
    warnings: tuple[str, ...] = ()


def discover_devices() -> list[Device]:
    """All devices of this host, GPUs first; what can not be used is logged as a warning."""
    gpus = discover_gpus()
    for warning in gpus.warnings:
        _LOG.warning("%s", warning)
    return [*gpus.devices, describe_cpu()]


def discover_gpus(nvml: Nvml | None = None) -> Discovery:
    """The GPUs of this host, or their MIG slices where MIG is on.

    Args:
        nvml: the module `pynvml`, imported now if left out.

    Returns:
        No GPU and no warning where there is no driver; a warning for each GPU that is listed but fails.
    """
    if nvml is None:
        try:
            import pynvml  # type: ignore[import-untyped,unused-ignore]
        except ImportError:
            return Discovery(())
        nvml = cast("Nvml", pynvml)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        absent = _code(error) in (_NVML_DRIVER_NOT_LOADED, _NVML_LIBRARY_NOT_FOUND)
        return Discovery((), () if absent else (f"NVML does not start, so no GPU is used: {error}",))
    devices: list[Device] = []
    warnings: list[str] = []
    try:
        driver = nvml.nvmlSystemGetDriverVersion()
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                found = list(_gpu_or_slices(nvml, index, driver))
            except nvml.NVMLError as error:
                warnings.append(f"GPU {index} is listed by NVML but fails, and is not used: {error}")
                continue
            if not found:
                warnings.append(f"GPU {index} is in MIG mode without an instance, and is not used")
            devices.extend(found)
    except nvml.NVMLError as error:
        warnings.append(f"NVML can not list the GPUs: {error}")
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return Discovery(tuple(devices), tuple(warnings))


def _gpu_or_slices(nvml: Nvml, index: int, driver: str) -> Iterator[Device]:
    gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(gpu)
    capability = nvml.nvmlDeviceGetCudaComputeCapability(gpu)
    total_mib = nvml.nvmlDeviceGetMemoryInfo(gpu).total // _MIB

    def device(handle: Handle, units: int, memory_mib: int, profile: str = "") -> Device:
        gib = round(memory_mib / 1024)
        kind = DeviceType(DeviceKind.GPU, name, "{}.{}".format(*capability), units, gib, profile)
        return Device(nvml.nvmlDeviceGetUUID(handle), kind, index, memory_mib, driver, platform.node())

    if not _is_mig_on(nvml, gpu):
        cores_per_sm = 64 if capability in _HAS_64_CORES_PER_SM else 128
        yield device(gpu, nvml.nvmlDeviceGetNumGpuCores(gpu) // cores_per_sm, total_mib)
        return
    for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, number)
        except nvml.NVMLError as error:
            if _code(error) == _NVML_NOT_FOUND:  # slots are numbered, and most are empty
                continue
            raise
        attributes = nvml.nvmlDeviceGetAttributes_v2(handle)
        profile = _mig_profile(nvml.nvmlDeviceGetName(handle), attributes, total_mib)
        yield device(handle, attributes.multiprocessorCount, attributes.memorySizeMB, profile)


def _is_mig_on(nvml: Nvml, gpu: Handle) -> bool:
    try:
        return nvml.nvmlDeviceGetMigMode(gpu)[0] == 1
    except nvml.NVMLError as error:
        if _code(error) in (_NVML_NOT_SUPPORTED, _NVML_FUNCTION_NOT_FOUND):
            return False
        raise


def _mig_profile(name: str, attributes: SliceAttributes, total_mib: int) -> str:
    """The profile at the end of `NVIDIA H200 MIG 1g.18gb`, or made up as NVIDIA's go-nvlib does."""
    if named := re.search(r"\bMIG (\S+)$", name):
        return named[1]
    eighths = round(8 * attributes.memorySizeMB / total_mib)
    # Halves go up (an H200 has 3g.71gb for 70.5), where Python's round would go to the even number.
    gigabytes = math.floor(eighths * math.ceil(total_mib / 1024) / 8 + 0.5)
    profile = f"{attributes.gpuInstanceSliceCount}g.{gigabytes}gb"
    if attributes.computeInstanceSliceCount == attributes.gpuInstanceSliceCount:
        return profile
    return f"{attributes.computeInstanceSliceCount}c.{profile}"


def _code(error: Exception) -> int:
    return int(getattr(error, "value", -1))


def describe_cpu(root: Path = Path("/")) -> Device:
    """The CPU of this host as a device.

    Args:
        root: the folder in which proc, sys and etc are looked up.
    """
    info = _cpuinfo(root)
    words = set(f"{info.get('flags', '')} {info.get('Features', '')}".split())
    vectors = (label for label, flag in _VECTOR_EXTENSIONS if flag in words)
    part = (info.get("CPU implementer", ""), info.get("CPU part", ""))
    name = info.get("model name") or _ARM_PARTS.get(part) or platform.processor() or platform.machine()
    kind = DeviceType(DeviceKind.CPU, name, units=_usable_cores(root), variant=next(vectors, ""))
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB
    return Device(_cpu_uuid(root), kind, 0, memory_mib, "", platform.node())


def _cpuinfo(root: Path) -> dict[str, str]:
    """The lines of the first processor in /proc/cpuinfo."""
    pairs = (line.partition(":") for line in _read(root / "proc/cpuinfo").split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _usable_cores(root: Path) -> int:
    """The cores that this process may run on, cut down to the quota of its cgroup (v2) and of those above."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    unified = re.search(r"^0::/(.*)$", _read(root / "proc/self/cgroup"), re.MULTILINE)
    group = Path(unified[1] if unified else "")
    for folder in (group, *group.parents):
        quota = re.match(r"(\d+) (\d+)", _read(root / "sys/fs/cgroup" / folder / "cpu.max"))
        if quota:
            # Rounded down: one thread more than the quota pays for is throttled, and takes the others along.
            cores = min(cores, max(1, int(quota[1]) // int(quota[2])))
    return cores


def _cpu_uuid(root: Path) -> str:
    """A UUID that stays as long as the host's machine id does, or else until the next boot."""
    sources = ("etc/machine-id", "proc/sys/kernel/random/boot_id")
    seed = next(filter(None, (_read(root / source).strip() for source in sources)), platform.node())
    # Hashed, since a machine id is not to be shown to others: machine-id(5).
    digest = hashlib.sha256(f"engine-farm cpu {seed}".encode()).digest()
    return f"CPU-{uuid.UUID(bytes=digest[:16])}"


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""
