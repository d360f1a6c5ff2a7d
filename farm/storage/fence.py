"""The fence: a write of an attempt takes effect only while the attempt is the one that runs its job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, update

from farm.domain.errors import AttemptSupersededError
from farm.domain.jobs import JobState
from farm.storage.tables import jobs

if TYPE_CHECKING:
    from sqlalchemy import Update

    from farm.domain.work import Attempt


def owned() -> Update:
    """An update of the job that an attempt runs, and of nothing if it no longer does."""
    # Disguised, so that the job is found by its id: where PostgreSQL has last counted while little ran, it takes
    # the partial index of all that runs, and reads through it (0.7 instead of 0.1 ms beside 1,000 running jobs).
    is_running = func.coalesce(jobs.c.state, "") == JobState.RUNNING.value
    return update(jobs).where(
        jobs.c.id == bindparam("of_job"), is_running, jobs.c.attempts == bindparam("of_number")
    )


def fence_of(attempt: Attempt) -> dict[str, Any]:
    """What `owned` is given."""
    return {"of_job": attempt.job_id, "of_number": attempt.number}


def check_fence(attempt: Attempt, changed: int) -> None:
    """Refuses what changed nothing.

    Raises:
        AttemptSupersededError: the job went on without this attempt.
    """
    if changed != 1:
        raise AttemptSupersededError(
            f"attempt {attempt.number} of job {attempt.job_id} is no longer the one that runs it"
        )
