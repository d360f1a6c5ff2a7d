"""A confined child takes no more memory, disk, log or processor time than it may."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from farm.domain.jobs import FailureClass
from tests.fake_toolchain.harness import is_alive
from workers.confinement import Limits, Watch, disk_of_folder, memory_here, memory_of_tree
from workers.guardian import descendants

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20


def test_a_child_that_eats_memory_is_stopped_and_told_how_much(make: Any) -> None:
    attempt = make("eat")
    attempt.start(limits=Limits(memory_bytes=300 * MIB))
    outcome = attempt.end()
    assert outcome.failure is not None
    assert (outcome.failure.failure_class, outcome.failure.code) == (
        FailureClass.TRANSIENT,
        "OutOfMemoryError",
    )
    assert "MiB of memory in phase build; they may have 300 MiB" in outcome.failure.message
    assert "FARM_CHILD_MEMORY" in outcome.failure.hint
    assert not outcome.failure.is_crash, "it is no crash, so it does not park the job"


def test_memory_counts_wherever_the_child_hides_it(make: Any) -> None:
    attempt = make("eat in a daemon")
    attempt.start(limits=Limits(memory_bytes=300 * MIB))
    outcome = attempt.end()
    assert outcome.failure is not None
    assert outcome.failure.code == "OutOfMemoryError"
    assert not is_alive(attempt.fake.grandchild())


@pytest.mark.parametrize("is_listed", [True, False])
def test_every_descendant_is_found_with_and_without_the_kernels_lists(is_listed: bool) -> None:
    script = "import os, time\nfor _ in range(2): os.fork()\nprint('ready', flush=True)\ntime.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        known = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        assert len(known) == 3
        assert set(descendants(process.pid, is_listed=is_listed)) == known
        for pid in [*known, process.pid]:
            os.kill(pid, signal.SIGKILL)


def test_what_two_processes_share_is_counted_once(tmp_path: Path) -> None:
    script = (
        "import os, sys, time\nheld = b'\\1' * (200 << 20)\n"
        "for _ in range(3):\n    if os.fork() == 0: time.sleep(1000)\n"
        "print('ready', flush=True)\ntime.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(descendants(process.pid)) == 3
        assert memory_of_tree(process.pid) > 700 * MIB
        assert 200 * MIB < memory_of_tree(process.pid, exact=True) < 300 * MIB
        assert Watch(process.pid, tmp_path, Limits(memory_bytes=500 * MIB)).look("build") is None
        for pid in [*descendants(process.pid), process.pid]:
            os.kill(pid, signal.SIGKILL)


def test_a_child_that_fills_the_disk_is_stopped_at_its_quota(make: Any) -> None:
    attempt = make("fill the disk")
    attempt.start(limits=Limits(scratch_bytes=50 * MIB))
    outcome = attempt.end()
    assert outcome.failure is not None
    assert (outcome.failure.failure_class, outcome.failure.code) == (FailureClass.REFUSED, "ScratchQuota")
    assert "it may have 50 MiB" in outcome.failure.message
    assert "FARM_SCRATCH_QUOTA" in outcome.failure.hint


def test_a_file_beyond_its_limit_is_not_written(make: Any) -> None:
    attempt = make("write a large file")
    attempt.start(limits=Limits(file_bytes=20 * MIB))
    outcome = attempt.end()
    assert outcome.result is not None
    assert "File too large" in outcome.result["failure"]["message"]
    assert (attempt.folder / "large").stat().st_size == 20 * MIB


def test_a_log_beyond_its_limit_ends_the_child_however_it_is_written(make: Any) -> None:
    attempt = make("flood")
    attempt.start(limits=Limits(file_bytes=4 * MIB), max_log_bytes=2 * MIB)
    outcome = attempt.end()
    assert outcome.failure or outcome.result["failure"]  # type: ignore[index]
    assert (attempt.folder / "log.txt").stat().st_size <= 4 * MIB + 200


def test_cpu_time_ends_a_child_that_nothing_else_ends(make: Any) -> None:
    attempt = make("spin")
    attempt.start(limits=Limits(cpu_s=2))
    outcome = attempt.end()
    assert outcome.failure is not None
    assert "SIGXCPU" in outcome.failure.message
    assert "FARM_CHILD_CPU_S" in outcome.failure.hint


def test_a_sparse_file_takes_what_it_has(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(1 << 34)
    (tmp_path / "full").write_bytes(b"\1" * MIB)
    assert MIB <= disk_of_folder(tmp_path) < 2 * MIB


def test_memory_here_is_no_more_than_the_host_has() -> None:
    assert 0 < memory_here() <= psutil.virtual_memory().total
