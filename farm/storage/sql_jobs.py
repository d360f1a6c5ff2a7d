"""Jobs in SQL: queued, announced, claimed, cancelled."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import desc, select, update

from farm.domain.errors import ConflictError, InvalidRequestError
from farm.domain.identifiers import new_id
from farm.domain.jobs import JobState
from farm.storage.columns import storable
from farm.storage.job_rows import (
    dedup_sha256,
    job_from_row,
    queue_deadline,
    request_as_json,
)
from farm.storage.rows import full_id, insert_once
from farm.storage.sql_attempts import SqlAttempts
from farm.storage.sql_claims import SqlClaims
from farm.storage.sql_failures import SqlFailures
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.sql_overview import SqlOverview
from farm.storage.sql_submissions import SqlSubmissions
from farm.storage.sql_sweeping import SqlSweeping
from farm.storage.tables import (
    cells,
    jobs,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job, JobRequest


class SqlJobLedger(SqlSubmissions, SqlClaims, SqlSweeping, SqlOverview, SqlFailures, SqlAttempts):
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

    def add(self, spec: BuildSpec, request: JobRequest, position: int = 0, user: str = "") -> Job:
        """Queues a new job; of those queued at one moment the lowest position goes first.

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
            user_name=user,
            priority=request.priority,
            queue_deadline_at=queue_deadline(self._added_at, request),
            not_before=self._added_at,
            created_at=self._added_at,
        )
        if not added:
            raise ConflictError("the same build was queued at this moment", hint="Submit again to share it.")
        return self.get(job_id)

    def widen(self, job: Job, request: JobRequest, user: str | None = None) -> bool:
        """Gives a job that still waits another request, such as one with more batch sizes.

        Args:
            job: as it was read in this transaction.
            request: what it is to do from now on.
            user: who pays for it from now on; as before if none.

        Returns:
            False if it no longer waits, and nothing was changed.
        """
        changed = self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id, jobs.c.state == "QUEUED")
            .values(
                request=request_as_json(request),
                priority=request.priority,
                queue_deadline_at=queue_deadline(self._now(), request),
                **({} if user is None else {"user_name": user}),
            )
        )
        return bool(changed.rowcount == 1)

    def hold(self, job_ids: Sequence[str]) -> None:
        """Keeps jobs as they are to the end of the transaction; waits for whoever is at one."""
        # In one order for all: two who hold the same jobs wait for each other, but never in a circle.
        query = select(jobs.c.id).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.id).with_for_update()
        self._connection.execute(query).all()

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
        job = self.active(old.spec, old.request) or self.add(old.spec, old.request, user=old.user)
        self._connection.execute(update(cells).where(cells.c.job_id == old.id).values(job_id=job.id))
        return job

    @cached_property
    def _added_at(self) -> datetime:
        """One moment for all jobs that a transaction adds, so that `position` decides their order."""
        return self._now()
