"""Progress as JSON lines on what was standard output when the process began.

Libraries that print would garble the lines, so file descriptor 1 is pointed at standard error (the
log) and the events keep a private copy of the old one.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.domain.jobs import Phase

#: Builders report hundreds of steps a second; people and SQL want a few.
_LEAST_GAP_S = 0.2


class EventStream:
    """Writes events, and remembers the phase that they belong to."""

    def __init__(self, descriptor: int) -> None:
        self._lines = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8")
        self._last = 0.0
        self._ended = ""
        self.phase = ""

    @classmethod
    def taking_over_stdout(cls) -> EventStream:
        """The stream of this process; from now on `print` goes to the log."""
        sys.stdout.flush()
        private = os.dup(1)
        os.dup2(2, 1)
        return cls(private)

    def enter(self, phase: Phase, message: str = "") -> None:
        """Says that a phase begins."""
        self.phase = phase.value
        self._last = 0.0
        self._write(None, message)

    def progress(self, fraction: float | None, message: str) -> None:
        """Says where the phase stands; most of a flood is dropped, never the first word of its end."""
        now = time.monotonic()
        is_end = fraction == 1.0 and message != self._ended
        if now - self._last >= _LEAST_GAP_S or is_end:
            self._last = now
            self._ended = message if fraction == 1.0 else ""
            self._write(fraction, message)

    def _write(self, fraction: float | None, message: str) -> None:
        event = {"phase": self.phase, "fraction": fraction, "message": message}
        try:
            self._lines.write(json.dumps(event) + "\n")
        except BrokenPipeError:
            # Nobody listens any more: the supervisor is gone and the death signal is on its way.
            return
