"""What the sweeper looks for in SQL: due jobs, jobs that waited too long, time that nobody was charged for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import exists, func, literal_column, or_, select, update

from farm.domain.fairness import decayed
from farm.domain.jobs import AVOID_DEVICE_S
from farm.domain.work import WakeUp
from farm.storage.claim_statements import is_in, wanted_device
from farm.storage.fleet_rows import target_from_row
from farm.storage.job_rows import job_from_row
from farm.storage.rows import database_now, failure_values, insert_once
from farm.storage.tables import (
    attempts,
    device_types,
    jobs,
    toolchains,
    user_usage,
    worker_targets,
    workers,
)
from farm.storage.worker_rows import is_live, takes_nothing

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

    from farm.domain.jobs import Failure
    from farm.domain.targets import Target
    from farm.domain.work import Job

#: Wake-ups of one target at a time: what more workers could take is told the next time.
_MOST_WAKE_UPS = 64
_MOST_CHARGED = 1000


class SqlSweeping:
    """The part of `JobLedger` that the sweeper uses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def wake_ups(self, targets: Collection[Target] | None = None) -> list[WakeUp]:
        """For every target as many as it has idle workers and due jobs.

        Args:
            targets: only for these; none for all.
        """
        now = database_now(self._connection)
        runs = jobs.alias("runs")
        idle = (
            select(worker_targets.c.device_type_id, worker_targets.c.toolchain_id, func.count().label("idle"))
            .join(workers, workers.c.id == worker_targets.c.worker_id)
            .where(
                is_live(now),
                ~takes_nothing(),
                ~exists().where(is_in(runs, "RUNNING"), runs.c.worker_id == workers.c.id),
            )
            .group_by(worker_targets.c.device_type_id, worker_targets.c.toolchain_id)
            .subquery()
        )
        query = (
            select(idle, device_types, toolchains.c.name, toolchains.c.version)
            .add_columns(toolchains.c.variant.label("toolchain_variant"))
            .join(device_types, device_types.c.id == idle.c.device_type_id)
            .join(toolchains, toolchains.c.id == idle.c.toolchain_id)
        )
        takers = select(workers.c.device_uuid).where(is_live(now), ~takes_nothing())
        found = []
        for row in self._connection.execute(query).all():
            target = target_from_row(row)
            if targets is not None and target not in targets:
                continue
            due = select(jobs.c.id).where(
                is_in(jobs, "QUEUED"),
                jobs.c.device_type_id == row.device_type_id,
                jobs.c.toolchain_id == row.toolchain_id,
                jobs.c.not_before <= now,
                # What waits for a device that nobody serves wakes none of the others, again and again.
                or_(wanted_device(jobs).is_(None), wanted_device(jobs).in_(takers)),
            )
            # In the order of `ix_jobs_waiting`: the same ones each time, so that nobody is told anew of others in vain.
            in_order = (jobs.c.priority, jobs.c.user_name, jobs.c.created_at, jobs.c.position)
            some = due.order_by(*in_order).limit(min(row.idle, _MOST_WAKE_UPS))
            ids = self._connection.execute(some).scalars()
            found += [WakeUp(target, job_id) for job_id in ids]
        return found

    def overdue(self) -> list[Job]:
        """Jobs that have waited for longer than they may."""
        # Asked for first: a clock that runs on while a statement does is of no use to an index.
        query = select(jobs).where(
            is_in(jobs, "QUEUED"), jobs.c.queue_deadline_at < database_now(self._connection)
        )
        return [job_from_row(row) for row in self._connection.execute(query)]

    def give_up(self, job: Job, failure: Failure) -> bool:
        """Fails a job that still waits beyond its time; false if it does not."""
        now = database_now(self._connection)
        changed = self._connection.execute(
            update(jobs)
            .where(jobs.c.id == job.id, is_in(jobs, "QUEUED"), jobs.c.queue_deadline_at < now)
            .values(state="FAILED", finished_at=now, **failure_values(failure))
        )
        return bool(changed.rowcount == 1)

    def forgive_devices(self) -> int:
        """Lets the devices that failed a job have it again, where no other one took it in time."""
        earliest = database_now(self._connection) - timedelta(seconds=AVOID_DEVICE_S)
        changed = self._connection.execute(
            update(jobs)
            .where(
                is_in(jobs, "QUEUED"),
                jobs.c.avoid_device != literal_column("''"),
                jobs.c.not_before <= earliest,
            )
            .values(avoid_device="")
        )
        return int(changed.rowcount)

    def charge_shares(self) -> int:
        """Adds the time of attempts that ended to their users' shares, each once; how many it added."""
        rows = self._connection.execute(
            select(attempts.c.id, attempts.c.claimed_at, attempts.c.finished_at, jobs.c.user_name)
            .join(jobs, jobs.c.id == attempts.c.job_id)
            .where(~attempts.c.is_charged, attempts.c.finished_at.is_not(None))
            .order_by(attempts.c.id)
            .limit(_MOST_CHARGED)
            .with_for_update(of=attempts, skip_locked=True)
        ).all()
        took: dict[str, float] = {}
        for row in rows:
            device_s = (row.finished_at - row.claimed_at).total_seconds()
            took[row.user_name] = took.get(row.user_name, 0.0) + max(device_s, 0.0)
        # In one order for all: two who charge at once wait for each other's users, but never in a circle.
        for user in sorted(took):
            self._charge(user, took[user], database_now(self._connection))
        if rows:
            self._connection.execute(
                update(attempts).where(attempts.c.id.in_([row.id for row in rows])).values(is_charged=True)
            )
        return len(rows)

    def _charge(self, user: str, device_s: float, now: datetime) -> None:
        insert_once(self._connection, user_usage, user_name=user, device_s=0.0, updated_at=now)
        had = self._connection.execute(
            select(user_usage).where(user_usage.c.user_name == user).with_for_update()
        ).one()
        left = decayed(had.device_s, (now - had.updated_at).total_seconds())
        self._connection.execute(
            update(user_usage)
            .where(user_usage.c.user_name == user)
            .values(device_s=left + device_s, updated_at=now)
        )
