"""Device types, devices, toolchains and workers in SQL."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, and_, bindparam, delete, or_, select, update

from farm.domain.digests import digest_of_json
from farm.domain.fleet import Drain
from farm.domain.targets import Device, DeviceType, ToolchainId
from farm.domain.toolchains import ToolchainDescription
from farm.storage.autocommit import is_autocommit, need_not_last
from farm.storage.columns import DatabaseNow
from farm.storage.fleet_rows import device_from_labelled_row, device_type_from_row
from farm.storage.rows import insert_once
from farm.storage.tables import (
    device_types,
    devices,
    duties,
    targets,
    toolchains,
    worker_drains,
    worker_targets,
    workers,
)
from farm.storage.worker_rows import all_workers

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection, Update

    from farm.domain.fleet import Worker, WorkerRegistration


class SqlFleetCatalog:
    """Implements `FleetCatalog`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def register(self, registration: WorkerRegistration) -> dict[DeviceType, str]:
        """Files a worker with its device, toolchains and targets; the slug of each device type."""
        self.describe(registration.device_types, registration.toolchains)
        device = registration.device
        type_id = self.device_type_id(device.device_type)
        self._file_device(device, type_id)
        # Once: it may be said again where nobody knows whether the first time was committed.
        insert_once(
            self._connection,
            workers,
            id=registration.id,
            name=registration.name,
            host=registration.host,
            pid=registration.pid,
            version=registration.version,
            device_uuid=device.uuid,
            started_at=DatabaseNow(),
            heartbeat_at=DatabaseNow(),
        )
        slugs = {}
        for device_type, toolchain in registration.targets:
            insert_once(
                self._connection,
                worker_targets,
                worker_id=registration.id,
                device_type_id=self.device_type_id(device_type),
                toolchain_id=self.toolchain_id(toolchain.id),
            )
        for slug, device_type in self.device_types().items():
            slugs[device_type] = slug
        return {device_type: slugs[device_type] for device_type in registration.device_types}

    def describe(
        self, device_types_: Sequence[DeviceType], toolchains_: Sequence[ToolchainDescription]
    ) -> None:
        """Files what a machine could serve, with no worker behind it yet."""
        # In one order for all: machines that register at once wait for each other's rows, never in a circle.
        types = sorted(device_types_, key=lambda device_type: str(device_type.as_json()))
        descriptions = sorted(toolchains_, key=lambda toolchain: toolchain.id)
        for device_type in types:
            self.device_type_id(device_type)
        for toolchain in descriptions:
            self._file_toolchain(toolchain)
        for device_type in types:
            for toolchain in descriptions:
                if toolchain.can_serve(device_type):
                    insert_once(
                        self._connection,
                        targets,
                        device_type_id=self.device_type_id(device_type),
                        toolchain_id=self.toolchain_id(toolchain.id),
                    )

    def beat(self, worker_id: str) -> str:
        """Notes that a worker lives; why it is to take nothing new, or an empty text."""
        statement = _beating(is_autocommit(self._connection))
        return str(self._connection.execute(statement, {"of_worker": worker_id}).scalar_one_or_none() or "")

    def drain(self, name: str, reason: str, requested_by: str) -> None:
        """Tells the workers of a name to finish what they do and take nothing new, until `resume`."""
        insert_once(
            self._connection,
            worker_drains,
            name=name,
            reason=reason,
            requested_by=requested_by,
            created_at=DatabaseNow(),
        )

    def resume(self, name: str) -> bool:
        """Lets the workers of a name take jobs again; false if they were not drained."""
        gone = self._connection.execute(delete(worker_drains).where(worker_drains.c.name == name))
        return bool(gone.rowcount)

    def hold_duty(self, duty: str, holder: str, lease_s: float) -> bool:
        """Takes a duty that one process does for all, or keeps it; false while somebody else has it."""
        now = self._connection.execute(select(DatabaseNow())).scalar_one()
        until = now + timedelta(seconds=lease_s)
        held = self._connection.execute(
            update(duties)
            .where(duties.c.name == duty, or_(duties.c.holder == holder, duties.c.lease_until < now))
            .values(holder=holder, lease_until=until)
        )
        if held.rowcount:
            return True
        return insert_once(self._connection, duties, name=duty, holder=holder, lease_until=until)

    def leave_duties(self, holder: str) -> None:
        """Gives up every duty, so that somebody else takes it at once."""
        self._connection.execute(delete(duties).where(duties.c.holder == holder))

    def drains(self) -> list[Drain]:
        """Every standing drain, by name."""
        rows = self._connection.execute(select(worker_drains).order_by(worker_drains.c.name))
        return [Drain(row.name, row.reason, row.requested_by, row.created_at) for row in rows]

    def leave(self, worker_id: str) -> None:
        """Notes that a worker finishes what it does and then stops."""
        self._note(workers.c.id == worker_id, leaving_at=DatabaseNow())

    def stop(self, worker_id: str) -> None:
        """Notes that a worker has left."""
        self._note(workers.c.id == worker_id, stopped_at=DatabaseNow())

    def die(self, worker_ids: Collection[str], host: str) -> int:
        """Notes that workers of a host are dead; how many of them nobody had known to be."""
        return self._note(
            and_(
                workers.c.id.in_(worker_ids),
                workers.c.host == host,
                workers.c.stopped_at.is_(None),
                workers.c.died_at.is_(None),
            ),
            died_at=DatabaseNow(),
        )

    def _note(self, which: ColumnElement[bool], **values: DatabaseNow) -> int:
        return self._connection.execute(update(workers).where(which).values(**values)).rowcount

    def workers(self) -> list[Worker]:
        """Every worker, the live ones first."""
        return all_workers(self._connection)

    def device_types(self) -> dict[str, DeviceType]:
        """Every device type ever seen, by slug."""
        rows = self._connection.execute(
            select(device_types).order_by(device_types.c.kind, device_types.c.slug)
        )
        return {row.slug: device_type_from_row(row) for row in rows}

    def devices(self) -> list[Device]:
        """Every device ever seen."""
        query = (
            select(devices, device_types)
            .join(device_types, device_types.c.id == devices.c.device_type_id)
            .order_by(devices.c.host, devices.c.position)
            .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
        )
        return [device_from_labelled_row(row) for row in self._connection.execute(query)]

    def toolchains(self) -> list[ToolchainDescription]:
        """Every toolchain ever seen."""
        rows = self._connection.execute(select(toolchains.c.description).order_by(toolchains.c.name))
        return [ToolchainDescription.from_json(row.description) for row in rows]

    def known_targets(self) -> set[tuple[DeviceType, ToolchainId]]:
        """Every pair that some machine has been able to serve."""
        query = (
            select(device_types, toolchains.c.name, toolchains.c.version)
            .add_columns(toolchains.c.variant.label("toolchain_variant"))
            .join(targets, targets.c.device_type_id == device_types.c.id)
            .join(toolchains, toolchains.c.id == targets.c.toolchain_id)
        )
        return {
            (device_type_from_row(row), ToolchainId(row.name, row.version, row.toolchain_variant))
            for row in self._connection.execute(query)
        }

    def device_type_id(self, device_type: DeviceType) -> int:
        """The row of a device type, made if it is new."""
        identity = digest_of_json(device_type.as_json()).sha256
        query = select(device_types.c.id).where(device_types.c.identity_sha256 == identity)
        found = self._connection.execute(query).scalar_one_or_none()
        if found is not None:
            return int(found)
        values = {
            **device_type.as_json(),
            "identity_sha256": identity,
            "created_at": DatabaseNow(),
        }
        # The short name goes to the first product that has it, the long name to a second one; what is the
        # same even in that (another compute capability, another spelling) gets a piece of its identity.
        long_name = device_type.distinct_slug
        for slug in (device_type.slug, long_name, f"{long_name}-{identity[:8]}"):
            if insert_once(self._connection, device_types, slug=slug, **values):
                break
        return int(self._connection.execute(query).scalar_one())

    def toolchain_id(self, toolchain: ToolchainId) -> int:
        """The row of a toolchain that was described before."""
        query = select(toolchains.c.id).where(
            toolchains.c.name == toolchain.name,
            toolchains.c.version == toolchain.version,
            toolchains.c.variant == toolchain.variant,
        )
        return int(self._connection.execute(query).scalar_one())

    def _file_toolchain(self, toolchain: ToolchainDescription) -> None:
        insert_once(
            self._connection,
            toolchains,
            **toolchain.id.as_json(),
            description=toolchain.as_json(),
            created_at=DatabaseNow(),
        )
        # A later release of the farm may know more of the same toolchain.
        self._connection.execute(
            update(toolchains)
            .where(toolchains.c.id == self.toolchain_id(toolchain.id))
            .values(description=toolchain.as_json())
        )

    def _file_device(self, device: Device, type_id: int) -> None:
        values = {
            "device_type_id": type_id,
            "host": device.host,
            "position": device.index,
            "memory_mib": device.memory_mib,
            "driver_version": device.driver_version,
            "last_seen_at": DatabaseNow(),
        }
        insert_once(self._connection, devices, uuid=device.uuid, first_seen_at=DatabaseNow(), **values)
        self._connection.execute(update(devices).where(devices.c.uuid == device.uuid).values(**values))


@cache
def _beating(is_alone: bool) -> Update:
    """A worker's heartbeat, answered by why it is to drain; built once, since it is sent all the time."""
    name = select(workers.c.name).where(workers.c.id == bindparam("of_worker")).scalar_subquery()
    reason = select(worker_drains.c.reason).where(worker_drains.c.name == name).scalar_subquery()
    return (
        update(workers)
        .where(workers.c.id == bindparam("of_worker"))
        .values(heartbeat_at=DatabaseNow(), stopped_at=None, died_at=None)
        .returning(reason, *need_not_last(is_alone=is_alone))
    )
