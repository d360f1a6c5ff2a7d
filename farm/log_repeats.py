"""Lines that would be logged again and again while something is away: once, and then once a minute with how often."""

from __future__ import annotations

import logging
import re
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: `extra` of a line that is tried again and again.
REPEATS = {"farm_repeats": True}
#: Libraries that tell of every try to reach a broker.
_REPEATING = ("celery", "kombu", "amqp", "redis")
_GAP_S = 60.0
#: Forgotten then; far more than there are kinds of lines.
_MOST = 1000


class RepeatFilter(logging.Filter):
    """Lets a line pass that was not there in the last minute; numbers in it, such as seconds and tries, do not count.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is logged; if so, with how many were not."""
        of_library = record.levelno >= logging.WARNING and record.name.split(".")[0] in _REPEATING
        if not (of_library or getattr(record, "farm_repeats", False)):
            return True
        key, now = (record.name, re.sub(r"\d+", "#", record.getMessage())), self._clock()
        with self._lock:
            last, more = self._seen.get(key, (None, 0))
            if last is not None and now - last < _GAP_S:
                self._seen[key] = (last, more + 1)
                return False
            if len(self._seen) >= _MOST:
                self._seen.clear()
            self._seen[key] = (now, 0)
        if more and last is not None:
            record.msg = f"{record.getMessage()} (and {more} times more in the last {now - last:.0f} s)"
            record.args = ()
        return True
