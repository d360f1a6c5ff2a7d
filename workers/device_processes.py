"""Several devices: a process for each, started again when it dies, so that a crash of one leaves the others alone."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workers.stopping import StopSignals

_log = logging.getLogger(__name__)
_POLL_S = 0.2
#: A worker that dies at once is not started again in a tight loop: it waits this long, then twice as long.
FIRST_GAP_S, LAST_GAP_S = 1.0, 60.0
#: One that has lived for so long begins with the first gap again.
_HEALTHY_S = 120.0
_BURIAL_S = 20.0
#: From so many short lives in a row on, how many they were is said: somebody should look.
_MANY_LIVES = 4


@dataclass
class _Place:
    """A device's place: its process, and when a dead one is started again."""

    command: Sequence[str]
    process: subprocess.Popen[Any] | None = None
    started: float = 0.0
    gap_s: float = FIRST_GAP_S
    due: float = field(default=0.0)
    short_lives: int = 0


class DeviceProcesses:
    """Keeps a process per device alive.

    Args:
        commands: by the UUID of each device.
        environment: of every process.
        drain_s: how long they may take to drain.
        clock: in seconds.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        environment: Mapping[str, str],
        drain_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._places = {uuid: _Place(command) for uuid, command in commands.items()}
        self._environment = dict(environment)
        self._drain_s = drain_s
        self._clock = clock

    @property
    def pids(self) -> dict[str, int]:
        """Of the processes that live, by device."""
        return {
            uuid: place.process.pid
            for uuid, place in self._places.items()
            if place.process is not None and place.process.poll() is None
        }

    def run(self, stop: StopSignals) -> None:
        """Keeps them alive until told to stop, then lets them drain."""
        try:
            while not stop.asked.wait(_POLL_S):
                self.tend()
            has_hurried = stop.now.is_set()
            self._send(signal.SIGINT if has_hurried else signal.SIGTERM)
            end = self._clock() + (0 if has_hurried else self._drain_s) + _BURIAL_S
            while self.pids and self._clock() < end:
                if has_hurried:
                    time.sleep(_POLL_S)
                elif stop.now.wait(_POLL_S):
                    # Another signal than the first: two alike that nobody has heard yet would be one.
                    has_hurried, end = True, min(end, self._clock() + _BURIAL_S)
                    self._send(signal.SIGINT)
        finally:
            for place in self._places.values():
                if place.process is not None:
                    place.process.kill()
                    _forget(place.process)

    def tend(self) -> None:
        """Starts what is not there, with patience for what keeps dying."""
        now = self._clock()
        for uuid, place in self._places.items():
            if place.process is not None and place.process.poll() is not None:
                lived_s = now - place.started
                place.gap_s = FIRST_GAP_S if lived_s > _HEALTHY_S else min(2 * place.gap_s, LAST_GAP_S)
                place.due = now + place.gap_s
                place.short_lives = 0 if lived_s > _HEALTHY_S else place.short_lives + 1
                keeps = (
                    ""
                    if place.short_lives < _MANY_LIVES
                    else f", for the {place.short_lives}th time in a row"
                )
                _log.warning(
                    "the worker of %s ended with status %s after %.0f s%s; it is started again in %.0f s",
                    uuid, place.process.returncode, lived_s, keeps, place.gap_s,
                )  # fmt: skip
                _forget(place.process)
                place.process = None
            if place.process is None and now >= place.due:
                # Its standard input ends with this process, however that ends: then it stops by itself.
                place.process = subprocess.Popen(
                    list(place.command),
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    # Ctrl-C at a terminal is for this process, which passes it on: they must not hear it twice.
                    start_new_session=True,
                )
                place.started = now

    def _send(self, number: int) -> None:
        for place in self._places.values():
            if place.process is not None and place.process.poll() is None:
                place.process.send_signal(number)


def _forget(process: subprocess.Popen[Any]) -> None:
    """Takes a dead process's leavings away."""
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
