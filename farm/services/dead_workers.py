"""End the attempts of workers that are known to be dead, and keep the logs of all that were lost."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING

from farm.domain.errors import AttemptSupersededError, FarmError
from farm.domain.jobs import AttemptState, Failure, FailureClass, JobState, Phase
from farm.services.attempts import what_follows

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.domain.work import Attempt, Job
    from farm.services.ports import ArtifactStore, Database, Transaction

_log = logging.getLogger(__name__)
#: Phases in which a toolchain works for the job: only then may a worker's death be the job's doing.
_AT_WORK = frozenset({Phase.BUILD.value, Phase.VERIFY.value, Phase.BENCHMARK.value})


class Death(StrEnum):
    """How a worker is known to have ended without giving its job back."""

    #: The process alone: something killed it.
    PROCESS = "process"
    #: With the whole machine.
    MACHINE = "machine"


def bury_dead(
    database: Database, host: str, died: Callable[[str], Death | None]
) -> list[tuple[Job, JobState]]:
    """Takes the jobs of dead workers of a host from them at once, without waiting for the end of a lease.

    A worker that died with its process while a toolchain worked counts as killed by its job, as a child that
    crashed does; one that is merely silent does not, nor does one that went down with its machine. Safe to run
    anywhere, at any time, twice at once: the fence lets one of them win.

    Args:
        database: the truth.
        host: where workers can be told dead or alive.
        died: whether a worker, by its id, is known to be dead; none if it lives, or nobody can say.

    Returns:
        The jobs and where they stand now.
    """
    with database.reading() as transaction:
        running = transaction.jobs.running()
    buried = []
    for worker_id, attempt in running.items():
        death = died(worker_id) if attempt.host == host else None
        if death is None:
            continue
        try:
            with database.transaction() as transaction:
                ended = _bury(transaction, attempt, death)
        except AttemptSupersededError:
            # Somebody else ended it at the same moment.
            continue
        if ended is not None:
            buried.append(ended)
    return buried


def _bury(transaction: Transaction, attempt: Attempt, death: Death) -> tuple[Job, JobState] | None:
    transaction.jobs.hold([attempt.job_id])
    job = transaction.jobs.get(attempt.job_id)
    newest = transaction.jobs.newest_attempts([job.id]).get(job.id)
    if newest is None or newest.id != attempt.id or job.state is not JobState.RUNNING:
        return None
    failure = _failure(newest, death)
    state, recorded, delay_s = what_follows(transaction, job, newest, failure)
    if job.cancel_requested:
        state = JobState.CANCELLED
    transaction.jobs.close(
        newest,
        AttemptState.LOST,
        state,
        failure=recorded,
        # What killed a worker is not given to the next one at once.
        retry_in_s=delay_s if failure.is_crash else 0.0,
        elsewhere=True,
    )
    return job, state


def _failure(attempt: Attempt, death: Death) -> Failure:
    where = f"worker {attempt.worker_id} on {attempt.host}"
    when = f" in phase {attempt.phase}" if attempt.phase else ""
    if death is Death.MACHINE:
        message, hint = f"{where} went down with its machine{when}", "Another worker takes over."
    else:
        message = f"{where}: its process died{when} and could say nothing, as SIGKILL does it"
        hint = "Was it killed for want of memory? The kernel's log (dmesg) on that host says so."
    return Failure(
        FailureClass.TRANSIENT,
        "WorkerDied",
        message,
        hint=hint,
        phase=attempt.phase,
        is_crash=death is Death.PROCESS and attempt.phase in _AT_WORK,
    )


def keep_lost_logs(database: Database, store: ArtifactStore, job_id: str) -> int:
    """Keeps what a job's lost attempts said while they lived, and how they ended, as artifacts; how many logs it kept.

    What can not be kept now stays readable where it is.
    """
    with database.reading() as transaction:
        lost = [
            (attempt, transaction.jobs.live_log(attempt))
            for attempt in transaction.jobs.attempts(job_id)
            if attempt.state is AttemptState.LOST and attempt.log is None
        ]
    kept = 0
    for attempt, said in lost:
        why = f"\n[farm] {attempt.failure.code}: {attempt.failure.message}\n" if attempt.failure else ""
        if not (said or why):
            continue
        try:
            digest = store.put_bytes((said + why).encode("utf-8", "replace"))
            with database.transaction() as transaction:
                transaction.jobs.keep_log(attempt, digest)
        except FarmError as error:
            _log.warning("the log of a lost attempt of job %s was not kept: %s", job_id, error)
            continue
        kept += 1
    return kept
