"""Start, end and rescue attempts; the one place that decides what a failure leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import AttemptSupersededError
from farm.domain.jobs import (
    RELEASED,
    AttemptState,
    Failure,
    FailureClass,
    JobState,
    next_job_state,
    retry_delay_s,
)
from farm.failpoints import reach
from farm.services.calibration_caches import return_calibration_cache
from farm.services.follow_ups import follow_up
from farm.services.timing_caches import return_cache

if TYPE_CHECKING:
    from farm.domain.digests import Digest
    from farm.domain.work import Attempt, AttemptOutcome, Job
    from farm.services.ports import Database, Transaction


def finish_attempt(
    database: Database, job: Job, attempt: Attempt, outcome: AttemptOutcome, log: Digest
) -> int:
    """Files what an attempt made and ends it, in one transaction behind the fence.

    Returns:
        The number of the engine.

    Raises:
        AttemptSupersededError: the job went on without this attempt, so nothing of it is filed.
    """
    with database.transaction() as transaction:
        finished = transaction.engines.finish(job, attempt, outcome, log)
        if outcome.timing_cache is not None:
            return_cache(transaction, job, attempt, outcome.timing_cache)
        if outcome.calibration_cache is not None:
            return_calibration_cache(transaction, outcome.calibration_cache)
        if finished.has_follow_ups:
            follow_up(transaction, job, finished.engine_id)
        return finished.engine_id


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
        state, recorded, delay_s = what_follows(transaction, job, attempt, failure)
        state = _as_wished(transaction, job_id=job.id, state=state)
        transaction.jobs.close(
            attempt,
            AttemptState.TIMED_OUT if failure.is_timeout else AttemptState.FAILED,
            state,
            failure=recorded,
            retry_in_s=delay_s,
            # What failed here may be this machine's fault.
            elsewhere=True,
            log=log,
            **facts,
        )
        return state


def cancel_attempt(database: Database, attempt: Attempt, log: Digest | None) -> None:
    """Ends an attempt that somebody asked to stop; its job waits again if somebody else wants it by now.

    Raises:
        AttemptSupersededError: the job went on without this attempt.
    """
    with database.transaction() as transaction:
        transaction.jobs.hold([attempt.job_id])
        if transaction.jobs.get(attempt.job_id).cancel_requested:
            transaction.jobs.close(attempt, AttemptState.CANCELLED, JobState.CANCELLED, log=log)
            return
        failure = Failure(FailureClass.TRANSIENT, RELEASED, "it was asked to stop, and then wanted again")
        transaction.jobs.close(attempt, AttemptState.LOST, JobState.QUEUED, failure=failure, log=log)


def release_attempt(database: Database, attempt: Attempt, reason: str, log: Digest | None) -> None:
    """Gives a job back unfinished, because its worker is told to stop; it counts against nobody.

    Raises:
        AttemptSupersededError: the job went on without this attempt.
    """
    failure = Failure(FailureClass.TRANSIENT, RELEASED, reason)
    with database.transaction() as transaction:
        state = _as_wished(transaction, job_id=attempt.job_id, state=JobState.QUEUED)
        transaction.jobs.close(attempt, AttemptState.LOST, state, failure=failure, log=log)


def rescue_expired(database: Database) -> list[tuple[Job, JobState]]:
    """Takes the jobs of silent workers from them: queued again, cancelled, or failed at the last attempt.

    Safe to run anywhere, at any time, twice at once: the fence lets one of them win.
    """
    with database.reading() as transaction:
        expired = transaction.jobs.expired()
    rescued = []
    for job, attempt in expired:
        reach("before-rescue")
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
                now_expired = transaction.jobs.expired(job.id)
                still = next((its_job for its_job, silent in now_expired if silent.id == attempt.id), None)
                if still is None:
                    # The worker came back just in time, or somebody else was here first.
                    continue
                state, recorded, _ = what_follows(transaction, job, attempt, failure)
                if still.cancel_requested:
                    state = JobState.CANCELLED
                transaction.jobs.close(attempt, AttemptState.LOST, state, failure=recorded, elsewhere=True)
                reach("mid-rescue")
        except AttemptSupersededError:
            # Somebody else rescued it at the same moment.
            continue
        rescued.append((job, state))
    return rescued


def what_follows(
    transaction: Transaction, job: Job, attempt: Attempt, failure: Failure
) -> tuple[JobState, Failure, float]:
    """What becomes of a job whose attempt failed, and was not asked to stop.

    Returns:
        Where it goes, the failure as it is then recorded, and the seconds before another try.
    """
    crashes = transaction.jobs.crashes(job.id) + 1 if failure.is_crash else 0
    tries = _count_tries(transaction, attempt)
    state, recorded = next_job_state(
        failure, attempt=tries, max_attempts=job.request.max_attempts, crashes=crashes
    )
    return state, recorded, retry_delay_s(tries)


def _count_tries(transaction: Transaction, attempt: Attempt) -> int:
    """Which try an attempt is, from 1: those that were given back do not count."""
    others = [other for other in transaction.jobs.attempts(attempt.job_id) if other.number < attempt.number]
    return 1 + sum(not (other.failure and other.failure.is_release) for other in others)


def _as_wished(transaction: Transaction, *, job_id: str, state: JobState) -> JobState:
    """A job that somebody asked to stop is not tried again."""
    if state is JobState.QUEUED and transaction.jobs.get(job_id).cancel_requested:
        return JobState.CANCELLED
    return state
