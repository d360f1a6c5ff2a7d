"""Try what failed or was cancelled again, with other limits if somebody says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.domain.work import Job, JobRequest
    from farm.services.ports import Transaction


def retry_job(transaction: Transaction, job_id: str, limits: Callable[[JobRequest], JobRequest]) -> Job:
    """Queues a job again, as a new one in every submission that asked for it.

    Where all of those were withdrawn, they are not any more: somebody wants it after all.

    Args:
        transaction: that writes.
        job_id: the old one.
        limits: what becomes of its request.

    Raises:
        NotFoundError: there is no such job.
        ConflictError: it has not ended, or succeeded.
    """
    old = transaction.jobs.get(job_id)
    job = transaction.jobs.requeue(job_id, limits(old.request))
    if not transaction.jobs.interested(job.id):
        transaction.jobs.rejoin(transaction.jobs.asking(job.id))
    return job


def retry_failed(
    transaction: Transaction, submission_id: str, limits: Callable[[JobRequest], JobRequest]
) -> dict[str, Job]:
    """Queues every failed job of a submission again; the new jobs by the ids of the old ones.

    Cells that were cancelled stay cancelled: somebody wanted that. A withdrawn submission that has failed jobs is
    waited for again.

    Args:
        transaction: that writes.
        submission_id: whose.
        limits: what becomes of the request of each.

    Raises:
        NotFoundError: there is no such submission.
    """
    submission = transaction.jobs.submission(submission_id)
    # In the order of the keys, as everybody takes them.
    cells = sorted((cell for cell in submission.cells if cell.job_id), key=lambda cell: cell.spec.digest)
    found = transaction.jobs.get_all(list(dict.fromkeys(cell.job_id for cell in cells)))
    retried = {
        job_id: transaction.jobs.requeue(job_id, limits(job.request))
        for job_id, job in found.items()
        if job.state is JobState.FAILED
    }
    if retried and submission.is_withdrawn:
        transaction.jobs.rejoin([submission.id])
    return retried
