"""The next job for a worker, in SQL: one look at the heads of the queues, then one conditional update.

What a look costs grows with the number of users who wait, never with how much they wait for: the lanes are
found by hopping over the index `ix_jobs_waiting`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import CTE, func, insert, literal, literal_column, select, update

from farm.domain.fairness import Lane, Share, decayed, in_turn
from farm.domain.jobs import AttemptState
from farm.storage.columns import DatabaseNow
from farm.storage.job_rows import attempt_from_row, job_from_row
from farm.storage.tables import attempts, jobs, user_usage, worker_targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect

    from farm.domain.targets import Device
    from farm.domain.work import Attempt, Job

_STATES: dict[str, ColumnElement[str]] = {
    state: literal_column(f"'{state}'") for state in ("QUEUED", "RUNNING")
}


def is_in(table: Any, state: str) -> ColumnElement[bool]:
    """That a job is in a state, written out: only then does a database know a partial index for it."""
    found: ColumnElement[bool] = table.c.state == _STATES[state]
    return found


class SqlClaims:
    """The part of `JobLedger` that claims are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim_next(self, *, worker_id: str, device: Device, lease_s: float) -> tuple[Job, Attempt] | None:
        """Takes the job whose turn it is among those of all targets that a worker registered."""
        now, lanes = self._lanes(worker_id, device)
        for lane in in_turn(lanes, self.shares({lane.user for lane in lanes})):
            head = (
                select(jobs.c.id)
                .where(*_of(jobs, lane), *_is_due(jobs), jobs.c.avoid_device != device.uuid)
                .order_by(jobs.c.created_at, jobs.c.position)
                .limit(1)
                # What somebody else takes at this moment is not waited for.
                .with_for_update(skip_locked=True)
                .scalar_subquery()
            )
            taken = self._take(jobs.c.id == head, now, worker_id, device, lease_s)
            if taken is not None:
                return taken
        return None

    def claim(
        self, job_id: str, *, worker_id: str, device: Device, lease_s: float
    ) -> tuple[Job, Attempt] | None:
        """Takes one job by one conditional update; none if it is not there to be taken."""
        now = self._connection.execute(select(DatabaseNow())).scalar_one()
        return self._take(jobs.c.id == job_id, now, worker_id, device, lease_s)

    def lanes(self, worker_id: str, device: Device) -> list[Lane]:
        """What waits for a worker and is due, in the order in which it is served."""
        found = self._lanes(worker_id, device)[1]
        return in_turn(found, self.shares({lane.user for lane in found}))

    def shares(self, users: Iterable[str]) -> dict[str, Share]:
        """What users have had of the fleet of late; nothing is looked up where there is nobody to compare."""
        names = sorted(set(users))
        if len(names) < 2:
            return {}
        counted = self._connection.execute(
            select(jobs.c.user_name, func.count().label("running"))
            .where(is_in(jobs, "RUNNING"), jobs.c.user_name.in_(names))
            .group_by(jobs.c.user_name)
        )
        running = {row.user_name: int(row.running) for row in counted}
        had = {
            row.user_name: decayed(row.device_s, (row.now - row.updated_at).total_seconds())
            for row in self._connection.execute(
                select(user_usage, DatabaseNow().label("now")).where(user_usage.c.user_name.in_(names))
            )
        }
        return {name: Share(had.get(name, 0.0), running.get(name, 0)) for name in names}

    def _lanes(self, worker_id: str, device: Device) -> tuple[datetime, list[Lane]]:
        lanes = _all_lanes(worker_id)
        head = jobs.alias("head")
        of_lane = (
            head.c.device_type_id == lanes.c.device_type_id,
            head.c.toolchain_id == lanes.c.toolchain_id,
            head.c.priority == lanes.c.priority,
            head.c.user_name == lanes.c.user_name,
        )
        oldest = (
            select(head.c.created_at)
            .where(*of_lane, *_is_due(head), head.c.avoid_device != device.uuid)
            .order_by(head.c.created_at, head.c.position)
            .limit(1)
            .scalar_subquery()
        )
        query = select(lanes, oldest.label("head_created_at"), DatabaseNow().label("now")).where(
            lanes.c.user_name.is_not(None)
        )
        rows: Sequence[Row[Any]] = self._connection.execute(query).all()
        if not rows:
            return self._connection.execute(select(DatabaseNow())).scalar_one(), []
        found = [
            Lane(row.device_type_id, row.toolchain_id, row.priority, row.user_name, row.head_created_at)
            for row in rows
            if row.head_created_at is not None
        ]
        return rows[0].now, found

    def _take(
        self, which: ColumnElement[bool], now: datetime, worker_id: str, device: Device, lease_s: float
    ) -> tuple[Job, Attempt] | None:
        row = self._connection.execute(
            update(jobs)
            .where(which, is_in(jobs, "QUEUED"), jobs.c.not_before <= now)
            .values(
                state="RUNNING",
                attempts=jobs.c.attempts + 1,
                worker_id=worker_id,
                lease_until=now + timedelta(seconds=lease_s),
                avoid_device="",
            )
            .returning(*jobs.c)
        ).one_or_none()
        if row is None:
            return None
        attempt = self._connection.execute(
            insert(attempts)
            .values(
                job_id=row.id,
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
            .returning(*attempts.c, literal(None).label("log_size_bytes"))
        ).one()
        return job_from_row(row), attempt_from_row(attempt)


def _is_due(table: Any) -> tuple[ColumnElement[bool], ...]:
    return is_in(table, "QUEUED"), table.c.not_before <= DatabaseNow()


def _of(table: Any, lane: Lane) -> tuple[ColumnElement[bool], ...]:
    return (
        table.c.device_type_id == lane.device_type_id,
        table.c.toolchain_id == lane.toolchain_id,
        table.c.priority == lane.priority,
        table.c.user_name == lane.user,
    )


def _all_lanes(worker_id: str) -> CTE:
    """Every (target, priority, user) with waiting jobs for a worker; a last one of each has no user."""
    waiting = jobs.alias("waiting")

    def extreme(function: Any, column: str, *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
        return (
            select(function(waiting.c[column])).where(is_in(waiting, "QUEUED"), *conditions).scalar_subquery()
        )

    def of_target(table: Any) -> tuple[ColumnElement[bool], ...]:
        return (
            waiting.c.device_type_id == table.c.device_type_id,
            waiting.c.toolchain_id == table.c.toolchain_id,
        )

    served = worker_targets
    levels = (
        select(
            served.c.device_type_id,
            served.c.toolchain_id,
            extreme(func.max, "priority", *of_target(served)).label("priority"),
        )
        .where(served.c.worker_id == worker_id)
        .cte("levels", recursive=True)
    )
    levels = levels.union_all(
        select(
            levels.c.device_type_id,
            levels.c.toolchain_id,
            extreme(func.max, "priority", *of_target(levels), waiting.c.priority < levels.c.priority),
        ).where(levels.c.priority.is_not(None))
    )

    def of_level(table: Any) -> tuple[ColumnElement[bool], ...]:
        return (*of_target(table), waiting.c.priority == table.c.priority)

    lanes = (
        select(
            levels.c.device_type_id,
            levels.c.toolchain_id,
            levels.c.priority,
            extreme(func.min, "user_name", *of_level(levels)).label("user_name"),
        )
        .where(levels.c.priority.is_not(None))
        .cte("lanes", recursive=True)
    )
    return lanes.union_all(
        select(
            lanes.c.device_type_id,
            lanes.c.toolchain_id,
            lanes.c.priority,
            extreme(func.min, "user_name", *of_level(lanes), waiting.c.user_name > lanes.c.user_name),
        ).where(lanes.c.user_name.is_not(None))
    )
