"""The sweep: wakes workers for what is due, and ends what has waited for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import Failure, FailureClass

if TYPE_CHECKING:
    from collections.abc import Collection

    from farm.domain.targets import Target
    from farm.domain.work import Job
    from farm.services.ports import Database, JobQueue, Transaction


def announce_due(database: Database, queue: JobQueue, *, targets: Collection[Target] | None = None) -> int:
    """Tells the queues of targets that have due jobs and idle workers; how many wake-ups it sent.

    It looks at how things are and notes nothing: whatever gets lost is told again the next time, and what is
    told twice finds nothing left to take.

    Args:
        database: the truth.
        queue: what wakes the workers.
        targets: only for these; none for all.

    Raises:
        BrokerUnavailableError: the broker can not be reached.
    """
    with database.reading() as transaction:
        wake_ups = transaction.jobs.wake_ups(targets)
    for wake_up in wake_ups:
        queue.announce(wake_up)
    return len(wake_ups)


def give_up_overdue(database: Database) -> list[Job]:
    """Fails the jobs that have waited for longer than they may, and says why nobody took them."""
    with database.reading() as transaction:
        overdue = transaction.jobs.overdue()
    given_up = []
    for job in overdue:
        with database.transaction() as transaction:
            if transaction.jobs.give_up(job, _waited_too_long(transaction, job)):
                given_up.append(job)
    return given_up


def _waited_too_long(transaction: Transaction, job: Job) -> Failure:
    workers = [worker for worker in transaction.fleet.workers() if job.target in worker.targets]
    live = [worker for worker in workers if worker.is_live]
    draining = sum(bool(worker.drain_reason) for worker in live)
    if not live:
        why = f"no worker of {job.target} is live" + ("" if workers else ", and none ever was")
        hint = "Start one (`farm worker`), or let jobs wait for longer with --queue-timeout."
    else:
        why = (
            f"{len(live)} worker(s) of {job.target} are live, {draining} of them draining, and none had time"
        )
        hint = "`farm queue` shows what they do. Give it a higher --priority, or a longer --queue-timeout."
    waited_s = job.request.queue_timeout_s or 0.0
    return Failure(
        FailureClass.TRANSIENT,
        "QueueTimeout",
        f"it waited {waited_s:.0f} s for a worker: {why}",
        hint=hint,
    )
