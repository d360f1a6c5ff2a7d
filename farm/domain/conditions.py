"""What a device and its host were like during a measurement: samples of whoever watched, cut to its window."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Iterable, Sequence, TypeVar

import numpy as np

if TYPE_CHECKING:
    from typing import Mapping

#: A shorter window says nothing of energy, in seconds: NVML's counter moves in steps of some 20 to 100 ms
#: (tests/gpu/drive_conditions.py shows them), and a sample is up to 50 ms late to see one.
SHORTEST_ENERGY_S = 0.2
#: Servers of displays: on the device by design, and idle while nobody moves a window.
DISPLAY_SERVERS = frozenset(
    {"Xorg", "X", "Xwayland", "gnome-shell", "kwin_wayland", "kwin_x11", "sway", "weston", "mutter"}
)


@dataclass(frozen=True)
class DeviceProcess:
    """A process that has a context on the device.

    Attributes:
        pid: as NVML has it; in a container it may be the host's.
        name: of its program; empty if nobody can say.
        is_own: whether it is of the process tree that is measured.
        is_graphics: whether it draws, and does not compute.
    """

    pid: int
    name: str = ""
    is_own: bool = False
    is_graphics: bool = False

    @property
    def is_display(self) -> bool:
        """Whether it is a display's own server."""
        return self.is_graphics and self.name in DISPLAY_SERVERS


@dataclass(frozen=True)
class DeviceSample:
    """One look at a device; none where it does not tell.

    Attributes:
        at: on the host's monotonic clock, in seconds.
        sm_clock_mhz: of the multiprocessors.
        memory_clock_mhz: of the memory.
        reasons: why clocks are what they are (nvmlClocksEventReasons), those that hold.
        temperature_c: of the GPU.
        power_w: that the board draws; where the driver does not tell it of this moment, over the last second.
        energy_j: that the board has used since its driver was loaded.
        utilisation_percent: share of the last sampling period in which a kernel ran.
        memory_used_mib: of all processes.
        processes: that have a context.
        ecc_errors: since the last reboot, corrected and uncorrected.
    """

    at: float
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    reasons: tuple[str, ...] | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    utilisation_percent: float | None = None
    memory_used_mib: float | None = None
    processes: tuple[DeviceProcess, ...] | None = None
    ecc_errors: float | None = None


@dataclass(frozen=True)
class HostSample:
    """One look at the processes that are measured, and at their host; none where the kernel does not tell.

    Attributes:
        at: on the host's monotonic clock, in seconds.
        ran_s: how long their threads have run on a CPU.
        waited_s: how long their threads were ready to run and had none.
        throttled_s: how long their control group was stopped for having used up its quota.
        cpu_clock_mhz: the middle one of the CPUs that they may use.
        load: load average over a minute.
    """

    at: float
    ran_s: float | None = None
    waited_s: float | None = None
    throttled_s: float | None = None
    cpu_clock_mhz: float | None = None
    load: float | None = None


@dataclass(frozen=True)
class Watched:
    """All that was seen while a child worked.

    Attributes:
        device: in the order of time; empty for a CPU.
        host: likewise.
        notes: what ended before its time, in words.
        is_slice: whether the device is a part of a GPU, whose energy is not its own.
    """

    device: Sequence[DeviceSample] = ()
    host: Sequence[HostSample] = ()
    notes: tuple[str, ...] = ()
    is_slice: bool = False


_Sample = TypeVar("_Sample", DeviceSample, HostSample)
#: Told as least, median and largest value, with the 5th and the 95th percentile.
_SPREADS = (
    "sm_clock_mhz",
    "memory_clock_mhz",
    "temperature_c",
    "power_w",
    "utilisation_percent",
    "memory_used_mib",
)


def conditions_of(
    watched: Watched, window: tuple[float, float], *, inferences: int | None = None
) -> dict[str, Any]:
    """What held within a window; what was not seen is not there.

    Args:
        watched: what was seen, before the window and after it too.
        window: begin and end, on the host's monotonic clock in seconds.
        inferences: how many were made within the window; none if other work was done there too.
    """
    begin, end = window
    device = [sample for sample in watched.device if begin <= sample.at <= end]
    host = [sample for sample in watched.host if begin <= sample.at <= end]
    found: dict[str, Any] = {}
    if device:
        found["samples"] = len(device)
        for name in _SPREADS:
            found[name] = _spread(_values(device, name))
        found["reasons"] = _reasons(device)
        found["foreign"] = foreign_processes(watched.device, window)
    if not watched.is_slice and end - begin >= SHORTEST_ENERGY_S:
        energy_j = found["energy_j"] = _growth(watched.device, "energy_j", window)
        if energy_j is not None and inferences:
            found["energy_per_inference_j"] = energy_j / inferences
    found["ecc_errors"] = _steps(watched.device, "ecc_errors", window)
    found["cpu_clock_mhz"] = _spread(_values(host, "cpu_clock_mhz"))
    found["load"] = max(_values(host, "load"), default=None)
    found["run_delay_share"] = _run_delay(watched.host, window)
    throttled_s = _growth(watched.host, "throttled_s", window)
    if throttled_s is not None and end > begin:
        found["quota_share"] = throttled_s / (end - begin)
    if found:
        found["notes"] = list(watched.notes) or None
    return {name: _rounded(value) for name, value in found.items() if value is not None}


def foreign_processes(
    samples: Sequence[DeviceSample], window: tuple[float, float]
) -> list[dict[str, Any]] | None:
    """The processes of others on the device within a window, each with its share of the samples.

    In a container NVML may give numbers of the host, which match none of the processes here. Then whoever was
    there in the first sample, before a child has a context, is somebody else; of those that came later
    the first one is taken for the child.

    Returns:
        None where the device does not list processes.
    """
    seen = [sample for sample in samples if sample.processes is not None]
    inside = [sample for sample in seen if window[0] <= sample.at <= window[1]]
    if not inside:
        return None
    own: set[int] = {p.pid for sample in seen for p in sample.processes or () if p.is_own}
    if not own:
        before = {p.pid for p in seen[0].processes or ()}
        newcomers = [p.pid for sample in seen for p in sample.processes or () if p.pid not in before]
        own = set(newcomers[:1])
    counts: dict[int, int] = {}
    names: dict[int, DeviceProcess] = {}
    for sample in inside:
        for process in sample.processes or ():
            if process.pid not in own:
                counts[process.pid] = counts.get(process.pid, 0) + 1
                names[process.pid] = process
    return [
        {
            "pid": pid,
            "name": names[pid].name,
            "kind": "graphics" if names[pid].is_graphics else "compute",
            "share": round(count / len(inside), 3),
            **({"is_display": True} if names[pid].is_display else {}),
        }
        for pid, count in sorted(counts.items())
    ]


def _values(samples: Iterable[DeviceSample] | Iterable[HostSample], name: str) -> list[float]:
    found = (getattr(sample, name) for sample in samples)
    return [value for value in found if value is not None]


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {
        "min": min(values),
        "p5": float(low),
        "median": float(middle),
        "p95": float(high),
        "max": max(values),
    }


def _reasons(samples: Sequence[DeviceSample]) -> dict[str, float] | None:
    told = [sample.reasons for sample in samples if sample.reasons is not None]
    if not told:
        return None
    names = sorted({name for reasons in told for name in reasons})
    return {name: sum(name in reasons for reasons in told) / len(told) for name in names}


def _points(samples: Sequence[_Sample], name: str) -> list[tuple[float, float]]:
    return [(sample.at, found) for sample in samples if (found := getattr(sample, name)) is not None]


def _growth(samples: Sequence[_Sample], name: str, window: tuple[float, float]) -> float | None:
    """By how much a counter grew within a window, straight lines between its samples; none if it was not seen."""
    points = _changes(_points(samples, name)) if name == "energy_j" else _points(samples, name)
    if len(points) < 2 or points[0][0] > window[0] or points[-1][0] < window[1]:
        return None
    times, values = zip(*points)
    low, high = np.interp(window, times, values)
    return max(float(high - low), 0.0)


def _changes(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points where a counter has just moved, and both ends: in between it says what it said before."""
    moved = [point for before, point in pairwise(points) if point[1] != before[1]]
    return sorted({*points[:1], *moved, *points[-1:]})


def _steps(samples: Sequence[_Sample], name: str, window: tuple[float, float]) -> float | None:
    """By how much a counter of events grew from the last sample before a window to the first one after it."""
    points = _points(samples, name)
    before = [value for at, value in points if at <= window[0]]
    after = [value for at, value in points if at >= window[1]]
    return after[0] - before[-1] if before and after else None


def _run_delay(samples: Sequence[HostSample], window: tuple[float, float]) -> float | None:
    """Share of the time in which threads were ready to run that they waited for a CPU."""
    ran, waited = _growth(samples, "ran_s", window), _growth(samples, "waited_s", window)
    if ran is None or waited is None or not ran + waited:
        return None
    return waited / (ran + waited)


def _rounded(value: Any) -> Any:
    """With six significant digits: more is noise."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        named: Mapping[str, Any] = value
        return {name: _rounded(item) for name, item in named.items()}
    return value
