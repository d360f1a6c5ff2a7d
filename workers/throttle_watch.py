# ruff: noqa: D102, N802 - the names are NVML's
"""Watches whether a GPU is throttled, phase by phase, while a child works on it."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

_LOG = logging.getLogger(__name__)
#: Time between two samples, in seconds: tactics are timed for longer, and NVML answers in well under a millisecond.
GAP_S = 0.25
#: The clock-event reasons that are throttling: power, heat, and the board's own brakes (`nvml.h`,
#: nvmlClocksEventReasons). Left out: idle, and clocks that somebody set or that a display or a sync group asks for.
THROTTLING = {
    "SwPowerCap": 0x04,
    "HwSlowdown": 0x08,
    "SwThermalSlowdown": 0x20,
    "HwThermalSlowdown": 0x40,
    "HwPowerBrakeSlowdown": 0x80,
}
_NVML_NOT_SUPPORTED = 3
_NVML_FUNCTION_NOT_FOUND = 13


class ClockNvml(Protocol):
    """What the watch uses of the module `pynvml` (nvidia-ml-py)."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any: ...
    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Any) -> Any: ...
    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any) -> int: ...
    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any) -> int: ...


@dataclass(frozen=True)
class Throttling:
    """What was seen during one phase.

    Attributes:
        samples: how many were taken.
        reasons: in how many of them each reason held; only those that did.
    """

    samples: int
    reasons: Mapping[str, int]

    def __str__(self) -> str:
        """For people: `SwPowerCap in 3 of 260 samples`."""
        words = [f"{reason} in {count}" for reason, count in sorted(self.reasons.items())]
        return f"{', '.join(words) or 'none'} of {self.samples} samples"


class ThrottleWatch:
    """Samples a GPU's clock-event reasons in a thread of its own while the block runs.

    Where NVML can not be read nothing is seen, which is not the same as nothing having happened: `during`
    then gives none.

    Args:
        uuid: of the GPU or MIG slice; a slice is throttled with its GPU. Empty for a CPU: nobody looks.
        phase: names what is going on at the moment.
        nvml: the module `pynvml`, imported on entering if left out.
    """

    def __init__(self, uuid: str, phase: Callable[[], str], *, nvml: ClockNvml | None = None) -> None:
        self._uuid = uuid
        self._phase = phase
        self._nvml = nvml
        self._handle: Any = None
        self._samples: dict[str, int] = {}
        self._reasons: dict[str, dict[str, int]] = {}
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="throttle-watch", daemon=True)

    def __enter__(self) -> Self:
        """Starts to watch, if there is something to see."""
        if self._open():
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the watch."""
        self._over.set()
        if self._handle is None or self._nvml is None:
            return
        self._thread.join()
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def during(self, phase: str) -> Throttling | None:
        """What was seen during a phase; none if nobody looked."""
        with self._guard:
            samples = self._samples.get(phase, 0)
            return Throttling(samples, dict(self._reasons.get(phase, {}))) if samples else None

    def sample(self) -> bool:
        """Takes one sample; false if NVML no longer answers."""
        if self._nvml is None or self._handle is None:
            return False
        try:
            mask = _reasons(self._nvml, self._handle)
        except self._nvml.NVMLError as error:
            _LOG.warning("NVML no longer tells of throttling of %s: %s", self._uuid, error)
            return False
        phase = self._phase()
        with self._guard:
            self._samples[phase] = self._samples.get(phase, 0) + 1
            seen = self._reasons.setdefault(phase, {})
            for reason, bit in THROTTLING.items():
                if mask & bit:
                    seen[reason] = seen.get(reason, 0) + 1
        return True

    def _run(self) -> None:
        while self.sample() and not self._over.wait(GAP_S):
            pass

    def _open(self) -> bool:
        if not self._uuid:
            return False
        if self._nvml is None:
            try:
                import pynvml  # type: ignore[import-untyped,unused-ignore]
            except ImportError:
                return False
            self._nvml = cast("ClockNvml", pynvml)
        nvml = self._nvml
        try:
            nvml.nvmlInit()
        except nvml.NVMLError:
            return False
        try:
            handle = nvml.nvmlDeviceGetHandleByUUID(self._uuid)
            if self._uuid.startswith("MIG-"):
                handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
            _reasons(nvml, handle)
        except nvml.NVMLError as error:
            _LOG.warning("NVML does not tell whether %s is throttled: %s", self._uuid, error)
            with suppress(nvml.NVMLError):
                nvml.nvmlShutdown()
            return False
        self._handle = handle
        return True


def _reasons(nvml: ClockNvml, handle: Any) -> int:
    try:
        return int(nvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except nvml.NVMLError as error:
        # Drivers before 535 know it by its old name alone.
        if getattr(error, "value", -1) not in (_NVML_FUNCTION_NOT_FOUND, _NVML_NOT_SUPPORTED):
            raise
        return int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
