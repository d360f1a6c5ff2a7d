"""A child under supervision: its guardian, its events, its log, its end."""

from __future__ import annotations

import contextvars
import errno
import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.errors import ChildCrashedError
from farm.domain.jobs import Failure, Phase
from farm.settings import child_environment
from workers.child_failures import crash, no_room, runaway_log, timeout
from workers.confinement import Limits, Watch, guarded, is_own_file, size_text
from workers.interpreters import command_of_child, environment_of_child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workers.phase_deadlines import PhaseDeadlines

_POLL_S = 0.1
#: How long what was killed may take to disappear; a process in the kernel's hands may never do so.
_BURIAL_S = 5.0
#: Names the child in the environment of all that descends from it, daemons in sessions of their own too.
_MARK = "ENGINE_FARM_CHILD"
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

    @property
    def what_failed(self) -> Failure | None:
        """Why its request was not done: what ended it, or the failure that it reports itself; none if it was done."""
        reported = self.result["failure"] if self.result else None
        return self.failure or (Failure.from_json(reported) if reported else None)

    @property
    def answer(self) -> Mapping[str, Any]:
        """The document of one that did what was asked."""
        assert self.result is not None  # noqa: S101 - neither stopped nor failed
        return self.result


class ChildProcess:
    """Runs one request in one interpreter.

    Args:
        python: the interpreter of the toolchain's environment.
        folder: scratch folder of the attempt.
        name: of the request, for the names of its files.
        request: the document.
        code: folder that holds the packages of the child.
        environment: variables beside those that every child gets.
        limits: what it may take.
        pass_fds: descriptors that the child keeps open, such as the device's lock: a child that
            outlives a killed worker for a moment still holds its device.
        max_log_bytes: where the log is cut.
        behind: a program with its arguments that runs the child, such as a profiler.

    Raises:
        ChildCrashedError: the interpreter can not be started.
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
        limits: Limits | None = None,
        pass_fds: Sequence[int] = (),
        max_log_bytes: int = MAX_LOG_BYTES,
        behind: Sequence[str] = (),
    ) -> None:
        self._max_log_bytes = max_log_bytes
        self._limits = limits or Limits()
        self._folder = folder
        self._result_path = folder / f"{name}.result.json"
        request_path = folder / f"{name}.request.json"
        request_path.write_text(json.dumps(request))
        self.log_path = folder / "log.txt"
        self._new_events: dict[Phase, ChildEvent] = {}
        self._guard = threading.Lock()
        #: What it said last that it does; empty before.
        self.phase = ""
        self._mark = str(self._result_path)
        with self.log_path.open("ab") as log:
            try:
                _check_program(python)
                self._process = subprocess.Popen(
                    guarded(
                        [*behind, *command_of_child(python, request_path, self._result_path)], self._limits
                    ),
                    cwd=folder,
                    env=child_environment(
                        {**environment_of_child(python, code, folder), _MARK: self._mark, **environment}
                    ),
                    # Never written to: the guardian ends the child when it closes, however this process ends.
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=pass_fds,
                )
            except OSError as error:
                raise ChildCrashedError(
                    f"the interpreter {python} can not be started: {error.strerror}",
                    hint="Was its environment removed? Restart the worker with --toolchain-python.",
                ) from error
        self._reader = threading.Thread(target=self._read_events, name="child-events", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the child's guardian, which ends as the child ends, and has all that it starts below it."""
        return self._process.pid

    def supervise(
        self,
        *,
        deadline_s: float,
        allowed_s: float | None = None,
        should_stop: Callable[[], bool],
        on_tick: Callable[[Sequence[ChildEvent]], None],
        phases: PhaseDeadlines | None = None,
    ) -> ChildOutcome:
        """Waits for the end, telling `on_tick` several times a second of the newest event of every phase.

        `on_tick` runs in a thread of its own: a database that hangs must not keep a child alive beyond its
        deadline or its lease. Whatever happens, the child and all that it started are gone afterwards. What is said
        of a deadline is `allowed_s`, of which `deadline_s` is what is left.
        """
        end = time.monotonic() + deadline_s
        stopped = timed_out = too_much = False
        excess: Failure | None = None
        watch = Watch(self._process.pid, self._folder, self._limits)
        teller = _Teller(on_tick, self._take_events)
        teller.start()
        try:
            while self._process.poll() is None and teller.error is None:
                stopped, timed_out = should_stop(), time.monotonic() >= end
                too_much = self.log_path.stat().st_size > self._max_log_bytes
                if stopped or timed_out or too_much:
                    break
                excess = watch.look(self.phase) or (phases.look(self.phase) if phases else None)
                if excess is not None:
                    break
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_POLL_S)
        finally:
            self.kill()
            self._cut_log()
            teller.finish()
        if stopped:
            return ChildOutcome(None, was_stopped=True)
        if timed_out:
            return ChildOutcome(None, timeout(allowed_s or deadline_s, self.phase))
        if too_much:
            return ChildOutcome(None, runaway_log(self._max_log_bytes, self.phase))
        if excess is not None:
            return ChildOutcome(None, excess)
        if self._process.returncode == 0 and is_own_file(self._result_path):
            with suppress(ValueError):
                return ChildOutcome(json.loads(self._result_path.read_text()))
        # A disk that is full kills whatever child comes: its jobs would be parked as poison.
        no_space = no_room(self._folder, self.phase)
        return ChildOutcome(None, no_space or crash(self._process.returncode, self.phase))

    def kill(self) -> None:
        """Ends the child and all that descends from it, and waits until it is gone."""
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_BURIAL_S)
        # A guardian that was killed or frozen, or waits for a process in the kernel's hands.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        end = time.monotonic() + _BURIAL_S
        while _kill_marked(self._mark) and time.monotonic() < end:
            time.sleep(0.01)
        self._reader.join(_BURIAL_S)

    def _read_events(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        with self._process.stdout as lines:
            for line in lines:
                with suppress(ValueError, KeyError, TypeError):
                    value = json.loads(line)
                    event = ChildEvent(Phase(value["phase"]), value["fraction"], value["message"])
                    with self._guard:
                        self.phase = event.phase.value
                        self._new_events[event.phase] = event

    def _take_events(self) -> list[ChildEvent]:
        """What is new: the newest of every phase, in their order, so that no phase goes unnoticed."""
        with self._guard:
            events = list(self._new_events.values())
            self._new_events.clear()
        return events

    def _cut_log(self) -> None:
        """Keeps the beginning of a log that grew beyond the limit before anybody could stop it."""
        with suppress(OSError):
            if self.log_path.stat().st_size > self._max_log_bytes:
                os.truncate(self.log_path, self._max_log_bytes)
                with self.log_path.open("a") as log:
                    log.write(f"\n[farm] the log is cut here, after {size_text(self._max_log_bytes)}\n")


class _Teller(threading.Thread):
    """Tells what is new several times a second, and once more at the end."""

    def __init__(
        self,
        on_tick: Callable[[Sequence[ChildEvent]], None],
        take_events: Callable[[], Sequence[ChildEvent]],
    ) -> None:
        super().__init__(name="child-progress", daemon=True)
        self.error: Exception | None = None
        self._on_tick = on_tick
        self._take_events = take_events
        self._over = threading.Event()
        # With the job and the attempt on every line of the log.
        self._context = contextvars.copy_context()

    def run(self) -> None:
        self._context.run(self._tell)

    def _tell(self) -> None:
        try:
            while not self._over.wait(_POLL_S):
                self._on_tick(self._take_events())
            self._on_tick(self._take_events())
        except Exception as error:  # noqa: BLE001 - raised again by `finish`, in the supervisor's thread
            self.error = error

    def finish(self) -> None:
        """Waits for the last word; raises what went wrong while telling."""
        self._over.set()
        self.join()
        if self.error is not None:
            raise self.error


def _kill_marked(mark: str) -> int:
    """Kills the processes that carry a mark in their environment; how many there were."""
    wanted, found = f"{_MARK}={mark}".encode(), 0
    for environment in Path("/proc").glob("[0-9]*/environ"):
        # Gone by now, or another user's: neither is the child's.
        with suppress(OSError):
            if wanted in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)
                found += 1
    return found


def _check_program(path: Path) -> None:
    """Raises the OSError that starting a program would; a guardian can only tell of it in the log."""
    path.stat()
    if not os.access(path, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
