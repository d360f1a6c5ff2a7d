"""Attempts in SQL: the fence, the lease, the log."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Float, and_, bindparam, case, func, insert, literal, select, update

from farm.domain.jobs import AttemptState, JobState, check_attempt_transition, check_job_transition
from farm.storage.autocommit import is_autocommit, need_not_last
from farm.storage.claim_statements import is_in
from farm.storage.columns import AnyText, DatabaseNow, SecondsFromNow
from farm.storage.end_statements import END_OF_PHASE, closing, dropping_log, ending, moving, stamps_of
from farm.storage.fence import check_fence, fence_of, owned
from farm.storage.job_rows import attempt_from_row, job_from_row, queue_deadline, request_from_json
from farm.storage.rows import database_now, failure_values
from farm.storage.sql_artifacts import note_artifact, noted
from farm.storage.tables import artifacts, attempts, jobs, log_chunks, worker_targets, workers
from farm.storage.worker_rows import is_live

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Update

    from farm.domain.digests import Digest
    from farm.domain.jobs import Failure, Phase
    from farm.domain.work import Attempt, Job


class SqlAttempts:
    """The part of `JobLedger` that attempts are; every write of theirs is fenced."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def heartbeat(self, attempt: Attempt, lease_s: float) -> bool:
        """Renews the lease; true if cancellation was asked for.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
        """
        statement = _renewing(is_autocommit(self._connection))
        renewed = self._connection.execute(statement, {**fence_of(attempt), "lease_s": lease_s}).all()
        check_fence(attempt, len(renewed))
        return renewed[0].cancel_requested_at is not None

    def report(self, attempt: Attempt, phase: Phase, fraction: float | None, message: str) -> None:
        """Notes where an attempt stands.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
        """
        stamps: dict[str, Any] = {"started_at": func.coalesce(attempts.c.started_at, DatabaseNow())}
        for ended, stamp in END_OF_PHASE.items():
            if ended is not phase:
                ends_now = and_(attempts.c.phase == ended.value, attempts.c[stamp].is_(None))
                stamps[stamp] = case((ends_now, DatabaseNow()), else_=attempts.c[stamp])
        changed = self._connection.execute(
            update(attempts)
            .where(attempts.c.id == attempt.id, attempts.c.state == "RUNNING")
            .values(phase=phase.value, phase_fraction=fraction, phase_message=message[:500], **stamps)
        )
        check_fence(attempt, changed.rowcount)

    def append_log(self, attempt: Attempt, text: str) -> None:
        """Adds to the live log; nothing once the attempt has ended, for its log is kept elsewhere then."""
        running = select(attempts.c.id, literal(text.replace("\0", ""), AnyText)).where(
            attempts.c.id == attempt.id, attempts.c.state == "RUNNING"
        )
        self._connection.execute(insert(log_chunks).from_select(["attempt_id", "text"], running))

    def live_log(self, attempt: Attempt) -> str:
        """The live log so far; empty once the whole is kept as an artifact."""
        query = (
            select(log_chunks.c.text).where(log_chunks.c.attempt_id == attempt.id).order_by(log_chunks.c.id)
        )
        return "".join(self._connection.execute(query).scalars())

    def keep_log(self, attempt: Attempt, log: Digest) -> None:
        """Puts an artifact in the place of the live log of an attempt that has ended and has none."""
        note_artifact(self._connection, log, "log")
        ended = (
            update(attempts)
            .where(
                attempts.c.id == attempt.id, attempts.c.state != "RUNNING", attempts.c.log_sha256.is_(None)
            )
            .values(log_sha256=log.sha256)
        )
        if self._connection.execute(ended).rowcount:
            self._connection.execute(dropping_log(), {"of_attempt": attempt.id})

    def close(
        self,
        attempt: Attempt,
        state: AttemptState,
        job_state: JobState,
        *,
        failure: Failure | None = None,
        retry_in_s: float = 0.0,
        elsewhere: bool = False,
        log: Digest | None = None,
        seconds: dict[str, float] | None = None,
        environment: dict[str, Any] | None = None,
    ) -> None:
        """Ends an attempt, and moves its job.

        Args:
            attempt: the one that runs it.
            state: its end.
            job_state: where the job goes.
            failure: why, unless it succeeded.
            retry_in_s: when a job that is queued again is due.
            elsewhere: whether such a job goes to another device first, if there is one.
            log: of the attempt.
            seconds: of every phase.
            environment: facts of the child.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
            IllegalTransitionError: the transition tables do not allow it.
        """
        check_attempt_transition(AttemptState.RUNNING, state)
        check_job_transition(JobState.RUNNING, job_state)
        moved: dict[str, Any] = {"state": job_state.value}
        moved |= failure_values(failure if job_state is not JobState.SUCCEEDED else None)
        if job_state is JobState.QUEUED:
            due = database_now(self._connection) + timedelta(seconds=retry_in_s)
            moved |= {"not_before": due, **self._begins_to_wait(attempt, due, elsewhere)}
        ended = {
            "state": state.value,
            "log_sha256": log.sha256 if log else None,
            "is_crash": bool(failure and failure.is_crash),
            "seconds": seconds or {},
            "environment": environment or {},
            **failure_values(failure),
        }
        stamps = stamps_of(seconds or {})
        if state is AttemptState.SUCCEEDED:
            stamps |= {"uploaded_at"}
        self._close(attempt, moved, ended, stamps, log)

    def _close(
        self,
        attempt: Attempt,
        moved: dict[str, Any],
        ended: dict[str, Any],
        stamps: frozenset[str],
        log: Digest | None,
    ) -> None:
        """Writes the end of an attempt; in one statement where the database knows such."""
        execute, columns = self._connection.execute, frozenset(moved)
        of_job = {**fence_of(attempt), **{f"job_{name}": value for name, value in moved.items()}}
        of_attempt = {"of_attempt": attempt.id, **ended}
        if self._connection.dialect.name == "postgresql":
            of_log = noted(log, "log") if log is not None else {}
            together = closing(columns, stamps, log is not None)
            check_fence(attempt, execute(together, of_job | of_attempt | of_log).rowcount)
            return
        check_fence(attempt, execute(moving(columns), of_job).rowcount)
        if log is not None:
            note_artifact(self._connection, log, "log")
            execute(dropping_log(), of_attempt)
        execute(ending(stamps), of_attempt)

    def attempts(self, job_id: str) -> list[Attempt]:
        """A job's attempts, oldest first."""
        query = (
            select(attempts, artifacts.c.size_bytes.label("log_size_bytes"))
            .outerjoin(artifacts, artifacts.c.sha256 == attempts.c.log_sha256)
            .where(attempts.c.job_id == job_id)
            .order_by(attempts.c.number)
        )
        return [attempt_from_row(row) for row in self._connection.execute(query)]

    def running(self) -> dict[str, Attempt]:
        """The attempts that run now, by the id of their worker."""
        query = (
            select(attempts, literal(0).label("log_size_bytes"))
            .join(jobs, and_(jobs.c.id == attempts.c.job_id, jobs.c.attempts == attempts.c.number))
            .where(is_in(jobs, "RUNNING"))
        )
        return {row.worker_id: attempt_from_row(row) for row in self._connection.execute(query)}

    def expired(self, job_id: str | None = None) -> list[tuple[Job, Attempt]]:
        """Running jobs whose lease is over: all, or this one if it is among them."""
        query = select(jobs).where(is_in(jobs, "RUNNING"), jobs.c.lease_until < DatabaseNow())
        if job_id is not None:
            query = query.where(jobs.c.id == job_id)
        found = [job_from_row(row) for row in self._connection.execute(query)]
        return [(job, self.attempts(job.id)[-1]) for job in found]

    def crashes(self, job_id: str) -> int:
        """How many of a job's attempts died by a signal, or killed their worker."""
        query = select(func.count()).where(attempts.c.job_id == job_id, attempts.c.is_crash)
        return int(self._connection.execute(query).scalar_one())

    def _begins_to_wait(self, attempt: Attempt, due: datetime, elsewhere: bool) -> dict[str, Any]:
        """What a job that goes back into the queue waits for, and for how long at most."""
        row = self._connection.execute(select(jobs).where(jobs.c.id == attempt.job_id)).one()
        request = request_from_json(row.request)
        others = (
            select(literal(1))
            .join_from(workers, worker_targets, worker_targets.c.worker_id == workers.c.id)
            .where(
                worker_targets.c.device_type_id == row.device_type_id,
                worker_targets.c.toolchain_id == row.toolchain_id,
                workers.c.device_uuid != attempt.device_uuid,
                is_live(database_now(self._connection)),
            )
            .limit(1)
        )
        # No other may have what one alone is wanted for.
        may_go = elsewhere and not request.on_device
        has_others = may_go and self._connection.execute(others).first() is not None
        return {
            "queue_deadline_at": queue_deadline(due, request),
            "avoid_device": attempt.device_uuid if has_others else "",
        }


@cache
def _renewing(is_alone: bool) -> Update:
    """Built once: building a statement takes longer than running it."""
    until = SecondsFromNow(bindparam("lease_s", type_=Float))
    answer = [jobs.c.cancel_requested_at, *need_not_last(is_alone=is_alone)]
    return owned().values(lease_until=until).returning(*answer)
