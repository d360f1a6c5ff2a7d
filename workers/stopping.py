"""How a worker is told to stop: first it drains, then it gives its job back, then it is gone."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

#: So many signals end the process at once.
_MOST_SIGNALS = 3


class StopSignals:
    """SIGTERM drains; Ctrl-C, SIGHUP or a second signal gives back what runs; a third ends the process at once.

    Attributes:
        asked: set by the first signal.
        now: set when what runs is to be given back.
        last_act: done before the third signal ends the process.
    """

    def __init__(self) -> None:
        self._heard = 0
        self.asked = threading.Event()
        self.now = threading.Event()
        self.last_act: Callable[[], None] = lambda: None

    def install(self) -> StopSignals:
        """Listens, from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.hear)
        return self

    def hear(self, number: int, _frame: FrameType | None = None) -> None:
        """Notes a signal."""
        self._heard += 1
        if self._heard >= _MOST_SIGNALS:
            self.last_act()
            os._exit(128 + number)
        if self.asked.is_set() or number != signal.SIGTERM:
            self.now.set()
        self.asked.set()
