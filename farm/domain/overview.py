"""How the queues stand: the fleet at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from farm.domain.targets import Target


@dataclass(frozen=True)
class TargetLoad:
    """What waits and runs for one target, and who is there for it.

    Attributes:
        target: which.
        slug: of its device type, as people type it.
        waiting: jobs that are queued, due or not.
        running: jobs that a worker is at.
        oldest_since: since when the oldest of those that wait is due.
        live_workers: that serve it.
        busy_workers: of those, how many are at some job.
        draining_workers: of those, how many take nothing new.
    """

    target: Target
    slug: str
    waiting: int
    running: int
    oldest_since: datetime | None
    live_workers: int
    busy_workers: int
    draining_workers: int

    @property
    def is_stranded(self) -> bool:
        """Whether jobs wait that no live worker could take."""
        return self.waiting > 0 and self.live_workers - self.draining_workers <= 0

    @property
    def idle_workers(self) -> int:
        """Live workers that could take something now."""
        return max(self.live_workers - self.busy_workers - self.draining_workers, 0)


@dataclass(frozen=True)
class Rivals:
    """Who waits for the same target as a job, or for any target of a worker that might take it.

    Attributes:
        higher_priority: due jobs that go first for that.
        older_of_user: due jobs of the same user and priority that are older.
        users: the other users with due jobs of the same priority, and how many.
    """

    higher_priority: int
    older_of_user: int
    users: Mapping[str, int]
