"""Looks at what processes get of the host's CPUs: how long their threads ran, and how long they waited to run."""

from __future__ import annotations

import os
import re
import statistics
from contextlib import suppress
from pathlib import Path

from farm.domain.conditions import HostSample
from workers.guardian import descendants

#: Of so many CPUs at most the clock is read: each reading may wake the CPU that it asks (cpufreq's aperf/mperf).
_CLOCKS_READ = 8
_CLOCK_EVERY_S = 1.0
_KHZ = 1000


class HostSampler:
    """Takes samples of a process with all that descends from it.

    Args:
        pid: of the root of the tree.
        root: the folder in which proc and sys are looked up.
    """

    def __init__(self, pid: int, root: Path = Path("/")) -> None:
        self._pid = pid
        self._proc = root / "proc"
        self._cpus = root / "sys/devices/system/cpu"
        self._ran_s = self._waited_s = 0.0
        self._threads: dict[tuple[int, str], tuple[int, int]] = {}
        self._quota = _quota_file(root, pid)
        self._clock_mhz: float | None = None
        self._clock_due = 0.0
        #: Every process that was ever seen in the tree.
        self.pids: set[int] = {pid}

    def sample(self, at: float) -> HostSample:
        """One look.

        Args:
            at: now, on the monotonic clock.
        """
        is_told = self._count_threads()
        if at >= self._clock_due:
            self._clock_mhz, self._clock_due = self._clock(), at + _CLOCK_EVERY_S
        return HostSample(
            at=at,
            ran_s=self._ran_s if is_told else None,
            waited_s=self._waited_s if is_told else None,
            throttled_s=None if self._quota is None else _throttled_s(self._quota),
            cpu_clock_mhz=self._clock_mhz,
            load=os.getloadavg()[0],
        )

    def _count_threads(self) -> bool:
        """Adds what each thread ran and waited since the last look; whether the kernel tells it."""
        is_told = False
        threads: dict[tuple[int, str], tuple[int, int]] = {}
        for pid in [self._pid, *descendants(self._pid)]:
            self.pids.add(pid)
            tasks = f"{self._proc}/{pid}/task"
            try:
                names = os.listdir(tasks)  # noqa: PTH208 - without pathlib, for it is done ten times a second
            except OSError:
                continue
            for name in names:
                with suppress(OSError, ValueError, IndexError):
                    with open(f"{tasks}/{name}/schedstat", "rb", buffering=0) as stream:  # noqa: PTH123 - as above
                        words = stream.read().split()
                    key, ran, waited = (pid, name), int(words[0]), int(words[1])
                    # A thread that is new did all of it since.
                    before = self._threads.get(key, (0, 0))
                    self._ran_s += max(ran - before[0], 0) / 1e9
                    self._waited_s += max(waited - before[1], 0) / 1e9
                    threads[key] = (ran, waited)
                    is_told = True
        self._threads = threads
        return is_told

    def _clock(self) -> float | None:
        """The middle clock in MHz of some of the CPUs that the process may use; none where nobody tells."""
        found = []
        with suppress(OSError):
            for number in sorted(os.sched_getaffinity(self._pid))[:_CLOCKS_READ]:
                with suppress(OSError, ValueError):
                    told = (self._cpus / f"cpu{number}/cpufreq/scaling_cur_freq").read_text()
                    found.append(int(told) / _KHZ)
        return statistics.median(found) if found else None


def _quota_file(root: Path, pid: int) -> Path | None:
    """The file that counts how long a process's control group was throttled, of version 2 or 1; none if there is none."""
    with suppress(OSError):
        for line in (root / f"proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                top = root / "sys/fs/cgroup"
            elif "cpu" in controllers.split(","):
                top = root / "sys/fs/cgroup/cpu"
            else:
                continue
            group = Path(path.lstrip("/"))
            # In a container the path may be the host's: then what is mounted at the top is the container's own.
            for folder in dict.fromkeys((group, *group.parents)):
                found = top / folder / "cpu.stat"
                if _throttled_s(found) is not None:
                    return found
    return None


def _throttled_s(file: Path) -> float | None:
    with suppress(OSError):
        text = file.read_text()
        for name, unit in (("throttled_usec", 1e6), ("throttled_time", 1e9)):
            if told := re.search(rf"^{name} (\d+)$", text, re.MULTILINE):
                return int(told[1]) / unit
    return None
