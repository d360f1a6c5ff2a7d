"""Many jobs at once, in SQL: a matrix of a thousand cells costs a handful of statements."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from farm.domain.errors import ConflictError, InvalidRequestError
from farm.domain.identifiers import new_id
from farm.domain.jobs import JobState
from farm.domain.work import Job
from farm.storage.columns import DatabaseNow, is_storable, storable_text
from farm.storage.job_rows import (
    attempt_from_row,
    dedup_sha256,
    job_from_row,
    queue_deadline,
    request_as_json,
)
from farm.storage.rows import database_now, portions
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.tables import artifacts, attempts, cells, jobs, submissions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Update

    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Target
    from farm.domain.work import Attempt, JobRequest, WantedJob

#: Written out: only then does a database know the partial index for it.
_IS_LIVE = or_(jobs.c.state == literal_column("'QUEUED'"), jobs.c.state == literal_column("'RUNNING'"))


class SqlManyJobs:
    """The part of `JobLedger` that takes many jobs at once.

    Rows are locked and inserted in the order of what makes jobs the same: two submissions wait for each
    other, but never in a circle.
    """

    _moment: datetime | None = None

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def active_all(self, specs: Sequence[BuildSpec], request: JobRequest) -> dict[str, Job]:
        """The queued or running jobs that do the same, by the digest of the spec; held to the end."""
        keys = sorted({dedup_sha256(spec, request) for spec in specs})
        found: dict[str, Job] = {}
        for some in portions(keys):
            query = select(jobs).where(jobs.c.dedup_sha256.in_(some), _IS_LIVE)
            rows = self._connection.execute(query.order_by(jobs.c.dedup_sha256).with_for_update())
            found |= {row.spec_sha256: job_from_row(row) for row in rows}
        return found

    def add_all(self, wanted: Sequence[WantedJob]) -> list[Job]:
        """Queues new jobs, as of one moment.

        Raises:
            ConflictError: one that does the same was queued between looking and adding.
            InvalidRequestError: a spec holds a character that no database can.
        """
        if not wanted:
            return []
        moment = self._added_at()
        ids = self._target_ids({job.spec.target for job in wanted})
        # Jobs of one matrix share a request: it is written out once.
        requests = {id(job.request): request_as_json(job.request) for job in wanted}
        rows = [_values(job, requests[id(job.request)], moment, *ids[job.spec.target]) for job in wanted]
        in_order = sorted(rows, key=lambda row: str(row["dedup_sha256"]))
        added = self._connection.execute(_adding(self._connection.dialect.name), in_order).all()
        if len(added) != len(rows):
            raise ConflictError("the same build was queued at this moment", hint="Submit again to share it.")
        return [
            Job(
                id=row["id"],
                state=JobState.QUEUED,
                spec=job.spec,
                request=job.request,
                attempts=0,
                created_at=moment,
                not_before=moment,
                user=storable_text(job.user),
                queue_deadline_at=row["queue_deadline_at"],
            )
            for job, row in zip(wanted, rows, strict=True)
        ]

    def widen_all(self, changes: Sequence[tuple[Job, JobRequest, str]]) -> None:
        """Gives jobs that still wait another request, and user to pay."""
        if not changes:
            return
        now = database_now(self._connection)
        self._connection.execute(
            _widening(),
            [
                {
                    "of_job": job.id,
                    "new_request": request_as_json(request),
                    "new_priority": request.priority,
                    "new_deadline": queue_deadline(now, request),
                    "new_user": user,
                }
                for job, request, user in changes
            ],
        )

    def get_all(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Jobs by their whole ids, in that order; those that are not there are left out."""
        found: dict[str, Job] = {}
        for some in portions(job_ids):
            rows = self._connection.execute(select(jobs).where(jobs.c.id.in_(some)))
            found |= {row.id: job_from_row(row) for row in rows}
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def newest_attempts(self, job_ids: Sequence[str]) -> dict[str, Attempt]:
        """The newest attempt of each of some jobs, by the job's id."""
        found: dict[str, Attempt] = {}
        for some in portions(job_ids):
            query = (
                select(attempts, artifacts.c.size_bytes.label("log_size_bytes"))
                .join(jobs, (jobs.c.id == attempts.c.job_id) & (jobs.c.attempts == attempts.c.number))
                .outerjoin(artifacts, artifacts.c.sha256 == attempts.c.log_sha256)
                .where(jobs.c.id.in_(some))
            )
            found |= {row.job_id: attempt_from_row(row) for row in self._connection.execute(query)}
        return found

    def hold(self, job_ids: Sequence[str]) -> None:
        """Keeps jobs as they are to the end of the transaction; waits for whoever is at one."""
        keys: dict[str, str] = {}
        for some in portions(job_ids):
            query = select(jobs.c.id, jobs.c.dedup_sha256).where(jobs.c.id.in_(some))
            keys |= {row.id: row.dedup_sha256 for row in self._connection.execute(query)}
        for some in portions(sorted(keys, key=lambda job_id: (keys[job_id], job_id))):
            ordered = select(jobs.c.id).where(jobs.c.id.in_(some)).order_by(jobs.c.dedup_sha256, jobs.c.id)
            self._connection.execute(ordered.with_for_update()).all()

    def interests(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Who waits for each of some jobs: users, by the submissions that were not withdrawn."""
        found: dict[str, dict[str, str]] = {job_id: {} for job_id in job_ids}
        for some in portions(job_ids):
            query = (
                select(cells.c.job_id, submissions.c.id, submissions.c.user_name)
                .join(submissions, submissions.c.id == cells.c.submission_id)
                .where(cells.c.job_id.in_(some), submissions.c.withdrawn_at.is_(None))
            )
            for row in self._connection.execute(query):
                found[row.job_id][row.id] = row.user_name
        return found

    def charge_to(self, job_id: str, user: str) -> None:
        """Lets another user pay for a job from now on."""
        self._connection.execute(update(jobs).where(jobs.c.id == job_id).values(user_name=user))

    def request_cancel_all(self, job_ids: Sequence[str]) -> list[Job]:
        """Cancels queued jobs at once, and asks running ones to stop; those that have ended stay as they are."""
        for some in portions(job_ids):
            asked = update(jobs).where(jobs.c.id.in_(some))
            now = DatabaseNow()
            self._connection.execute(
                asked.where(jobs.c.state == "QUEUED").values(
                    state="CANCELLED", finished_at=now, cancel_requested_at=now
                )
            )
            running = asked.where(jobs.c.state == "RUNNING")
            self._connection.execute(
                running.values(cancel_requested_at=func.coalesce(jobs.c.cancel_requested_at, now))
            )
        return list(self.get_all(job_ids).values())

    def want_again(self, job_ids: Sequence[str]) -> None:
        """Takes back that running jobs were asked to stop: somebody else wants them now."""
        for some in portions(job_ids):
            asked = update(jobs).where(jobs.c.id.in_(some), jobs.c.state == "RUNNING")
            self._connection.execute(asked.values(cancel_requested_at=None))

    def _target_ids(self, targets: set[Target]) -> dict[Target, tuple[int, int]]:
        fleet = SqlFleetCatalog(self._connection)
        types = {target.device_type for target in targets}
        type_ids = {device_type: fleet.device_type_id(device_type) for device_type in types}
        toolchains = {target.toolchain for target in targets}
        toolchain_ids = {toolchain: fleet.toolchain_id(toolchain) for toolchain in toolchains}
        return {target: (type_ids[target.device_type], toolchain_ids[target.toolchain]) for target in targets}

    def _added_at(self) -> datetime:
        """One moment for all jobs that a transaction adds, so that `position` decides their order."""
        if self._moment is None:
            self._moment = database_now(self._connection)
        return self._moment


def _values(
    job: WantedJob, request_document: dict[str, Any], moment: datetime, device_type_id: int, toolchain_id: int
) -> dict[str, Any]:
    spec, request = job.spec, job.request
    document = spec.as_json()
    if not is_storable(document):
        # Written with another character it would come back as another spec, under this one's key.
        raise InvalidRequestError(
            "the build spec holds a NUL character, which can not be stored",
            hint="Look for it in the salt, the options and the names of the model's inputs.",
        )
    return {
        "id": new_id("j"),
        "kind": request.kind.value,
        "state": JobState.QUEUED.value,
        "spec_sha256": spec.digest.sha256,
        "dedup_sha256": dedup_sha256(spec, request),
        "spec": document,
        "request": request_document,
        "model_sha256": spec.model_sha256,
        "device_type_id": device_type_id,
        "toolchain_id": toolchain_id,
        "position": job.position,
        "user_name": job.user,
        "priority": request.priority,
        "queue_deadline_at": queue_deadline(moment, request),
        "not_before": moment,
        "created_at": moment,
    }


# The statements, each built once: building one takes longer than running it.


@cache
def _adding(dialect_name: str) -> Any:
    dialect: Any = postgresql if dialect_name == "postgresql" else sqlite
    # Returned, since the count of an INSERT's rows is not known on PostgreSQL.
    return dialect.insert(jobs).on_conflict_do_nothing().returning(jobs.c.id)


@cache
def _widening() -> Update:
    def given(name: str, column: str) -> Any:
        return bindparam(name, type_=jobs.c[column].type)

    return (
        update(jobs)
        .where(jobs.c.id == bindparam("of_job"), jobs.c.state == literal_column("'QUEUED'"))
        .values(
            request=given("new_request", "request"),
            priority=given("new_priority", "priority"),
            queue_deadline_at=given("new_deadline", "queue_deadline_at"),
            user_name=given("new_user", "user_name"),
        )
    )
