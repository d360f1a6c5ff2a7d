"""Timing caches, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.digests import Digest
    from farm.domain.timing_caches import CacheKey, CacheUse, FiledCache
    from farm.domain.work import Attempt


class TimingCaches(Protocol):
    """The timing caches that builds are lent; every change compares first, so that none is lost."""

    def find(self, key: CacheKey) -> Digest | None:
        """The cache to lend to a build."""

    def replace(self, key: CacheKey, expected: Digest | None, new: Digest) -> bool:
        """Files a cache in place of the expected one, or of none; false if something else is filed."""

    def count(self, key: CacheKey, *, lent: int = 0, merged: int = 0, saved_s: float = 0.0) -> None:
        """Adds to what a filed cache has done."""

    def record(self, attempt: Attempt, use: CacheUse) -> None:
        """Notes on an attempt what a cache did for it."""

    def use_of(self, attempt: Attempt) -> CacheUse | None:
        """What was noted on an attempt; none if it built nothing that has caches."""

    def cold_build_s(self, model_sha256: str, key: CacheKey) -> float | None:
        """How long the last build of a model took under a key that was lent nothing."""

    def recent(self, keys: Sequence[CacheKey], limit: int) -> dict[CacheKey, list[CacheUse]]:
        """What the caches of some keys did for the newest builds, newest first."""

    def all(self) -> list[FiledCache]:
        """Every filed cache, the one that changed last first."""

    def drop(self, key: CacheKey) -> bool:
        """Disowns a cache; false if none is filed."""
