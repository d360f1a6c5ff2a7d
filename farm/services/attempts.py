"""Start, end and rescue attempts; the one place that decides what a failure leads to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm.domain.errors import AttemptSupersededError
from farm.domain.jobs import (
    AttemptState,
    Failure,
    FailureClass,
    JobState,
    next_job_state,
    retry_delay_s,
)

if TYPE_CHECKING:
    from farm.domain.digests import Digest
    from farm.domain.work import Attempt, AttemptOutcome, Job
    from farm.services.ports import Database


def finish_attempt(
    database: Database, job: Job, attempt: Attempt, outcome: AttemptOutcome, log: Digest, cache_flags: str
) -> int:
    """Files what an attempt made and ends it, in one transaction behind the fence.

    Returns:
        The number of the engine.

    Raises:
        AttemptSupersededError: the job went on without this attempt, so nothing of it is filed.
    """
    with database.transaction() as transaction:
        transaction.jobs.close(
            attempt,
            AttemptState.SUCCEEDED,
            JobState.SUCCEEDED,
            log=log,
            seconds=dict(outcome.seconds),
            environment=dict(outcome.environment),
        )
        if outcome.timing_cache is not None:
            transaction.engines.keep_timing_cache(job.target, cache_flags, outcome.timing_cache)
        return transaction.engines.file(job, attempt, outcome)


def fail_attempt(
    database: Database, job: Job, attempt: Attempt, failure: Failure, log: Digest | None, **facts: Any
) -> JobState:
    """Ends an attempt that made nothing; the job is queued again, parked or failed.

    Returns:
        Where the job stands now.

    Raises:
        AttemptSupersededError: the job went on without this attempt.
    """
    with database.transaction() as transaction:
        crashes = transaction.jobs.crashes(job.id) + (1 if failure.is_crash else 0)
        state, recorded = next_job_state(
            failure, attempt=attempt.number, max_attempts=job.request.max_attempts, crashes=crashes
        )
        transaction.jobs.close(
            attempt,
            AttemptState.TIMED_OUT if failure.is_timeout else AttemptState.FAILED,
            state,
            failure=replace(recorded, is_crash=failure.is_crash),
            retry_in_s=retry_delay_s(attempt.number) if state is JobState.QUEUED else 0.0,
            log=log,
            **facts,
        )
        return state


def cancel_attempt(database: Database, attempt: Attempt, log: Digest | None) -> None:
    """Ends an attempt that somebody asked to stop.

    Raises:
        AttemptSupersededError: the job went on without this attempt.
    """
    with database.transaction() as transaction:
        transaction.jobs.close(attempt, AttemptState.CANCELLED, JobState.CANCELLED, log=log)


def release_attempt(database: Database, attempt: Attempt, reason: str, log: Digest | None) -> None:
    """Gives a job back unfinished, because its worker is told to stop; it counts against nobody.

    Raises:
        AttemptSupersededError: the job went on without this attempt.
    """
    failure = Failure(FailureClass.TRANSIENT, "Released", reason)
    with database.transaction() as transaction:
        transaction.jobs.close(attempt, AttemptState.LOST, JobState.QUEUED, failure=failure, log=log)


def rescue_expired(database: Database) -> list[tuple[Job, JobState]]:
    """Takes the jobs of silent workers from them: queued again, cancelled, or failed at the last attempt.

    Safe to run anywhere, at any time, twice at once: the fence lets one of them win.
    """
    with database.reading() as transaction:
        expired = transaction.jobs.expired()
    rescued = []
    for job, attempt in expired:
        failure = Failure(
            FailureClass.TRANSIENT,
            "Lost",
            f"worker {attempt.worker_id} on {attempt.host} fell silent"
            + (f" in phase {attempt.phase}" if attempt.phase else ""),
            hint="The machine, the worker or its network went away; another worker takes over.",
            phase=attempt.phase,
        )
        try:
            with database.transaction() as transaction:
                state, recorded = next_job_state(
                    failure, attempt=attempt.number, max_attempts=job.request.max_attempts, crashes=0
                )
                if job.cancel_requested:
                    state = JobState.CANCELLED
                transaction.jobs.close(attempt, AttemptState.LOST, state, failure=recorded)
        except AttemptSupersededError:
            # Somebody else rescued it, or the worker came back just in time.
            continue
        rescued.append((job, state))
    return rescued
