"""Ends the servers of tests when the test process ends, however it ends."""

from __future__ import annotations

import atexit
import json
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Guardian:
    """Ends servers and removes their folders when this process ends.

    A process of its own that waits at a pipe: the kernel closes the pipe on exit and on SIGKILL alike.
    PR_SET_PDEATHSIG would not do: it fires when the *thread* that started the server ends.
    """

    _SCRIPT = """
import json, os, shutil, signal, sys, time
state = {"servers": {}, "folders": []}
for line in sys.stdin:
    state = json.loads(line)
waiting = {int(pid): number for pid, number in state["servers"].items()}
def is_zombie(pid):  # init may take its time to reap it
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False
def send(number_of):
    for pid, number in list(waiting.items()):
        try:
            os.kill(pid, number_of(number))
            os.kill(pid, signal.SIGCONT)
            gone = is_zombie(pid)
        except OSError:
            gone = True
        if gone:
            del waiting[pid]
send(lambda number: number)
deadline = time.monotonic() + 5
while waiting and time.monotonic() < deadline:
    time.sleep(0.01)
    send(lambda number: 0)
send(lambda number: 9)
for folder in state["folders"]:
    shutil.rmtree(folder, ignore_errors=True)
"""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._servers: dict[int, int] = {}
        self._folders: set[str] = set()

    def watch(
        self, *, pid: int | None = None, stop: int = signal.SIGTERM, folder: Path | None = None
    ) -> None:
        """Notes a server, with the signal that ends it, or a folder."""
        with self._lock:
            if pid is not None:
                self._servers[pid] = int(stop)
            if folder is not None:
                self._folders.add(str(folder))
            self._tell()

    def forget(self, *, pid: int | None = None, folder: Path | None = None) -> None:
        """Strikes off what has been ended or removed already."""
        with self._lock:
            self._servers.pop(pid or 0, None)
            self._folders.discard(str(folder))
            self._tell()

    def _tell(self) -> None:
        if self._process is None:
            # A session of its own, so that Ctrl-C ends pytest and not the one who tidies up after it.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", self._SCRIPT],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True, text=True,
            )  # fmt: skip
            atexit.register(self._process.communicate)
        assert self._process.stdin is not None
        state = {"servers": self._servers, "folders": sorted(self._folders)}
        self._process.stdin.write(json.dumps(state) + "\n")
        self._process.stdin.flush()


GUARDIAN = Guardian()
