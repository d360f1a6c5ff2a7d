"""One process of a fleet: how it is started, hurt and judged."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.identifiers import new_id
from tests.fake_toolchain.harness import ROOT
from tests.guardian import GUARDIAN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.fake_toolchain.harness import Fake

_READY_S = 90.0
#: What the product writes where it met something that it did not foresee. Celery and its broker's client write
#: traces of their own about every connection that ends; those are no more than that.
_TRACE = re.compile(r"^.*a bug of the farm.*$", re.MULTILINE)
#: How members end: told to stop, by a fault, or having done their work.
_EXPECTED = (0, -signal.SIGKILL, -signal.SIGTERM)


@dataclass(frozen=True)
class Release:
    """Another release of the farm, unpacked.

    Attributes:
        folder: of its tree.
        settings: names of the settings that it knows.
        fake: the fake toolchain of its own tree.
    """

    folder: Path
    settings: frozenset[str]
    fake: Fake


class Member:
    """One process, in a session of its own, that the test session's end ends too.

    Args:
        kind: `worker`, `client` or `sweeper`.
        module: that it runs.
        document: the module's one argument.
        logs: folder for what it says.
        cwd: where its code is; this tree if none.
        environment: more variables.
        prefix: words before its command, such as `ip netns exec NAME`.
    """

    def __init__(
        self,
        kind: str,
        module: str,
        document: dict[str, Any],
        logs: Path,
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        self.kind = kind
        self.document = document
        self.replaced = False
        self._command = [*prefix, sys.executable, "-m", module, json.dumps(document)]
        self._cwd = cwd or ROOT
        # Of this very tree, whatever is installed.
        self._environment = {**os.environ, "PYTHONPATH": str(self._cwd), **(environment or {})}
        logs.mkdir(exist_ok=True)
        self.log = logs / f"{new_id(kind)}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def scratch(self) -> Path | None:
        """Where its attempts work, if it is a worker."""
        return Path(self.document["settings"]["scratch"]) if self.kind == "worker" else None

    def start(self) -> None:
        """Starts it, and does not wait."""
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._cwd, env=self._environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        GUARDIAN.watch(pid=self.pid, stop=signal.SIGKILL)

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended; a frozen one lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def was_killed(self) -> bool:
        """Whether a SIGKILL ended it."""
        return self._process is not None and self._process.poll() == -signal.SIGKILL

    def said(self) -> str:
        """What it printed and logged."""
        return self.log.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Until it does what it is there for, or has ended."""
        end = time.monotonic() + _READY_S
        while "ready" not in self.said() and self.is_alive:
            assert time.monotonic() < end, f"{self.kind} is not ready:\n{self.said()}"
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it lives."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether it ends within so long."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        GUARDIAN.forget(pid=self.pid)
        return True

    def kill(self) -> None:
        """As the out-of-memory killer would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            GUARDIAN.forget(pid=self.pid)

    def complaints(self) -> list[str]:
        """What it did that no fault excuses: traces in its log, an end that nobody asked for, or none at all."""
        found = [f"{self.kind} said: {match[0].strip()}" for match in _TRACE.finditer(self.said())]
        if self.is_alive:
            found.append(f"{self.kind} does not stop when told to")
        elif self._process is not None and self._process.returncode not in _EXPECTED:
            last = (self.said().strip().splitlines() or [""])[-1]
            found.append(f"{self.kind} ended with {self._process.returncode}: {last}")
        return found
