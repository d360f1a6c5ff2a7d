"""Calibration caches, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farm.domain.calibration_caches import CalibrationCacheKey, FiledCalibrationCache
    from farm.domain.digests import Digest


class CalibrationCaches(Protocol):
    """The calibration caches that builds are lent; of two for one key the first is kept."""

    def find(self, key: CalibrationCacheKey) -> Digest | None:
        """The cache to lend to a build."""

    def file(self, key: CalibrationCacheKey, new: Digest, *, expected: Digest | None = None) -> bool:
        """Files a cache where none is, or in place of the expected one; false if something else is filed."""

    def count(self, key: CalibrationCacheKey) -> None:
        """Notes that a build was lent the filed cache."""

    def all(self) -> list[FiledCalibrationCache]:
        """Every filed cache, the newest first."""

    def drop(self, key: CalibrationCacheKey) -> bool:
        """Disowns a cache; false if none is filed."""
