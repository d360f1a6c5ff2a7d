"""Announce what SQL holds and nobody has been told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from farm.domain.targets import Target
    from farm.services.ports import Database, JobQueue


def announce_due(
    database: Database, queue: JobQueue, *, limit: int = 100, targets: Collection[Target] | None = None
) -> int:
    """Tells the queues of due jobs; how many it told.

    A crash between the telling and the note of it only tells twice, and the claim takes one.

    Args:
        database: the truth.
        queue: what wakes the workers.
        limit: at most so many.
        targets: only for these; none for all.

    Raises:
        BrokerUnavailableError: the broker can not be reached; the rest stays unannounced.
    """
    with database.reading() as transaction:
        due = transaction.jobs.unannounced(limit, targets)
    told: list[str] = []
    try:
        for job in due:
            queue.announce(job)
            told.append(job.id)
    finally:
        if told:
            with database.transaction() as transaction:
                transaction.jobs.mark_announced(told)
    return len(told)
