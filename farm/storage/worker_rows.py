"""Workers in SQL: which are live, which take jobs, and all that is known of each."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, and_, exists, or_, select

from farm.domain.fleet import LEAVING, WORKER_SILENCE_S, Worker
from farm.storage.fleet_rows import device_from_labelled_row, target_from_row
from farm.storage.rows import database_now
from farm.storage.tables import (
    device_types,
    devices,
    jobs,
    toolchains,
    worker_drains,
    worker_targets,
    workers,
)

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

    from farm.domain.targets import Target


def is_live(now: datetime) -> ColumnElement[bool]:
    """That a row of `workers` is one of a worker that lives, as far as anybody knows."""
    return and_(
        workers.c.stopped_at.is_(None),
        workers.c.died_at.is_(None),
        workers.c.heartbeat_at > now - timedelta(seconds=WORKER_SILENCE_S),
    )


def takes_nothing() -> ColumnElement[bool]:
    """That a row of `workers` is one of a worker that takes nothing new."""
    return or_(workers.c.leaving_at.is_not(None), exists().where(worker_drains.c.name == workers.c.name))


def all_workers(connection: Connection) -> list[Worker]:
    """Every worker, the live ones first."""
    now = database_now(connection)
    served: dict[str, list[Target]] = {}
    query_targets = (
        select(worker_targets.c.worker_id, device_types, toolchains.c.name, toolchains.c.version)
        .add_columns(toolchains.c.variant.label("toolchain_variant"))
        .join(device_types, device_types.c.id == worker_targets.c.device_type_id)
        .join(toolchains, toolchains.c.id == worker_targets.c.toolchain_id)
    )
    for row in connection.execute(query_targets):
        served.setdefault(row.worker_id, []).append(target_from_row(row))
    running = select(jobs.c.worker_id, jobs.c.id).where(jobs.c.state == "RUNNING")
    current = {row.worker_id: row.id for row in connection.execute(running)}
    query = (
        select(workers, devices, device_types, worker_drains.c.reason, is_live(now).label("is_live"))
        .outerjoin(worker_drains, worker_drains.c.name == workers.c.name)
        .join(devices, devices.c.uuid == workers.c.device_uuid)
        .join(device_types, device_types.c.id == devices.c.device_type_id)
        .order_by(workers.c.started_at)
        .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
    )
    found = []
    for row in connection.execute(query):
        own = tuple(served.get(row.workers_id, ()))
        found.append(
            Worker(
                id=row.workers_id,
                host=row.workers_host,
                pid=row.workers_pid,
                device=device_from_labelled_row(row),
                toolchains=tuple(sorted({target.toolchain for target in own})),
                targets=own,
                started_at=row.workers_started_at,
                heartbeat_at=row.workers_heartbeat_at,
                stopped_at=row.workers_stopped_at,
                is_live=row.is_live,
                current_job=current.get(row.workers_id, "") if row.is_live else "",
                name=row.workers_name,
                drain_reason=row.worker_drains_reason or (LEAVING if row.workers_leaving_at else ""),
            )
        )
    return sorted(found, key=lambda worker: not worker.is_live)
