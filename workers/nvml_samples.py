# ruff: noqa: D102, N802 - the names are NVML's
"""Looks at a GPU through NVML; what a device does not support is simply not told."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from farm.domain.conditions import DeviceProcess, DeviceSample

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_LOG = logging.getLogger(__name__)
#: Every clock-event reason, by its bit (`nvml.h`, nvmlClocksEventReasons).
REASONS = {
    "GpuIdle": 0x01,
    "ApplicationsClocksSetting": 0x02,
    "SwPowerCap": 0x04,
    "HwSlowdown": 0x08,
    "SyncBoost": 0x10,
    "SwThermalSlowdown": 0x20,
    "HwThermalSlowdown": 0x40,
    "HwPowerBrakeSlowdown": 0x80,
    "DisplayClockSetting": 0x100,
}
#: Those that are throttling: power, heat, and the board's own brakes. Left out: idle, and clocks that somebody set
#: or that a display or a sync group asks for.
THROTTLING = ("SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown")
_NVML_NOT_SUPPORTED = 3
_NVML_FUNCTION_NOT_FOUND = 13
# nvmlClockType_t, nvmlTemperatureSensors_t, nvmlMemoryErrorType_t and nvmlEccCounterType_t of nvml.h.
_CLOCK_SM, _CLOCK_MEMORY = 1, 2
_TEMPERATURE_GPU = 0
_CORRECTED, _UNCORRECTED, _VOLATILE = 0, 1, 0
#: NVML_FI_DEV_POWER_INSTANT of nvml.h: of this moment, where nvmlDeviceGetPowerUsage averages over a second.
_POWER_INSTANT = 186
_MIB = 1 << 20


class ConditionsNvml(Protocol):
    """What the look uses of the module `pynvml` (nvidia-ml-py)."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any: ...
    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Any) -> Any: ...
    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any) -> int: ...
    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any) -> int: ...
    def nvmlDeviceGetClockInfo(self, handle: Any, type: int) -> int: ...
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...
    def nvmlDeviceGetFieldValues(self, handle: Any, field_ids: list[int]) -> Any: ...
    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int: ...
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int: ...
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]: ...
    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any) -> list[Any]: ...
    def nvmlDeviceGetTotalEccErrors(self, handle: Any, kind: int, counter: int) -> int: ...


class NvmlSampler:
    """Takes samples of one GPU or MIG slice.

    A slice shares clocks, heat, power and ECC counters with its GPU; memory and processes are its own.

    Args:
        uuid: of the GPU or the slice; empty for a CPU, of which NVML tells nothing.
        nvml: the module `pynvml`, imported now if left out.
    """

    def __init__(self, uuid: str, nvml: ConditionsNvml | None = None) -> None:
        self._uuid = uuid
        self._nvml = nvml
        self._queries: dict[str, Callable[[], Any]] = {}
        self._names: dict[int, str] = {}
        self._errors: tuple[type[Exception], ...] = ()
        #: What ended before its time, in words.
        self.notes: list[str] = []
        self.is_slice = uuid.startswith("MIG-")
        self.is_open = self._open()

    def sample(self, at: float, own: Collection[int] = ()) -> DeviceSample | None:
        """One look; none if the device tells nothing (any more).

        Args:
            at: now, on the monotonic clock.
            own: ids of the processes that are measured.
        """
        found = self._ask()
        if not found:
            return None
        listed = [(name, found.pop(name, None)) for name in ("compute", "graphics")]
        if any(pids is not None for _, pids in listed):
            found["processes"] = self._processes(dict(listed), own)
        return DeviceSample(at=at, **found)

    def close(self) -> None:
        """Lets go of NVML."""
        if self.is_open and self._nvml is not None:
            self.is_open = False
            with suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def _ask(self) -> dict[str, Any]:
        found = {}
        for name, query in list(self._queries.items()):
            try:
                found[name] = query()
            except self._errors as error:
                # One that answered before: the GPU fell off the bus, or the driver is being replaced.
                del self._queries[name]
                self.notes.append(f"NVML no longer tells {name.replace('_', ' ')}: {error}")
                _LOG.warning("NVML no longer tells %s of %s: %s", name, self._uuid, error)
        return found

    def _open(self) -> bool:
        if not self._uuid:
            return False
        if self._nvml is None:
            try:
                import pynvml  # type: ignore[import-untyped,unused-ignore]
            except ImportError:
                return False
            self._nvml = cast("ConditionsNvml", pynvml)
        nvml = self._nvml
        # An older module lacks a function as an older driver does.
        self._errors = (nvml.NVMLError, AttributeError)
        try:
            nvml.nvmlInit()
        except nvml.NVMLError:
            return False
        self.is_open = True
        try:
            handle = gpu = nvml.nvmlDeviceGetHandleByUUID(self._uuid)
            if self.is_slice:
                gpu = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        except nvml.NVMLError as error:
            _LOG.warning("NVML does not tell the conditions of %s: %s", self._uuid, error)
            self.close()
            return False
        for name, query in _queries(nvml, gpu, handle).items():
            with suppress(*self._errors):
                query()
                self._queries[name] = query
        return True

    def _processes(
        self, listed: dict[str, list[int] | None], own: Collection[int]
    ) -> tuple[DeviceProcess, ...]:
        computing, drawing = listed["compute"] or [], listed["graphics"] or []
        # One that does both is listed twice: it computes.
        drawing = [pid for pid in drawing if pid not in computing]
        return tuple(
            DeviceProcess(pid, self._name(pid), pid in own, is_graphics)
            for is_graphics, pids in ((False, computing), (True, drawing))
            for pid in pids
        )

    def _name(self, pid: int) -> str:
        if pid not in self._names:
            self._names[pid] = ""
            with suppress(OSError):
                self._names[pid] = Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
        return self._names[pid]


def _queries(nvml: ConditionsNvml, gpu: Any, handle: Any) -> dict[str, Callable[[], Any]]:
    """Every question by the name of its answer; a slice's own handle where the answer is the slice's."""
    return {
        "reasons": lambda: _reasons(nvml, gpu),
        "sm_clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(gpu, _CLOCK_SM)),
        "memory_clock_mhz": lambda: float(nvml.nvmlDeviceGetClockInfo(gpu, _CLOCK_MEMORY)),
        "temperature_c": lambda: float(nvml.nvmlDeviceGetTemperature(gpu, _TEMPERATURE_GPU)),
        "power_w": lambda: _power_mw(nvml, gpu) / 1000,
        "energy_j": lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) / 1000,
        "utilisation_percent": lambda: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        "memory_used_mib": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used / _MIB,
        "compute": lambda: [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)],
        "graphics": lambda: [process.pid for process in nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)],
        "ecc_errors": lambda: float(
            nvml.nvmlDeviceGetTotalEccErrors(gpu, _CORRECTED, _VOLATILE)
            + nvml.nvmlDeviceGetTotalEccErrors(gpu, _UNCORRECTED, _VOLATILE)
        ),
    }


def _power_mw(nvml: ConditionsNvml, handle: Any) -> int:
    with suppress(nvml.NVMLError, AttributeError):
        (told,) = nvml.nvmlDeviceGetFieldValues(handle, [_POWER_INSTANT])
        if told.nvmlReturn == 0 and told.value.uiVal:
            return int(told.value.uiVal)
    # Drivers before 530, and GPUs that do not tell it.
    return nvml.nvmlDeviceGetPowerUsage(handle)


def _reasons(nvml: ConditionsNvml, handle: Any) -> tuple[str, ...]:
    try:
        mask = int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except nvml.NVMLError as error:
        # Drivers before 535 know it by its old name alone.
        if getattr(error, "value", -1) not in (_NVML_FUNCTION_NOT_FOUND, _NVML_NOT_SUPPORTED):
            raise
        mask = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    return tuple(name for name, bit in REASONS.items() if mask & bit)
