"""Cancel a submission without stopping what others wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    job_ids = list(dict.fromkeys(cell.job_id for cell in submission.cells if cell.job_id))
    # Two who cancel at once would each see the other as still interested, and neither would cancel anything.
    # So the jobs are held first, and only then does anybody look or withdraw.
    transaction.jobs.hold(job_ids)
    transaction.jobs.withdraw(submission.id)
    found = transaction.jobs.get_all(job_ids)
    live = [job for job_id in job_ids if (job := found.get(job_id)) and not job.state.is_terminal]
    interests = transaction.jobs.interests([job.id for job in live])
    kept = [job for job in live if interests[job.id]]
    for job in kept:
        _pass_on(transaction, job, set(interests[job.id].values()))
    unwanted = [job.id for job in live if not interests[job.id]]
    return transaction.jobs.request_cancel_all(unwanted), kept


def _pass_on(transaction: Transaction, job: Job, users: set[str]) -> None:
    """Has one of those who still want a job pay for it: whoever had least of late."""
    if job.user in users:
        return
    shares = transaction.jobs.shares(users)
    weights = {user: shares[user].weight if user in shares else 0.0 for user in users}
    transaction.jobs.charge_to(job.id, min(users, key=lambda user: (weights[user], user)))
