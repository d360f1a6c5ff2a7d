"""A child under supervision: its own process group, its events, its log, its end."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.domain.jobs import Failure, FailureClass, Phase
from farm.settings import child_environment
from workers.interpreters import command_of_child, python_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_POLL_S = 0.1
#: A log beyond this is cut: a runaway toolchain must not fill the disk.
MAX_LOG_BYTES = 64 << 20


@dataclass(frozen=True)
class ChildEvent:
    """Where a child says that it stands."""

    phase: Phase
    fraction: float | None
    message: str


@dataclass(frozen=True)
class ChildOutcome:
    """How a child ended.

    Attributes:
        result: the document it left; none if it left none.
        failure: why there is none.
        was_stopped: whether the supervisor ended it because it was asked to.
    """

    result: Mapping[str, Any] | None
    failure: Failure | None = None
    was_stopped: bool = False


class ChildProcess:
    """Runs one request in one interpreter.

    Args:
        python: the interpreter of the toolchain's environment.
        folder: scratch folder of the attempt.
        name: of the request, for the names of its files.
        request: the document.
        code: folder that holds the packages of the child.
        environment: variables beside the worker's own.
        pass_fds: descriptors that the child keeps open, such as the device's lock: a child that
            outlives a killed worker for a moment still holds its device.
    """

    def __init__(
        self,
        python: Path,
        folder: Path,
        name: str,
        request: Mapping[str, Any],
        *,
        code: Path,
        environment: Mapping[str, str],
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._result_path = folder / f"{name}.result.json"
        request_path = folder / f"{name}.request.json"
        request_path.write_text(json.dumps(request))
        self.log_path = folder / "log.txt"
        self._events: queue.SimpleQueue[ChildEvent] = queue.SimpleQueue()
        self._phase = ""
        self._log = self.log_path.open("ab")
        self._process = subprocess.Popen(
            command_of_child(python, request_path, self._result_path),
            cwd=folder,
            env=child_environment(
                {
                    "PYTHONPATH": python_path(python, code),
                    "PYTHONSAFEPATH": "1",
                    "PYTHONUNBUFFERED": "1",
                    **environment,
                }
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        self._reader = threading.Thread(target=self._read_events, name="child-events", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the child, which is also its process group."""
        return self._process.pid

    def supervise(
        self,
        *,
        deadline_s: float,
        should_stop: Callable[[], bool],
        on_tick: Callable[[ChildEvent | None], None],
    ) -> ChildOutcome:
        """Waits for the end, telling `on_tick` of the newest event several times a second.

        Whatever happens, the whole process group is gone afterwards.
        """
        end = time.monotonic() + deadline_s
        stopped = timed_out = too_much = False
        try:
            while self._process.poll() is None:
                on_tick(self._newest_event())
                stopped, timed_out = should_stop(), time.monotonic() >= end
                too_much = self._log.tell() > MAX_LOG_BYTES or self.log_path.stat().st_size > MAX_LOG_BYTES
                if stopped or timed_out or too_much:
                    break
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_POLL_S)
        finally:
            self.kill()
        self._reader.join(timeout=5)
        on_tick(self._newest_event())
        if stopped:
            return ChildOutcome(None, was_stopped=True)
        if timed_out:
            return ChildOutcome(None, self._timeout(deadline_s))
        if too_much:
            return ChildOutcome(None, self._runaway_log())
        if self._process.returncode == 0 and self._result_path.exists():
            return ChildOutcome(json.loads(self._result_path.read_text()))
        return ChildOutcome(None, self._crash(self._process.returncode))

    def kill(self) -> None:
        """Ends the whole process group, grandchildren included, and waits until the child is gone."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()

    def _read_events(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        for line in self._process.stdout:
            with suppress(ValueError, KeyError):
                event = json.loads(line)
                self._phase = event["phase"]
                self._events.put(ChildEvent(Phase(event["phase"]), event["fraction"], event["message"]))

    def _newest_event(self) -> ChildEvent | None:
        newest = None
        while not self._events.empty():
            newest = self._events.get()
        return newest

    def _timeout(self, deadline_s: float) -> Failure:
        return Failure(
            FailureClass.TRANSIENT,
            "DeadlineExceededError",
            f"the attempt was stopped after {deadline_s:.0f} s"
            + (f", in phase {self._phase}" if self._phase else ""),
            hint="Allow more with --deadline, or make the build cheaper (a lower builder_optimization_level).",
            phase=self._phase,
            is_timeout=True,
        )

    def _runaway_log(self) -> Failure:
        return Failure(
            FailureClass.REFUSED,
            "RunawayLog",
            f"the toolchain wrote more than {MAX_LOG_BYTES >> 20} MiB of log",
            hint="Its beginning is kept: `farm logs` shows what it repeats.",
            phase=self._phase,
        )

    def _crash(self, code: int) -> Failure:
        where = f" in phase {self._phase}" if self._phase else ""
        if code >= 0:
            what, hint = f"exited with status {code} and left no result", "The log has its last words."
        else:
            name = signal.Signals(-code).name
            what = f"was killed by {name}"
            hint = (
                "Nobody here sent it: most likely the kernel, for want of memory (`dmesg` tells)."
                if -code == signal.SIGKILL
                else "The toolchain crashed; the log has its last words."
            )
        return Failure(
            FailureClass.TRANSIENT,
            "ChildCrashedError",
            f"the child process {what}{where}",
            hint=hint,
            phase=self._phase,
            is_crash=True,
        )
