"""The fleet at a glance, in SQL: what waits and runs for every target, in a handful of statements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, case, exists, func, literal, or_, select

from farm.domain.overview import Rivals, TargetLoad
from farm.storage.claim_statements import is_in
from farm.storage.columns import DatabaseNow
from farm.storage.fleet_rows import target_from_rows
from farm.storage.rows import database_now
from farm.storage.tables import device_types, jobs, toolchains, worker_targets, workers
from farm.storage.worker_rows import is_live, takes_nothing

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection, Select

    from farm.domain.targets import Target
    from farm.domain.work import Job

Key = tuple[int, int]


class SqlOverview:
    """The part of `JobLedger` that says how the queues stand."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def loads(self) -> list[TargetLoad]:
        """Every target that has jobs which have not ended, or live workers; the longest wait first."""
        now = database_now(self._connection)
        waiting = self._of_jobs("QUEUED", func.min(jobs.c.not_before))
        running = self._of_jobs("RUNNING", func.min(jobs.c.not_before))
        live = self._of_workers(now)
        draining = self._of_workers(now, takes_nothing())
        runs = jobs.alias("runs")
        busy = self._of_workers(now, exists().where(is_in(runs, "RUNNING"), runs.c.worker_id == workers.c.id))
        slugs, targets = self._names({*waiting, *running, *live})
        loads = [
            TargetLoad(
                target=targets[key],
                slug=slugs[key],
                waiting=waiting.get(key, (0, None))[0],
                running=running.get(key, (0, None))[0],
                oldest_since=waiting.get(key, (0, None))[1],
                live_workers=live.get(key, 0),
                busy_workers=busy.get(key, 0),
                draining_workers=draining.get(key, 0),
            )
            for key in targets
        ]
        return sorted(loads, key=lambda load: (load.oldest_since or now, load.slug, str(load.target)))

    def rivals(self, job: Job, worker_id: str = "") -> Rivals:
        """Who waits for the same target as a job, or for any target of a worker."""
        own = select(jobs).where(jobs.c.id == job.id).subquery("own")
        served = worker_targets
        of_target = and_(
            jobs.c.device_type_id == own.c.device_type_id, jobs.c.toolchain_id == own.c.toolchain_id
        )
        of_worker = exists().where(
            served.c.worker_id == worker_id,
            served.c.device_type_id == jobs.c.device_type_id,
            served.c.toolchain_id == jobs.c.toolchain_id,
        )
        due = (
            is_in(jobs, "QUEUED"),
            of_worker if worker_id else of_target,
            jobs.c.not_before <= DatabaseNow(),
            jobs.c.id != own.c.id,
        )
        older = or_(
            jobs.c.created_at < own.c.created_at,
            and_(jobs.c.created_at == own.c.created_at, jobs.c.position < own.c.position),
        )
        query = (
            select(
                jobs.c.user_name,
                func.sum(case((jobs.c.priority > own.c.priority, 1), else_=0)).label("higher"),
                func.sum(case((jobs.c.priority == own.c.priority, 1), else_=0)).label("same"),
                func.sum(case((and_(jobs.c.priority == own.c.priority, older), 1), else_=0)).label("older"),
            )
            .join_from(jobs, own, literal(value=True))
            .where(*due)
            .group_by(jobs.c.user_name)
        )
        rows = self._connection.execute(query).all()
        return Rivals(
            higher_priority=sum(int(row.higher) for row in rows),
            older_of_user=sum(int(row.older) for row in rows if row.user_name == job.user),
            users={row.user_name: int(row.same) for row in rows if row.user_name != job.user and row.same},
        )

    def _of_jobs(self, state: str, oldest: Any) -> dict[Key, tuple[int, datetime | None]]:
        query = (
            select(jobs.c.device_type_id, jobs.c.toolchain_id, func.count().label("count"))
            .add_columns(oldest.label("oldest"))
            .where(is_in(jobs, state))
            .group_by(jobs.c.device_type_id, jobs.c.toolchain_id)
        )
        return {
            (row.device_type_id, row.toolchain_id): (int(row[2]), row.oldest)
            for row in self._connection.execute(query)
        }

    def _of_workers(self, now: datetime, *conditions: Any) -> dict[Key, int]:
        query: Select[Any] = (
            select(worker_targets.c.device_type_id, worker_targets.c.toolchain_id, func.count())
            .join(workers, workers.c.id == worker_targets.c.worker_id)
            .where(is_live(now), *conditions)
            .group_by(worker_targets.c.device_type_id, worker_targets.c.toolchain_id)
        )
        return {
            (row.device_type_id, row.toolchain_id): int(row[2]) for row in self._connection.execute(query)
        }

    def _names(self, keys: set[Key]) -> tuple[dict[Key, str], dict[Key, Target]]:
        types = {row.id: row for row in self._connection.execute(select(device_types))}
        stacks = {row.id: row for row in self._connection.execute(select(toolchains))}
        slugs = {key: str(types[key[0]].slug) for key in keys}
        return slugs, {key: target_from_rows(types[key[0]], stacks[key[1]]) for key in keys}
