"""What wakes workers, as the services need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farm.domain.work import WakeUp


class JobQueue(Protocol):
    """Wakes workers. Lossy by design: SQL holds the truth."""

    def announce(self, wake_up: WakeUp) -> None:
        """Tells the queue of a target that a job is due. Raises BrokerUnavailableError."""
