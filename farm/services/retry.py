"""Queue what failed of a submission again; what succeeded, waits or runs stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import JobState

if TYPE_CHECKING:
    from farm.domain.work import Job
    from farm.services.ports import Transaction


def retry_failed(transaction: Transaction, submission_id: str) -> dict[str, Job]:
    """Queues every failed job of a submission again; the new jobs by the ids of the old ones.

    Cells that were cancelled stay cancelled: somebody wanted that.

    Raises:
        NotFoundError: there is no such submission.
    """
    submission = transaction.jobs.submission(submission_id)
    retried = {}
    for job_id in dict.fromkeys(cell.job_id for cell in submission.cells if cell.job_id):
        if transaction.jobs.get(job_id).state is JobState.FAILED:
            retried[job_id] = transaction.jobs.requeue(job_id)
    return retried
