"""From an engine's file to its first answer: how long each step takes, and how much memory is used after it."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

_PROC = Path("/proc/self")


class StartupSteps:
    """Steps one after another, each from the end of the one before.

    Args:
        memory: free and total bytes of the device; none for a CPU.
        clock: the host's, in seconds.
    """

    def __init__(
        self,
        memory: Optional[Callable[[], Tuple[int, int]]] = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.memory = memory
        self._clock = clock
        self._since = clock()
        self._steps: List[Dict[str, Any]] = []

    def done(self, step: str) -> None:
        """A step has ended; looking at the memory is in none."""
        step_s = self._clock() - self._since
        found: Dict[str, Any] = {"step": step, "seconds": round(step_s, 6)}
        if self.memory is not None:
            free, total = self.memory()
            found.update(device_free_bytes=free, device_used_bytes=total - free)
        resident = status_bytes("VmRSS")
        if resident is not None:
            found["host_bytes"] = resident
        self._steps.append(found)
        self._since = self._clock()

    def go_on(self) -> None:
        """The next step begins now: what was done since the last one is nobody's."""
        self._since = self._clock()

    @property
    def steps(self) -> Tuple[Dict[str, Any], ...]:
        """The steps so far: `step`, `seconds`, `device_free_bytes`, `device_used_bytes`, `host_bytes`."""
        return tuple(dict(step) for step in self._steps)


def status_bytes(name: str) -> Optional[int]:
    """A line of `/proc/self/status` in bytes, such as `VmRSS` or `VmHWM`; none where there is none."""
    with suppress(OSError, ValueError, IndexError):
        for line in (_PROC / "status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return 1024 * int(line.split()[1])
    return None


def forget_peak() -> None:
    """From now on `VmHWM` is the peak since this moment, where the kernel can forget the one before."""
    with suppress(OSError):
        (_PROC / "clear_refs").write_text("5")
