"""A farm on a GPU host, with a broker and a worker of its own, driven by the command line."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent


class GpuFarm:
    """A farm in a folder, and the commands that it was given.

    Args:
        home: the farm's folder.
        redis_port: of the broker that `running` starts.
    """

    def __init__(self, home: Path, redis_port: int) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._redis_port = redis_port
        self._environment = {
            **os.environ,
            "FARM_HOME": str(home),
            "FARM_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        }
        self.commands: list[str] = []

    def run(self, words: str) -> str:
        """Standard output of a command; one that fails is told, and the next goes on."""
        done = subprocess.run(
            [sys.executable, "-m", "cli.main", *shlex.split(words)],
            cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            say(f"farm {words}: exit {done.returncode}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}")
        return done.stdout

    def submit(self, words: str) -> str:
        """Submits, and keeps the command; the submission's id, empty if it was refused."""
        self.commands.append(f"farm {words}")
        answer = self.run(f"{words} --json")
        return str(json.loads(answer)["id"]) if answer else ""

    def wait(self, ids: Mapping[str, str], limit_s: float) -> dict[str, list[str]]:
        """The states of all cells, by the names of their submissions, once all are done or time is up."""
        end = time.monotonic() + limit_s
        while True:
            states = {name: self._states(one) for name, one in ids.items()}
            left = sum(state in ("QUEUED", "RUNNING") for found in states.values() for state in found)
            if not left or time.monotonic() > end:
                if left:
                    say(f"gave up: {left} cells are not done")
                return states
            time.sleep(2)

    def _states(self, submission: str) -> list[str]:
        answer = self.run(f"status {submission} --json")
        return [cell["state"] for cell in json.loads(answer)["cells"]] if answer else ["QUEUED"]

    @contextmanager
    def running(self, devices: Sequence[str], pythons: Sequence[Path], log_path: Path) -> Iterator[None]:
        """With a broker, and a worker for each of some devices; all end with the block."""
        redis = subprocess.Popen(
            ["redis-server", "--port", str(self._redis_port), "--save", ""], stdout=subprocess.DEVNULL
        )
        words = [word for device in devices for word in ("--device", device)]
        words += [word for python in pythons for word in ("--toolchain-python", str(python))]
        try:
            self.run("db upgrade")
            with log_path.open("ab") as log:
                worker = subprocess.Popen(
                    [sys.executable, "-m", "cli.main", "worker", *words],
                    cwd=ROOT, env=self._environment, stdout=log, stderr=log,
                )  # fmt: skip
                try:
                    while self._live() < len(devices):
                        time.sleep(0.5)
                    yield
                finally:
                    worker.send_signal(signal.SIGINT)
                    worker.wait(60)
        finally:
            redis.terminate()

    def _live(self) -> int:
        found: list[dict[str, Any]] = json.loads(self.run("workers --json") or "[]")
        return sum(one["state"] == "live" for one in found)


def say(text: str) -> None:
    """At once, however the output is kept."""
    print(text, flush=True)
