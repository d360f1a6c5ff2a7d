"""Device types, devices, toolchains and workers in SQL."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import LABEL_STYLE_TABLENAME_PLUS_COL, select, update

from farm.domain.digests import digest_of_json
from farm.domain.targets import Device, DeviceKind, DeviceType, Target, ToolchainId
from farm.domain.toolchains import ToolchainDescription
from farm.domain.work import Worker
from farm.storage.columns import DatabaseNow
from farm.storage.rows import insert_once
from farm.storage.tables import device_types, devices, jobs, targets, toolchains, worker_targets, workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from farm.domain.work import WorkerRegistration

#: A worker whose last heartbeat is older is taken for dead.
WORKER_SILENCE_S = 30


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

    def beat(self, worker_id: str) -> None:
        """Notes that a worker lives."""
        self._connection.execute(
            update(workers)
            .where(workers.c.id == worker_id)
            .values(heartbeat_at=DatabaseNow(), stopped_at=None)
        )

    def stop(self, worker_id: str) -> None:
        """Notes that a worker has left."""
        self._connection.execute(
            update(workers).where(workers.c.id == worker_id).values(stopped_at=DatabaseNow())
        )

    def workers(self) -> list[Worker]:
        """Every worker, the live ones first."""
        now = self._connection.execute(select(DatabaseNow())).scalar_one()
        served: dict[str, list[Target]] = {}
        query = (
            select(worker_targets.c.worker_id, device_types, toolchains.c.name, toolchains.c.version)
            .add_columns(toolchains.c.variant.label("toolchain_variant"))
            .join(device_types, device_types.c.id == worker_targets.c.device_type_id)
            .join(toolchains, toolchains.c.id == worker_targets.c.toolchain_id)
        )
        for row in self._connection.execute(query):
            toolchain = ToolchainId(row.name, row.version, row.toolchain_variant)
            served.setdefault(row.worker_id, []).append(Target(_device_type_from_row(row), toolchain))
        running = select(jobs.c.worker_id, jobs.c.id).where(jobs.c.state == "RUNNING")
        current = {row.worker_id: row.id for row in self._connection.execute(running)}
        found = []
        query_workers = (
            select(workers, devices, device_types)
            .join(devices, devices.c.uuid == workers.c.device_uuid)
            .join(device_types, device_types.c.id == devices.c.device_type_id)
            .order_by(workers.c.started_at)
            .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
        )
        for row in self._connection.execute(query_workers):
            own = tuple(served.get(row.workers_id, ()))
            is_live = (
                row.workers_stopped_at is None
                and row.workers_heartbeat_at + timedelta(seconds=WORKER_SILENCE_S) > now
            )
            found.append(
                Worker(
                    id=row.workers_id,
                    host=row.workers_host,
                    pid=row.workers_pid,
                    device=_device_from_labelled_row(row),
                    toolchains=tuple(sorted({target.toolchain for target in own})),
                    targets=own,
                    started_at=row.workers_started_at,
                    heartbeat_at=row.workers_heartbeat_at,
                    stopped_at=row.workers_stopped_at,
                    is_live=is_live,
                    current_job=current.get(row.workers_id, "") if is_live else "",
                )
            )
        return sorted(found, key=lambda worker: not worker.is_live)

    def device_types(self) -> dict[str, DeviceType]:
        """Every device type ever seen, by slug."""
        rows = self._connection.execute(
            select(device_types).order_by(device_types.c.kind, device_types.c.slug)
        )
        return {row.slug: _device_type_from_row(row) for row in rows}

    def devices(self) -> list[Device]:
        """Every device ever seen."""
        query = (
            select(devices, device_types)
            .join(device_types, device_types.c.id == devices.c.device_type_id)
            .order_by(devices.c.host, devices.c.position)
            .set_label_style(LABEL_STYLE_TABLENAME_PLUS_COL)
        )
        return [_device_from_labelled_row(row) for row in self._connection.execute(query)]

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
            (_device_type_from_row(row), ToolchainId(row.name, row.version, row.toolchain_variant))
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


def _device_type_from_row(row: Row[Any]) -> DeviceType:
    return DeviceType(
        DeviceKind(row.kind), row.product_name, row.compute_capability, row.units, row.memory_gib, row.variant
    )


def _device_from_labelled_row(row: Row[Any]) -> Device:
    device_type = DeviceType(
        DeviceKind(row.device_types_kind),
        row.device_types_product_name,
        row.device_types_compute_capability,
        row.device_types_units,
        row.device_types_memory_gib,
        row.device_types_variant,
    )
    return Device(
        row.devices_uuid,
        device_type,
        row.devices_position,
        row.devices_memory_mib,
        row.devices_driver_version,
        row.devices_host,
    )
