"""Cancel a submission without stopping what others wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import JobState

if TYPE_CHECKING:
    from farm.domain.work import Job
    from farm.services.ports import Transaction


def cancel_submission(transaction: Transaction, submission_id: str) -> tuple[list[Job], list[Job]]:
    """Withdraws a submission, and cancels the jobs that no other one waits for.

    Returns:
        The jobs that were cancelled or asked to stop, and those that go on for others.

    Raises:
        NotFoundError: there is no such submission.
    """
    submission = transaction.jobs.submission(submission_id)
    transaction.jobs.withdraw(submission.id)
    cancelled, kept = [], []
    job_ids = list(dict.fromkeys(cell.job_id for cell in submission.cells if cell.job_id))
    # Two who cancel at once would each see the other as still interested, and neither would cancel anything.
    transaction.jobs.hold(job_ids)
    for job_id in job_ids:
        job = transaction.jobs.get(job_id)
        if job.state not in (JobState.QUEUED, JobState.RUNNING):
            continue
        if transaction.jobs.interested(job.id):
            kept.append(job)
        else:
            cancelled.append(transaction.jobs.request_cancel(job.id))
    return cancelled, kept
