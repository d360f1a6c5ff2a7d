"""Canaries in SQL, and the marks that they leave on devices and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from farm.domain.canaries import Canary, Suspicion, Verdict
from farm.domain.digests import Digest
from farm.domain.targets import ToolchainId
from farm.storage.columns import DatabaseNow, storable_text
from farm.storage.sql_artifacts import note_artifact
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.tables import artifacts, canaries, devices, runs, toolchains

if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from sqlalchemy import Connection, Row, Select

    from farm.domain.targets import DeviceType


class SqlCanaries:
    """Implements `Canaries`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fleet = SqlFleetCatalog(connection)

    def add(self, canary: Canary) -> Canary:
        """Files a canary of a device that is registered, now; as it is filed."""
        note_artifact(self._connection, canary.engine, "canary")
        low, high = canary.interval_ms or (None, None)
        number = self._connection.execute(
            insert(canaries)
            .values(
                device_uuid=canary.device_uuid,
                toolchain_id=self._fleet.toolchain_id(canary.toolchain),
                artifact_sha256=canary.engine.sha256,
                host=storable_text(canary.host),
                driver_version=storable_text(canary.driver_version),
                worker_id=canary.worker_id,
                measured_at=DatabaseNow(),
                median_ms=canary.median_ms,
                interval_low_ms=low,
                interval_high_ms=high,
                conditions=dict(canary.conditions) or None,
                verdict=canary.verdict.value,
                reason=storable_text(canary.reason),
            )
            .returning(canaries.c.id)
        ).scalar_one()
        return _canary(self._connection.execute(_rows().where(canaries.c.id == number)).one())

    def of_device(self, device_uuid: str, limit: int = 200) -> list[Canary]:
        """The newest canaries of a device, oldest first."""
        query = (
            _rows().where(canaries.c.device_uuid == device_uuid).order_by(canaries.c.id.desc()).limit(limit)
        )
        return [_canary(row) for row in self._connection.execute(query)][::-1]

    def newest(self, device_uuid: str, device_type: DeviceType, toolchain: ToolchainId) -> Canary | None:
        """The newest canary of a device by a toolchain, else the newest of its type: whose engine to time next."""
        query = (
            _rows()
            .join(devices, devices.c.uuid == canaries.c.device_uuid)
            .where(
                devices.c.device_type_id == self._fleet.device_type_id(device_type),
                canaries.c.toolchain_id == self._fleet.toolchain_id(toolchain),
            )
            .order_by((canaries.c.device_uuid == device_uuid).desc(), canaries.c.id.desc())
            .limit(1)
        )
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _canary(row)

    def accept(self, canary_id: int, verdict: Verdict, reason: str) -> None:
        """Gives a canary another verdict: only the operator may."""
        self._connection.execute(
            update(canaries).where(canaries.c.id == canary_id).values(verdict=verdict.value, reason=reason)
        )

    def suspects(self) -> dict[str, Suspicion]:
        """The devices that are not trusted, by UUID."""
        query = select(devices.c.uuid, devices.c.suspect_since, devices.c.suspect_reason).where(
            devices.c.suspect_since.is_not(None)
        )
        return {
            row.uuid: Suspicion(row.suspect_since, row.suspect_reason)
            for row in self._connection.execute(query)
        }

    def suspect(self, device_uuid: str, reason: str) -> None:
        """Marks a device; one that is marked stays as it is."""
        self._connection.execute(
            update(devices)
            .where(devices.c.uuid == device_uuid, devices.c.suspect_since.is_(None))
            .values(suspect_since=DatabaseNow(), suspect_reason=storable_text(reason))
        )

    def trust(self, device_uuid: str) -> bool:
        """Takes the mark off a device; false if there was none."""
        changed = self._connection.execute(
            update(devices)
            .where(devices.c.uuid == device_uuid, devices.c.suspect_since.is_not(None))
            .values(suspect_since=None, suspect_reason="")
        )
        return bool(changed.rowcount)

    def flag_runs(self, device_uuid: str, since: datetime, reason: str) -> int:
        """Marks the runs that a device has measured since then; how many were not marked before."""
        changed = self._connection.execute(
            update(runs)
            .where(runs.c.device_uuid == device_uuid, runs.c.started_at > since, runs.c.suspect == "")
            .values(suspect=storable_text(reason))
        )
        return int(changed.rowcount)


def _rows() -> Select[Any]:
    return (
        select(
            canaries, artifacts.c.size_bytes, toolchains.c.name, toolchains.c.version, toolchains.c.variant
        )
        .join(artifacts, artifacts.c.sha256 == canaries.c.artifact_sha256)
        .join(toolchains, toolchains.c.id == canaries.c.toolchain_id)
    )


def _canary(row: Row[Any]) -> Canary:
    has_interval = row.interval_low_ms is not None and row.interval_high_ms is not None
    return Canary(
        device_uuid=row.device_uuid,
        toolchain=ToolchainId(row.name, row.version, row.variant),
        engine=Digest(row.artifact_sha256, row.size_bytes),
        host=row.host,
        driver_version=row.driver_version,
        worker_id=row.worker_id,
        median_ms=row.median_ms,
        interval_ms=(row.interval_low_ms, row.interval_high_ms) if has_interval else None,
        conditions=row.conditions or {},
        verdict=Verdict(row.verdict),
        reason=row.reason,
        id=row.id,
        measured_at=row.measured_at,
    )
