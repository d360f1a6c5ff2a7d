"""Starts short commands as forks of a process that has imported what they need.

Two thirds of the processor time of a short command are imports, and the tests start some thousand. Each is a process of its own all
the same, with its own environment, folder, session and output. Long ones (workers) are started as users start them.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: What short commands import, and nothing that starts a thread.
_PRELOADED = (
    "cli.main", "cli.engines", "cli.status", "cli.submission", "cli.submit", "cli.history", "cli.jobs", "cli.fleet", "cli.fetch",
    "farm.bootstrap", "farm.storage.onnx_files", "farm.services.submit", "farm.services.plan", "rich.table", "rich.console",
    "sqlalchemy.dialects.sqlite",
)  # fmt: skip
_LONGEST = 1 << 20


class Prepared:
    """A process that has imported the commands and forks."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.prepared", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**environment},
                stdin=subprocess.DEVNULL,
            )
        self._socket = ours
        self._codes: dict[int, int] = {}

    def start(self, words: Sequence[str], folder: Path, output: tuple[Path, Path], environment: Any) -> int:
        """Starts a command; its process number."""
        request = [list(words), str(folder), [str(path) for path in output], dict(environment)]
        self._socket.sendall(json.dumps(request).encode())
        while True:
            kind, *values = json.loads(self._socket.recv(_LONGEST))
            if kind == "started":
                return int(values[0])
            self._codes[values[0]] = values[1]

    def poll(self, pid: int, timeout_s: float = 0.0) -> int | None:
        """The exit status of a command that was started here; none while it runs. Negative for a signal's number."""
        while pid not in self._codes and select.select([self._socket], [], [], timeout_s)[0]:
            message = self._socket.recv(_LONGEST)
            if not message:
                raise RuntimeError("the process that starts commands has ended")
            _, ended, code = json.loads(message)
            self._codes[ended] = code
        return self._codes.get(pid)

    def close(self) -> None:
        """Ends it; commands that run go on."""
        self._socket.close()
        self._process.wait(30)


def _serve(connection: socket.socket) -> list[str] | None:
    """Forks for every request; in the fork, the words of its command."""
    running: set[int] = set()
    while True:
        # A child that has ended is looked for often: whoever waits for it has nothing else to do.
        if select.select([connection], [], [], 0.005 if running else None)[0]:
            message = connection.recv(_LONGEST)
            if not message:
                return None
            words, folder, output, environment = json.loads(message)
            pid = os.fork()
            if not pid:
                connection.close()
                _settle(folder, output, environment)
                return list(words)
            running.add(pid)
            connection.sendall(json.dumps(["started", pid]).encode())
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.discard(pid)
                connection.sendall(json.dumps(["ended", pid, os.waitstatus_to_exitcode(status)]).encode())


def _settle(folder: str, output: Sequence[str], environment: Mapping[str, str]) -> None:
    """Makes a fork what a fresh process would be."""
    os.setsid()
    os.chdir(folder)
    for number, path in enumerate(output, 1):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)


def _main() -> None:
    import importlib

    for name in _PRELOADED:
        importlib.import_module(name)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        words = _serve(connection)
    if words is None:
        return
    from cli.main import main

    sys.argv = ["farm", *words]
    main()


if __name__ == "__main__":
    _main()
