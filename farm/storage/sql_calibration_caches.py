"""Calibration caches in SQL: the first one for a key stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, update

from farm.domain.calibration_caches import CalibrationCacheKey, FiledCalibrationCache
from farm.domain.digests import Digest
from farm.domain.targets import ToolchainId
from farm.storage.columns import DatabaseNow
from farm.storage.rows import insert_once
from farm.storage.sql_artifacts import note_artifact
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.tables import artifacts, calibration_caches, toolchains

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SqlCalibrationCaches:
    """Implements `CalibrationCaches`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fleet = SqlFleetCatalog(connection)

    def find(self, key: CalibrationCacheKey) -> Digest | None:
        """The cache to lend to a build."""
        row = self._connection.execute(
            select(artifacts.c.sha256, artifacts.c.size_bytes)
            .join(calibration_caches, calibration_caches.c.artifact_sha256 == artifacts.c.sha256)
            .where(*self._of(key))
        ).one_or_none()
        return None if row is None else Digest(row.sha256, row.size_bytes)

    def file(self, key: CalibrationCacheKey, new: Digest, *, expected: Digest | None = None) -> bool:
        """Files a cache where none is, or in place of the expected one; false if something else is filed."""
        note_artifact(self._connection, new, "calibration-cache")
        if expected is None:
            return insert_once(
                self._connection,
                calibration_caches,
                model_sha256=key.model_sha256,
                calibration_sha256=key.calibration_sha256,
                algorithm=key.algorithm,
                toolchain_id=self._fleet.toolchain_id(key.toolchain),
                artifact_sha256=new.sha256,
                created_at=DatabaseNow(),
            )
        swapped = self._connection.execute(
            update(calibration_caches)
            .where(*self._of(key), calibration_caches.c.artifact_sha256 == expected.sha256)
            .values(artifact_sha256=new.sha256, created_at=DatabaseNow())
        )
        return swapped.rowcount == 1

    def count(self, key: CalibrationCacheKey) -> None:
        """Notes that a build was lent the filed cache."""
        self._connection.execute(
            update(calibration_caches).where(*self._of(key)).values(lent=calibration_caches.c.lent + 1)
        )

    def all(self) -> list[FiledCalibrationCache]:
        """Every filed cache, the newest first."""
        query = (
            select(calibration_caches, artifacts.c.size_bytes)
            .add_columns(toolchains.c.name, toolchains.c.version, toolchains.c.variant)
            .join(artifacts, artifacts.c.sha256 == calibration_caches.c.artifact_sha256)
            .join(toolchains, toolchains.c.id == calibration_caches.c.toolchain_id)
            .order_by(
                calibration_caches.c.created_at.desc(),
                calibration_caches.c.model_sha256,
                calibration_caches.c.calibration_sha256,
                calibration_caches.c.algorithm,
            )
        )
        return [
            FiledCalibrationCache(
                CalibrationCacheKey(
                    row.model_sha256,
                    row.calibration_sha256,
                    row.algorithm,
                    ToolchainId(row.name, row.version, row.variant),
                ),
                Digest(row.artifact_sha256, row.size_bytes),
                row.created_at,
                row.lent,
            )
            for row in self._connection.execute(query)
        ]

    def drop(self, key: CalibrationCacheKey) -> bool:
        """Disowns a cache; false if none is filed."""
        return self._connection.execute(delete(calibration_caches).where(*self._of(key))).rowcount == 1

    def _of(self, key: CalibrationCacheKey) -> list[Any]:
        return [
            calibration_caches.c.model_sha256 == key.model_sha256,
            calibration_caches.c.calibration_sha256 == key.calibration_sha256,
            calibration_caches.c.algorithm == key.algorithm,
            calibration_caches.c.toolchain_id == self._fleet.toolchain_id(key.toolchain),
        ]
