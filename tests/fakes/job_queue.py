"""The stand-in for `JobQueue`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import BrokerUnavailableError

if TYPE_CHECKING:
    from farm.domain.work import WakeUp


class RecordingQueue:
    """Implements `JobQueue`: remembers what it was told.

    Args:
        breaks_after: how many it takes before the broker goes away.
    """

    def __init__(self, breaks_after: int | None = None) -> None:
        self.announced: list[str] = []
        self._breaks_after = breaks_after

    def announce(self, wake_up: WakeUp) -> None:
        """Remembers the job's id."""
        if self._breaks_after is not None and len(self.announced) >= self._breaks_after:
            raise BrokerUnavailableError("the broker went away")
        self.announced.append(wake_up.job_id)
