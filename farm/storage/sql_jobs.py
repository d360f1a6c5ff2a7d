"""Submissions, jobs and attempts in SQL: the claim, the fence, the lease."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, desc, false, func, insert, literal, or_, select, update

from farm.domain.digests import digest_of_json
from farm.domain.errors import AttemptSupersededError, ConflictError, InvalidRequestError, NotFoundError
from farm.domain.identifiers import new_id
from farm.domain.jobs import AttemptState, JobState, Phase, check_attempt_transition, check_job_transition
from farm.domain.work import Attempt, Cell, Job, Submission
from farm.storage.columns import AnyText, DatabaseNow, storable, storable_text
from farm.storage.job_rows import (
    attempt_from_row,
    cell_from_row,
    dedup_sha256,
    job_from_row,
    request_as_json,
)
from farm.storage.rows import failure_values, insert_once
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.tables import (
    artifacts,
    attempts,
    cells,
    device_types,
    jobs,
    log_chunks,
    submissions,
    toolchains,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select, Table

    from farm.domain.digests import Digest
    from farm.domain.jobs import Failure
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Device, Target
    from farm.domain.work import JobRequest, ModelName

#: The timestamp that the end of a phase sets.
_END_OF_PHASE = {Phase.BUILD: "built_at", Phase.VERIFY: "verified_at", Phase.BENCHMARK: "measured_at"}


class SqlJobLedger:
    """Implements `JobLedger`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fleet = SqlFleetCatalog(connection)

    def add_submission(
        self,
        *,
        name: ModelName,
        user: str,
        tags: dict[str, str],
        cells: Sequence[Cell],
        request: dict[str, Any],
    ) -> Submission:
        """Files a request with its cells."""
        submission_id = new_id("s")
        self._connection.execute(
            insert(submissions).values(
                id=submission_id,
                model_name=name.name,
                model_version=name.version,
                model_sha256=name.model_sha256,
                user_name=user,
                tags=tags,
                request=request,
                created_at=DatabaseNow(),
            )
        )
        if cells:
            self._connection.execute(insert(_cells), [_cell_values(submission_id, cell) for cell in cells])
        return self.submission(submission_id)

    def submission(self, submission_id: str) -> Submission:
        """A submission by its id or the id's beginning.

        Raises:
            NotFoundError: there is none.
            InvalidRequestError: several begin like that.
        """
        full = self._full_id(submissions, submission_id, "submission")
        row = self._connection.execute(select(submissions).where(submissions.c.id == full)).one()
        found = self._connection.execute(
            select(_cells).where(_cells.c.submission_id == full).order_by(_cells.c.position)
        )
        return Submission(
            id=row.id,
            model_name=row.model_name,
            model_version=row.model_version,
            model_sha256=row.model_sha256,
            user=row.user_name,
            created_at=row.created_at,
            tags=row.tags,
            cells=tuple(map(cell_from_row, found)),
        )

    def submissions(self, limit: int) -> list[Submission]:
        """The newest submissions, newest first."""
        ids = self._connection.execute(
            select(submissions.c.id).order_by(desc(submissions.c.created_at)).limit(limit)
        ).scalars()
        return [self.submission(submission_id) for submission_id in ids.all()]

    def active(self, spec: BuildSpec, request: JobRequest) -> Job | None:
        """The queued or running job that does the same, if there is one."""
        row = self._connection.execute(
            select(jobs)
            .where(
                jobs.c.dedup_sha256 == dedup_sha256(spec, request), jobs.c.state.in_(["QUEUED", "RUNNING"])
            )
            # Held to the end of the transaction, so that two who widen it do not undo each other's.
            .with_for_update()
        ).one_or_none()
        return None if row is None else job_from_row(row)

    def add(self, spec: BuildSpec, request: JobRequest, position: int = 0) -> Job:
        """Queues a new job.

        Raises:
            ConflictError: one that does the same was queued between looking and adding.
            InvalidRequestError: the spec holds a character that no database can.
        """
        if storable(spec.as_json()) != spec.as_json():
            # Written with another character it would come back as another spec, under this one's key.
            raise InvalidRequestError(
                "the build spec holds a NUL character, which can not be stored",
                hint="Look for it in the salt, the options and the names of the model's inputs.",
            )
        job_id = new_id("j")
        added = insert_once(
            self._connection,
            jobs,
            id=job_id,
            kind=request.kind.value,
            state=JobState.QUEUED.value,
            spec_sha256=spec.digest.sha256,
            dedup_sha256=dedup_sha256(spec, request),
            spec=spec.as_json(),
            request=request_as_json(request),
            model_sha256=spec.model_sha256,
            device_type_id=self._fleet.device_type_id(spec.target.device_type),
            toolchain_id=self._fleet.toolchain_id(spec.target.toolchain),
            position=position,
            not_before=self._added_at,
            created_at=self._added_at,
        )
        if not added:
            raise ConflictError("the same build was queued at this moment", hint="Submit again to share it.")
        return self.get(job_id)

    def widen(self, job: Job, request: JobRequest) -> bool:
        """Gives a job that still waits another request, such as one with more batch sizes."""
        changed = self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id, jobs.c.state == "QUEUED")
            .values(request=request_as_json(request))
        )
        return bool(changed.rowcount == 1)

    def get(self, job_id: str) -> Job:
        """A job by its id or the id's beginning.

        Raises:
            NotFoundError: there is none.
            InvalidRequestError: several begin like that.
        """
        full = self._full_id(jobs, job_id, "job")
        return job_from_row(self._connection.execute(select(jobs).where(jobs.c.id == full)).one())

    def jobs(self, *, states: Sequence[JobState] = (), limit: int = 1000) -> list[Job]:
        """Jobs, newest first."""
        query = select(jobs).order_by(desc(jobs.c.created_at), jobs.c.id).limit(limit)
        if states:
            query = query.where(jobs.c.state.in_([state.value for state in states]))
        return [job_from_row(row) for row in self._connection.execute(query)]

    def unannounced(self, limit: int, targets: Collection[Target] | None = None) -> list[Job]:
        """Jobs that are due and that nobody has announced since they became so, oldest first.

        Args:
            limit: at most so many.
            targets: only for these; none for all. Jobs for absent devices never hide the others.
        """
        query = (
            select(jobs)
            .where(
                jobs.c.state == "QUEUED", jobs.c.announced_at.is_(None), jobs.c.not_before <= DatabaseNow()
            )
            .order_by(jobs.c.created_at, jobs.c.position, jobs.c.id)
            .limit(limit)
        )
        if targets is not None:
            query = (
                query.join(device_types, device_types.c.id == jobs.c.device_type_id)
                .join(toolchains, toolchains.c.id == jobs.c.toolchain_id)
                .where(or_(false(), *map(_is_target, targets)))
            )
        return [job_from_row(row) for row in self._connection.execute(query)]

    def mark_announced(self, job_ids: Sequence[str]) -> None:
        """Notes that their queues were told."""
        self._connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(self._unlocked(jobs.c.id.in_(job_ids))))
            .values(announced_at=DatabaseNow())
        )

    def forget_announcements(self, older_than_s: float) -> int:
        """Makes queued jobs unannounced again whose announcement has led to nothing for so long."""
        earliest = self._now() - timedelta(seconds=older_than_s)
        stale = (jobs.c.state == "QUEUED", jobs.c.announced_at <= earliest)
        changed = self._connection.execute(
            update(jobs).where(jobs.c.id.in_(self._unlocked(*stale))).values(announced_at=None)
        )
        return int(changed.rowcount)

    def claim(
        self, job_id: str, *, worker_id: str, device: Device, lease_s: float
    ) -> tuple[Job, Attempt] | None:
        """Takes a job by one conditional update; none if it is not there to be taken."""
        now = self._now()
        taken = self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id, jobs.c.state == "QUEUED", jobs.c.not_before <= now)
            .values(
                state="RUNNING",
                attempts=jobs.c.attempts + 1,
                worker_id=worker_id,
                lease_until=now + timedelta(seconds=lease_s),
            )
        )
        if taken.rowcount != 1:
            return None
        row = self._connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
        self._connection.execute(
            insert(attempts).values(
                job_id=job_id,
                number=row.attempts,
                state=AttemptState.RUNNING.value,
                worker_id=worker_id,
                host=device.host,
                device_uuid=device.uuid,
                driver_version=device.driver_version,
                queued_at=row.not_before,
                claimed_at=now,
                seconds={},
                environment={},
            )
        )
        return job_from_row(row), self.attempts(job_id)[-1]

    def heartbeat(self, attempt: Attempt, lease_s: float) -> bool:
        """Renews the lease; true if cancellation was asked for.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
        """
        renewed = self._connection.execute(
            self._owned(attempt).values(lease_until=self._now() + timedelta(seconds=lease_s))
        )
        self._fence(attempt, renewed.rowcount)
        query = select(jobs.c.cancel_requested_at).where(jobs.c.id == attempt.job_id)
        return self._connection.execute(query).scalar_one() is not None

    def report(self, attempt: Attempt, phase: Phase, fraction: float | None, message: str) -> None:
        """Notes where an attempt stands.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
        """
        stamps: dict[str, Any] = {"started_at": func.coalesce(attempts.c.started_at, DatabaseNow())}
        for ended, stamp in _END_OF_PHASE.items():
            if ended is not phase:
                ends_now = and_(attempts.c.phase == ended.value, attempts.c[stamp].is_(None))
                stamps[stamp] = case((ends_now, DatabaseNow()), else_=attempts.c[stamp])
        changed = self._connection.execute(
            update(attempts)
            .where(attempts.c.id == attempt.id, attempts.c.state == "RUNNING")
            .values(phase=phase.value, phase_fraction=fraction, phase_message=message[:500], **stamps)
        )
        self._fence(attempt, changed.rowcount)

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

    def close(
        self,
        attempt: Attempt,
        state: AttemptState,
        job_state: JobState,
        *,
        failure: Failure | None = None,
        retry_in_s: float = 0.0,
        log: Digest | None = None,
        seconds: dict[str, float] | None = None,
        environment: dict[str, Any] | None = None,
    ) -> None:
        """Ends an attempt, and moves its job.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
            IllegalTransitionError: the transition tables do not allow it.
        """
        check_attempt_transition(AttemptState.RUNNING, state)
        check_job_transition(JobState.RUNNING, job_state)
        now = self._now()
        moved = self._connection.execute(
            self._owned(attempt).values(
                state=job_state.value,
                lease_until=None,
                finished_at=now if job_state.is_terminal else None,
                # Back in the queue it is news again, from the moment that it is due.
                announced_at=None,
                not_before=now + timedelta(seconds=retry_in_s),
                **(failure_values(failure) if job_state is not JobState.SUCCEEDED else failure_values(None)),
            )
        )
        self._fence(attempt, moved.rowcount)
        if log is not None:
            insert_once(
                self._connection,
                artifacts,
                sha256=log.sha256,
                size_bytes=log.size_bytes,
                kind="log",
                created_at=now,
            )
            self._connection.execute(delete(log_chunks).where(log_chunks.c.attempt_id == attempt.id))
        self._connection.execute(
            update(attempts)
            .where(attempts.c.id == attempt.id)
            .values(
                state=state.value,
                finished_at=now,
                uploaded_at=now if state is AttemptState.SUCCEEDED else None,
                # Phases too short for anybody to have reported them.
                **{
                    stamp: func.coalesce(attempts.c[stamp], now)
                    for phase, stamp in _END_OF_PHASE.items()
                    if phase.value in (seconds or {})
                },
                log_sha256=log.sha256 if log else None,
                is_crash=bool(failure and failure.is_crash),
                seconds=seconds or {},
                environment=environment or {},
                **failure_values(failure),
            )
        )

    def attempts(self, job_id: str) -> list[Attempt]:
        """A job's attempts, oldest first."""
        query = (
            select(attempts, artifacts.c.size_bytes.label("log_size_bytes"))
            .outerjoin(artifacts, artifacts.c.sha256 == attempts.c.log_sha256)
            .where(attempts.c.job_id == job_id)
            .order_by(attempts.c.number)
        )
        return [attempt_from_row(row) for row in self._connection.execute(query)]

    def expired(self) -> list[tuple[Job, Attempt]]:
        """Running jobs whose lease is over."""
        query = select(jobs).where(jobs.c.state == "RUNNING", jobs.c.lease_until < DatabaseNow())
        found = [job_from_row(row) for row in self._connection.execute(query)]
        return [(job, self.attempts(job.id)[-1]) for job in found]

    def crashes(self, job_id: str) -> int:
        """How many of a job's attempts died by a signal or fell silent."""
        query = select(func.count()).where(attempts.c.job_id == job_id, attempts.c.is_crash)
        return int(self._connection.execute(query).scalar_one())

    def interested(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job and were not withdrawn."""
        query = (
            select(_cells.c.submission_id)
            .join(submissions, submissions.c.id == _cells.c.submission_id)
            .where(_cells.c.job_id == job_id, submissions.c.withdrawn_at.is_(None))
        )
        return set(self._connection.execute(query).scalars())

    def withdraw(self, submission_id: str) -> None:
        """Notes that nobody waits for a submission any more."""
        self._connection.execute(
            update(submissions)
            .where(submissions.c.id == submission_id)
            .values(withdrawn_at=func.coalesce(submissions.c.withdrawn_at, DatabaseNow()))
        )

    def request_cancel(self, job_id: str) -> Job:
        """Cancels a queued job at once, and asks a running one to stop.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has ended already.
        """
        job = self.get(job_id)
        if job.state.is_terminal:
            raise ConflictError(f"job {job.id} has ended already: {job.state.value}")
        now = self._now()
        cancelled = self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id, jobs.c.state == "QUEUED")
            .values(state="CANCELLED", finished_at=now, cancel_requested_at=now)
        )
        if cancelled.rowcount == 0:
            self._connection.execute(
                update(jobs)
                .where(jobs.c.id == job.id, jobs.c.state == "RUNNING")
                .values(cancel_requested_at=now)
            )
        return self.get(job.id)

    def requeue(self, job_id: str) -> Job:
        """Queues what failed or was cancelled again, as a new job in every cell of the old one.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has not ended, or succeeded.
        """
        old = self.get(job_id)
        if old.state not in (JobState.FAILED, JobState.CANCELLED):
            raise ConflictError(
                f"job {old.id} is {old.state.value}: only a failed or cancelled job can be tried again"
            )
        job = self.active(old.spec, old.request) or self.add(old.spec, old.request)
        self._connection.execute(update(_cells).where(_cells.c.job_id == old.id).values(job_id=job.id))
        return job

    def _unlocked(self, *conditions: Any) -> Select[str]:
        """The ids of jobs that no other transaction is at: to wait for several of them could be a deadlock."""
        return select(jobs.c.id).where(*conditions).with_for_update(skip_locked=True)

    @cached_property
    def _added_at(self) -> datetime:
        """One moment for all jobs that a transaction adds, so that `position` decides their order."""
        return self._now()

    def _now(self) -> datetime:
        return self._connection.execute(select(DatabaseNow())).scalar_one()

    def _owned(self, attempt: Attempt) -> Any:
        """An update of the job that takes effect only while this attempt is the one that runs it."""
        return update(jobs).where(
            jobs.c.id == attempt.job_id, jobs.c.state == "RUNNING", jobs.c.attempts == attempt.number
        )

    def _fence(self, attempt: Attempt, changed: int) -> None:
        if changed != 1:
            raise AttemptSupersededError(
                f"attempt {attempt.number} of job {attempt.job_id} is no longer the one that runs it"
            )

    def _full_id(self, table: Table, prefix: str, noun: str) -> str:
        prefix = storable_text(prefix)
        query = select(table.c.id).where(table.c.id.startswith(prefix, autoescape=True)).limit(2)
        found = self._connection.execute(query).scalars().all()
        if prefix in found:
            return prefix
        if not found:
            raise NotFoundError(f"there is no {noun} {prefix!r}", hint="`farm status` lists the newest.")
        if len(found) > 1:
            raise InvalidRequestError(f"several {noun}s begin with {prefix!r}", hint="Give more of the id.")
        return str(found[0])


# The method `cells=` above needs the name for its argument.
_cells = cells


def _is_target(target: Target) -> ColumnElement[bool]:
    identity = digest_of_json(target.device_type.as_json()).sha256
    toolchain = target.toolchain
    return and_(
        device_types.c.identity_sha256 == identity,
        toolchains.c.name == toolchain.name,
        toolchains.c.version == toolchain.version,
        toolchains.c.variant == toolchain.variant,
    )


def _cell_values(submission_id: str, cell: Cell) -> dict[str, Any]:
    return {
        "submission_id": submission_id,
        "position": cell.position,
        "spec_sha256": cell.spec.digest.sha256,
        "spec": cell.spec.as_json(),
        "disposition": cell.disposition.value,
        "job_id": cell.job_id or None,
        "engine_id": cell.engine_id,
    }
