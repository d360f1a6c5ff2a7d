"""Timing caches in SQL: swapped by comparison, so that nobody's update is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update

from farm.domain.digests import Digest
from farm.domain.targets import Target, ToolchainId
from farm.domain.timing_caches import CacheKey, CacheUse, FiledCache
from farm.storage.columns import DatabaseNow
from farm.storage.rows import insert_once
from farm.storage.sql_artifacts import note_artifact
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.tables import artifacts, attempts, device_types, jobs, timing_caches, toolchains

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from farm.domain.work import Attempt

#: Among how many of the newest attempts a cold build of a model is looked for.
_COLD_CANDIDATES = 50
#: How many of the newest attempts are looked through for what caches did of late.
_RECENT_ATTEMPTS = 5000


class SqlTimingCaches:
    """Implements `TimingCaches`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fleet = SqlFleetCatalog(connection)

    def find(self, key: CacheKey) -> Digest | None:
        """The cache to lend to a build."""
        row = self._connection.execute(
            select(artifacts.c.sha256, artifacts.c.size_bytes)
            .join(timing_caches, timing_caches.c.artifact_sha256 == artifacts.c.sha256)
            .where(*self._of(key))
        ).one_or_none()
        return None if row is None else Digest(row.sha256, row.size_bytes)

    def replace(self, key: CacheKey, expected: Digest | None, new: Digest) -> bool:
        """Files a cache in place of the expected one, or of none; false if something else is filed."""
        note_artifact(self._connection, new, "timing-cache")
        if expected is None:
            return insert_once(
                self._connection,
                timing_caches,
                device_type_id=self._fleet.device_type_id(key.target.device_type),
                toolchain_id=self._fleet.toolchain_id(key.target.toolchain),
                flags=key.flags,
                artifact_sha256=new.sha256,
                updated_at=DatabaseNow(),
            )
        # One conditional update: the row's own lock makes it the merge's lock, on both databases.
        swapped = self._connection.execute(
            update(timing_caches)
            .where(*self._of(key), timing_caches.c.artifact_sha256 == expected.sha256)
            .values(artifact_sha256=new.sha256, updated_at=DatabaseNow())
        )
        return swapped.rowcount == 1

    def count(self, key: CacheKey, *, lent: int = 0, merged: int = 0, saved_s: float = 0.0) -> None:
        """Adds to what a filed cache has done."""
        self._connection.execute(
            update(timing_caches)
            .where(*self._of(key))
            .values(
                lent=timing_caches.c.lent + lent,
                merged=timing_caches.c.merged + merged,
                saved_s=timing_caches.c.saved_s + saved_s,
            )
        )

    def record(self, attempt: Attempt, use: CacheUse) -> None:
        """Notes on an attempt what a cache did for it."""
        self._connection.execute(
            update(attempts).where(attempts.c.id == attempt.id).values(timing_cache=use.as_json())
        )

    def use_of(self, attempt: Attempt) -> CacheUse | None:
        """What was noted on an attempt; none if it built nothing that has caches."""
        query = select(attempts.c.timing_cache).where(attempts.c.id == attempt.id)
        document = self._connection.execute(query).scalar_one_or_none()
        return None if document is None else CacheUse.from_json(document)

    def cold_build_s(self, model_sha256: str, key: CacheKey) -> float | None:
        """How long the last build of a model took under a key that was lent nothing."""
        query = (
            select(attempts.c.timing_cache)
            .join(jobs, jobs.c.id == attempts.c.job_id)
            .where(
                jobs.c.model_sha256 == model_sha256,
                jobs.c.device_type_id == self._fleet.device_type_id(key.target.device_type),
                jobs.c.toolchain_id == self._fleet.toolchain_id(key.target.toolchain),
                attempts.c.timing_cache.is_not(None),
            )
            .order_by(attempts.c.id.desc())
            .limit(_COLD_CANDIDATES)
        )
        for document in self._connection.execute(query).scalars():
            use = CacheUse.from_json(document)
            if use.flags == key.flags and use.lent is None and use.build_s is not None:
                return use.build_s
        return None

    def recent(self, keys: Sequence[CacheKey], limit: int) -> dict[CacheKey, list[CacheUse]]:
        """What the caches of some keys did for the newest builds, newest first."""
        of_target: dict[tuple[int, int], Target] = {
            (
                self._fleet.device_type_id(key.target.device_type),
                self._fleet.toolchain_id(key.target.toolchain),
            ): key.target
            for key in keys
        }
        newest = select(func.coalesce(func.max(attempts.c.id), 0)).scalar_subquery()
        query = (
            select(jobs.c.device_type_id, jobs.c.toolchain_id, attempts.c.timing_cache)
            .join(jobs, jobs.c.id == attempts.c.job_id)
            .where(attempts.c.id > newest - _RECENT_ATTEMPTS, attempts.c.timing_cache.is_not(None))
            .order_by(attempts.c.id.desc())
        )
        found: dict[CacheKey, list[CacheUse]] = {key: [] for key in keys}
        for row in self._connection.execute(query):
            target = of_target.get((row.device_type_id, row.toolchain_id))
            use = CacheUse.from_json(row.timing_cache)
            uses = found.get(CacheKey(target, use.flags)) if target is not None else None
            if uses is not None and len(uses) < limit:
                uses.append(use)
        return found

    def all(self) -> list[FiledCache]:
        """Every filed cache, the one that changed last first."""
        query = (
            select(timing_caches, artifacts.c.size_bytes, device_types.c.slug, toolchains.c.name)
            .add_columns(toolchains.c.version, toolchains.c.variant)
            .join(artifacts, artifacts.c.sha256 == timing_caches.c.artifact_sha256)
            .join(device_types, device_types.c.id == timing_caches.c.device_type_id)
            .join(toolchains, toolchains.c.id == timing_caches.c.toolchain_id)
            .order_by(timing_caches.c.updated_at.desc(), timing_caches.c.flags)
        )
        types = self._fleet.device_types()
        return [
            FiledCache(
                CacheKey(Target(types[row.slug], ToolchainId(row.name, row.version, row.variant)), row.flags),
                Digest(row.artifact_sha256, row.size_bytes),
                row.updated_at,
                row.lent,
                row.merged,
                row.saved_s,
            )
            for row in self._connection.execute(query)
        ]

    def drop(self, key: CacheKey) -> bool:
        """Disowns a cache; false if none is filed."""
        return self._connection.execute(delete(timing_caches).where(*self._of(key))).rowcount == 1

    def _of(self, key: CacheKey) -> list[Any]:
        return [
            timing_caches.c.device_type_id == self._fleet.device_type_id(key.target.device_type),
            timing_caches.c.toolchain_id == self._fleet.toolchain_id(key.target.toolchain),
            timing_caches.c.flags == key.flags,
        ]
