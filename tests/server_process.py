"""One server process of a test, on a free port and in a folder of its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psutil

from tests.guardian import GUARDIAN

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.005


class ServerProcess:
    """One server process; what Redis and PostgreSQL have in common."""

    _name: str
    _stop_signal: signal.Signals  # ends the server in an orderly way
    _end_signal: signal.Signals  # ends it fast, its data being thrown away

    def __init__(self, parent: Path | None, account: dict[str, Any]) -> None:
        self._account = account
        self.folder = Path(tempfile.mkdtemp(prefix=f"farm-{self._name}-", dir=parent))
        self.log = self.folder / "log"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._started_before = False
        self._log_from = 0
        GUARDIAN.watch(folder=self.folder)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Process id of the running server, for SIGSTOP and the like."""
        assert self._process is not None, f"{self._name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        for _ in range(20):
            if self._launch():
                self._started_before = True
                return
            said = self._log_tail()
            if "ddress already in use" in said and not self._started_before:
                self.port = _free_port()  # somebody took it since it was found free
            elif "pre-existing shared memory" in said:
                time.sleep(0.2)  # children of a killed postmaster have not all noticed yet
            else:
                break
        raise RuntimeError(f"{self._name} did not start; the end of {self.log}:\n{self._log_tail()}")

    def stop(self) -> None:
        """Ends the server in an orderly way; its data stay."""
        self._end(self._stop_signal)

    def kill(self) -> None:
        """Ends the server by SIGKILL and returns when it and all its children are gone; its data stay."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Starts the server on the same port with the same data, after `stop` where it still runs."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Ends the server and removes its data."""
        self._end(self._end_signal)
        shutil.rmtree(self.folder, ignore_errors=True)
        GUARDIAN.forget(folder=self.folder)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self, pid: int) -> bool:
        raise NotImplementedError

    def _launch(self) -> bool:
        # Nothing of the environment: PG* variables, LD_LIBRARY_PATH and locales change how servers behave.
        with self.log.open("ab") as log:
            self._log_from = log.tell()
            self._process = subprocess.Popen(
                self._command(), cwd=self.folder, env={"LC_ALL": "C", "PATH": os.defpath},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self._account,
            )  # fmt: skip
        GUARDIAN.watch(pid=self.pid, stop=self._end_signal)
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._answers(self.pid):
                return True
            time.sleep(_POLL_SECONDS)
        self.kill()
        return False

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            server = psutil.Process(self.pid)
            family = [server, *server.children(recursive=True)]
            for each in (number, signal.SIGCONT):  # a server that a test has stopped could not obey
                self._process.send_signal(each)
            # What outlives a killed postmaster still holds its shared memory, and would forbid a restart.
            deadline = time.monotonic() + _STOP_SECONDS
            while left := [process for process in family if _is_alive(process)]:
                if time.monotonic() > deadline:
                    for process in left:
                        with suppress(psutil.NoSuchProcess):
                            process.kill()
                time.sleep(_POLL_SECONDS)
        self._process.wait()
        GUARDIAN.forget(pid=self._process.pid)
        self._process = None

    def _log_tail(self) -> str:
        return self.log.read_bytes()[self._log_from :].decode(errors="replace")[-2000:]


def _is_alive(process: psutil.Process) -> bool:
    # Orphans may stay zombies for seconds where init is slow to reap them.
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _free_port() -> int:
    """A free port outside the range from which the kernel takes the ports of outgoing connections.

    Inside it, a client that keeps trying to reach a killed server in the end connects to itself, and then
    holds the very port that the server wants back.
    """
    lowest = 32768
    with suppress(OSError):
        lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(10_000, lowest) if lowest > 12_000 else range(61_000, 65_536)
    # SystemRandom: tests seed the shared generator, and parallel test runs would then want the same port.
    for port in random.SystemRandom().sample(ports, 200):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port on 127.0.0.1")
