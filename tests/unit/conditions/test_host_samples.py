"""What processes get of the host's CPUs, from the kernel's files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from workers.host_samples import HostSampler

PID = os.getpid()


class Kernel:
    """A folder with as much of proc and sys as is looked up."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def thread(self, number: int, ran_s: float, waited_s: float) -> None:
        self.write(f"proc/{PID}/task/{number}/schedstat", f"{ran_s * 1e9:.0f} {waited_s * 1e9:.0f} 7\n")

    def end(self, number: int) -> None:
        (self.root / f"proc/{PID}/task/{number}/schedstat").unlink()


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_what_every_thread_ran_and_waited_is_added_up(kernel: Kernel) -> None:
    kernel.thread(1, 1.0, 0.5)
    kernel.thread(2, 2.0, 0.0)
    sampler = HostSampler(PID, kernel.root)
    first = sampler.sample(0.0)
    kernel.thread(1, 1.5, 0.75)
    second = sampler.sample(1.0)
    assert (first.ran_s, first.waited_s) == (3.0, 0.5)
    assert (second.ran_s, second.waited_s) == (3.5, 0.75)


def test_a_thread_that_ends_takes_nothing_back_and_a_new_one_adds(kernel: Kernel) -> None:
    kernel.thread(1, 1.0, 0.5)
    sampler = HostSampler(PID, kernel.root)
    sampler.sample(0.0)
    kernel.end(1)
    kernel.thread(2, 0.25, 0.0)
    found = sampler.sample(1.0)
    assert (found.ran_s, found.waited_s) == (1.25, 0.5)


def test_a_kernel_that_does_not_tell_is_not_one_without_waiting(kernel: Kernel) -> None:
    found = HostSampler(PID, kernel.root).sample(0.0)
    assert (found.ran_s, found.waited_s, found.throttled_s, found.cpu_clock_mhz) == (None, None, None, None)
    assert found.load is not None


@pytest.mark.parametrize(
    ("groups", "file", "text"),
    [
        ("0::/farm/one\n", "sys/fs/cgroup/farm/one/cpu.stat", "usage_usec 9\nthrottled_usec 2500000\n"),
        # The path is the host's, and the container has its own group mounted at the top.
        ("0::/docker/123\n", "sys/fs/cgroup/cpu.stat", "throttled_usec 2500000\n"),
        ("4:cpu,cpuacct:/farm\n0::/\n", "sys/fs/cgroup/cpu/farm/cpu.stat", "throttled_time 2500000000\n"),
    ],
)
def test_the_time_that_a_quota_took_is_read_from_the_control_group(
    kernel: Kernel, groups: str, file: str, text: str
) -> None:
    kernel.write(f"proc/{PID}/cgroup", groups)
    kernel.write(file, text)
    assert HostSampler(PID, kernel.root).sample(0.0).throttled_s == 2.5


def test_the_clock_is_the_middle_one_of_the_cpus_that_may_be_used(kernel: Kernel) -> None:
    for number in os.sched_getaffinity(0):
        kernel.write(f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq", "3100000\n")
    assert HostSampler(PID, kernel.root).sample(0.0).cpu_clock_mhz == 3100


def test_of_a_real_process_tree_what_it_runs_is_seen() -> None:
    if not Path("/proc/self/schedstat").exists():
        pytest.skip("this kernel has no /proc/PID/schedstat (CONFIG_SCHED_INFO)")
    spin = "import os, time\nos.fork()\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    with subprocess.Popen([sys.executable, "-c", spin]) as child:
        sampler = HostSampler(child.pid)
        end = time.monotonic() + 60
        while (found := sampler.sample(0.0)) and (found.ran_s or 0) < 0.2 and time.monotonic() < end:
            time.sleep(0.02)
        pids = sampler.pids
        for pid in pids:
            os.kill(pid, 9)
    assert (found.ran_s or 0) >= 0.2
    assert len(pids) == 2


def test_a_process_that_has_ended_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        sampler = HostSampler(child.pid)
        assert sampler.sample(0.0).ran_s is None
