"""The in-memory stand-in for `CalibrationCaches`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm.domain.calibration_caches import CalibrationCacheKey, FiledCalibrationCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from farm.domain.digests import Digest


class InMemoryCalibrationCaches:
    """Implements `CalibrationCaches`."""

    def __init__(self, tables: Any, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._filed: dict[CalibrationCacheKey, FiledCalibrationCache] = tables.calibration_caches
        self._now = now

    def find(self, key: CalibrationCacheKey) -> Digest | None:
        """The cache to lend to a build."""
        return self._filed[key].digest if key in self._filed else None

    def file(self, key: CalibrationCacheKey, new: Digest, *, expected: Digest | None = None) -> bool:
        """Files a cache where none is, or in place of the expected one."""
        self._tables.artifacts.setdefault(new.sha256, new)
        if self.find(key) != expected:
            return False
        before = self._filed.get(key) or FiledCalibrationCache(key, new, self._now())
        self._filed[key] = replace(before, digest=new, created_at=self._now())
        return True

    def count(self, key: CalibrationCacheKey) -> None:
        """Notes that a build was lent the filed cache."""
        if key in self._filed:
            self._filed[key] = replace(self._filed[key], lent=self._filed[key].lent + 1)

    def all(self) -> list[FiledCalibrationCache]:
        """The newest first."""
        return sorted(self._filed.values(), key=lambda cache: cache.created_at, reverse=True)

    def drop(self, key: CalibrationCacheKey) -> bool:
        """Disowns a cache."""
        return self._filed.pop(key, None) is not None
