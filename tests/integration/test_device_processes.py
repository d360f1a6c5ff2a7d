"""A process per device: started again when it dies, let drain when told to stop, gone at the end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.fake_toolchain.harness import wait_until
from workers.device_processes import FIRST_GAP_S, DeviceProcesses
from workers.stopping import StopSignals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Notes its start and every signal in a file; ends at the last one, as a worker does.
WORKER = """
import os, signal, sys, time
told = []
def note(*words):
    with open(sys.argv[1], "a") as file:
        print(*words, file=file, flush=True)
def on_signal(number, _):
    told.append(number)
    note("told", signal.Signals(number).name)
    if len(told) == int(sys.argv[2]):
        sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, on_signal)
note("started", os.getpid())
while True:
    time.sleep(0.05)
"""


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Running:
    """The processes of two devices, kept alive in a thread."""

    def __init__(self, folder: Path, *, signals: int = 1, drain_s: float = 60.0) -> None:
        self.notes = {uuid: folder / uuid for uuid in ("GPU-a", "GPU-b")}
        commands = {
            uuid: [sys.executable, "-c", WORKER, str(path), str(signals)] for uuid, path in self.notes.items()
        }
        self.processes = DeviceProcesses(commands, dict(os.environ), drain_s)
        self.stop = StopSignals()
        self.thread = threading.Thread(target=self.processes.run, args=(self.stop,))
        self.thread.start()
        wait_until(lambda: all(path.exists() and path.read_text() for path in self.notes.values()))

    def said(self, uuid: str) -> list[str]:
        return self.notes[uuid].read_text().splitlines()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """Two that end when they are told once."""
    found = Running(tmp_path)
    yield found
    found.stop.asked.set()
    found.stop.now.set()
    found.thread.join()


def test_one_that_dies_is_started_again_and_the_other_is_left_alone(running: Running) -> None:
    before = running.processes.pids
    os.kill(before["GPU-a"], signal.SIGKILL)
    wait_until(lambda: len(running.said("GPU-a")) == 2)
    after = running.processes.pids
    assert after["GPU-a"] != before["GPU-a"]
    assert after["GPU-b"] == before["GPU-b"]
    assert len(running.said("GPU-b")) == 1


def test_told_to_stop_all_are_told_once_and_end(running: Running) -> None:
    running.stop.asked.set()
    running.thread.join(timeout=30)
    assert not running.thread.is_alive()
    assert running.processes.pids == {}
    assert [running.said(uuid)[-1] for uuid in running.notes] == ["told SIGTERM", "told SIGTERM"]


def test_told_to_hurry_they_are_told_again_by_another_signal_which_none_can_take_for_the_first(
    tmp_path: Path,
) -> None:
    running = Running(tmp_path, signals=2)
    running.stop.asked.set()
    wait_until(lambda: all(running.said(uuid)[-1] == "told SIGTERM" for uuid in running.notes))
    assert len(running.processes.pids) == 2, "they may finish what they do"
    running.stop.now.set()
    running.thread.join(timeout=30)
    assert [running.said(uuid)[-1] for uuid in running.notes] == ["told SIGINT", "told SIGINT"]
    assert running.processes.pids == {}


def test_one_that_keeps_dying_is_started_ever_less_often(tmp_path: Path) -> None:
    clock = Clock()
    processes = DeviceProcesses({"GPU-a": [sys.executable, "-c", ""]}, dict(os.environ), 1.0, clock)

    def starts_within(seconds: float) -> bool:
        clock.now += seconds
        processes.tend()
        return bool(processes.pids)

    def dies() -> None:
        wait_until(lambda: not processes.pids)
        processes.tend()

    assert starts_within(0)
    dies()
    assert not starts_within(2 * FIRST_GAP_S - 0.1)
    assert starts_within(0.2)
    dies()
    assert not starts_within(4 * FIRST_GAP_S - 0.1), "twice as long as before"
    assert starts_within(0.2)
    dies()
    assert processes.pids == {}


def test_the_end_of_the_parent_closes_their_standard_input(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from workers.device_processes import DeviceProcesses\n"
        "child = [sys.executable, '-c', 'import sys; sys.stdin.read(); open(sys.argv[1], \"w\").close()', sys.argv[1]]\n"
        "processes = DeviceProcesses({'GPU-a': child}, {}, 1.0)\n"
        "processes.tend()\n"
        "print('started', flush=True)\n"
        "time.sleep(60)\n"
    )
    import subprocess

    ended = tmp_path / "ended"
    with subprocess.Popen([sys.executable, "-c", script, str(ended)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        time.sleep(0.2)
        assert not ended.exists()
        parent.kill()
        wait_until(ended.exists)
