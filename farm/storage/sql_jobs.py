"""Jobs in SQL: queued, announced, claimed, cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import desc, select, update

from farm.domain.errors import ConflictError
from farm.domain.jobs import JobState
from farm.domain.work import WantedJob
from farm.storage.job_rows import job_from_row
from farm.storage.rows import full_id
from farm.storage.sql_attempts import SqlAttempts
from farm.storage.sql_claims import SqlClaims
from farm.storage.sql_failures import SqlFailures
from farm.storage.sql_follow_ups import SqlFollowUps
from farm.storage.sql_many import SqlManyJobs
from farm.storage.sql_overview import SqlOverview
from farm.storage.sql_submissions import SqlSubmissions
from farm.storage.sql_sweeping import SqlSweeping
from farm.storage.tables import cells, jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job, JobRequest


class SqlJobLedger(
    SqlSubmissions,
    SqlManyJobs,
    SqlFollowUps,
    SqlClaims,
    SqlSweeping,
    SqlOverview,
    SqlFailures,
    SqlAttempts,
):
    """Implements `JobLedger`."""

    def active(self, spec: BuildSpec, request: JobRequest) -> Job | None:
        """The queued or running job that does the same, if there is one."""
        return self.active_all([spec], request).get(spec.digest.sha256)

    def add(self, spec: BuildSpec, request: JobRequest, position: int = 0, user: str = "") -> Job:
        """Queues a new job; of those queued at one moment the lowest position goes first.

        Raises:
            ConflictError: one that does the same was queued between looking and adding.
            InvalidRequestError: the spec holds a character that no database can.
        """
        (job,) = self.add_all([WantedJob(spec, request, position, user)])
        return job

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
        (asked,) = self.request_cancel_all([job.id])
        return asked

    def requeue(self, job_id: str, request: JobRequest | None = None) -> Job:
        """Queues what failed or was cancelled again, as a new job in every cell of the old one.

        Args:
            job_id: the old one.
            request: what the new one is to do; the same if none.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has not ended, or succeeded.
        """
        old = self.get(job_id)
        if old.state not in (JobState.FAILED, JobState.CANCELLED):
            raise ConflictError(
                f"job {old.id} is {old.state.value}: only a failed or cancelled job can be tried again"
            )
        request = request or old.request
        job = self.active(old.spec, request) or self.add(old.spec, request, user=old.user)
        # With what they want beyond it.
        self._connection.execute(update(cells).where(cells.c.job_id == old.id).values(job_id=job.id))
        self.move_follow_ups(old.id, job.id)
        return job
