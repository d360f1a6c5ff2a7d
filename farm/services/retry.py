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
    # In the order of the keys, as everybody takes them.
    cells = sorted((cell for cell in submission.cells if cell.job_id), key=lambda cell: cell.spec.digest)
    found = transaction.jobs.get_all(list(dict.fromkeys(cell.job_id for cell in cells)))
    return {
        job_id: transaction.jobs.requeue(job_id)
        for job_id, job in found.items()
        if job.state is JobState.FAILED
    }
