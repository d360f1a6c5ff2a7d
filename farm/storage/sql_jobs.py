"""Jobs in SQL: queued, announced, claimed, cancelled."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, desc, false, insert, or_, select, update

from farm.domain.digests import digest_of_json
from farm.domain.errors import ConflictError, InvalidRequestError
from farm.domain.identifiers import new_id
from farm.domain.jobs import AttemptState, JobState
from farm.storage.columns import DatabaseNow, storable
from farm.storage.job_rows import (
    dedup_sha256,
    job_from_row,
    request_as_json,
)
from farm.storage.rows import full_id, insert_once
from farm.storage.sql_attempts import SqlAttempts
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.sql_submissions import SqlSubmissions
from farm.storage.tables import (
    attempts,
    cells,
    device_types,
    jobs,
    toolchains,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Device, Target
    from farm.domain.work import Attempt, Job, JobRequest


class SqlJobLedger(SqlSubmissions, SqlAttempts):
    """Implements `JobLedger`."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._fleet = SqlFleetCatalog(connection)

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
        full = full_id(self._connection, jobs, job_id, "job")
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
        self._connection.execute(update(cells).where(cells.c.job_id == old.id).values(job_id=job.id))
        return job

    def _unlocked(self, *conditions: Any) -> Select[str]:
        """The ids of jobs that no other transaction is at: to wait for several of them could be a deadlock."""
        return select(jobs.c.id).where(*conditions).with_for_update(skip_locked=True)

    @cached_property
    def _added_at(self) -> datetime:
        """One moment for all jobs that a transaction adds, so that `position` decides their order."""
        return self._now()


def _is_target(target: Target) -> ColumnElement[bool]:
    identity = digest_of_json(target.device_type.as_json()).sha256
    toolchain = target.toolchain
    return and_(
        device_types.c.identity_sha256 == identity,
        toolchains.c.name == toolchain.name,
        toolchains.c.version == toolchain.version,
        toolchains.c.variant == toolchain.variant,
    )
