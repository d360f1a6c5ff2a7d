"""Lines that would be logged again and again while something is away: once, and then once a minute with how often."""

from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Callable

#: `extra` of a line that is tried again and again.
REPEATS = {"farm_repeats": True}
#: The event of a line that says that what was away is there again.
BACK = "database-back"
#: Libraries that tell of every try to reach a broker.
_REPEATING = ("celery", "kombu", "amqp", "redis")
_GAP_S = 60.0
#: Forgotten then; far more than there are kinds of lines.
_MOST = 1000


@dataclass
class _Line:
    """A line that repeats: when it came first, was logged last, came last; how often it was left out since."""

    first: float
    logged: float
    latest: float
    left_out: int = 0


class RepeatFilter(logging.Filter):
    """Lets a line pass that was not there in the last minute; numbers in it, such as seconds and tries, do not count.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], _Line] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is logged; if so, with since when and how often it was not."""
        if getattr(record, "farm_fields", {}).get("event") == BACK:
            # Whatever goes away after this is told of at once.
            with self._lock:
                self._seen.clear()
            return True
        of_library = record.levelno >= logging.WARNING and record.name.split(".")[0] in _REPEATING
        if not (of_library or getattr(record, "farm_repeats", False)):
            return True
        key, now = (record.name, re.sub(r"\d+", "#", record.getMessage())), self._clock()
        with self._lock:
            line = self._seen.get(key)
            if line is None or now - line.latest >= _GAP_S:
                if len(self._seen) >= _MOST:
                    self._seen.clear()
                self._seen[key] = _Line(now, now, now)
                return True
            line.latest = now
            if now - line.logged < _GAP_S:
                line.left_out += 1
                return False
            left_out, line.left_out, line.logged = line.left_out, 0, now
        record.msg = (
            f"{record.getMessage()} (for {duration_text(now - line.first)} now, {left_out} times more)"
        )
        record.args = ()
        return True
