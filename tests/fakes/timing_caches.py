"""The in-memory stand-in for `TimingCaches`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm.domain.timing_caches import CacheKey, CacheUse, FiledCache, cache_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from farm.domain.digests import Digest
    from farm.domain.work import Attempt


class InMemoryTimingCaches:
    """Implements `TimingCaches`."""

    def __init__(self, tables: Any, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._filed: dict[CacheKey, FiledCache] = tables.timing_caches
        self._uses: dict[int, CacheUse] = tables.cache_uses
        self._now = now

    def find(self, key: CacheKey) -> Digest | None:
        """The cache to lend to a build."""
        return self._filed[key].digest if key in self._filed else None

    def replace(self, key: CacheKey, expected: Digest | None, new: Digest) -> bool:
        """Compares, then swaps."""
        self._tables.artifacts.setdefault(new.sha256, new)
        if self.find(key) != expected:
            return False
        before = self._filed.get(key) or FiledCache(key, new, self._now())
        self._filed[key] = replace(before, digest=new, updated_at=self._now())
        return True

    def count(self, key: CacheKey, *, lent: int = 0, merged: int = 0, saved_s: float = 0.0) -> None:
        """Adds to what a filed cache has done."""
        if key in self._filed:
            cache = self._filed[key]
            self._filed[key] = replace(
                cache, lent=cache.lent + lent, merged=cache.merged + merged, saved_s=cache.saved_s + saved_s
            )

    def record(self, attempt: Attempt, use: CacheUse) -> None:
        """Notes on an attempt what a cache did for it."""
        self._uses[attempt.id] = CacheUse.from_json(use.as_json())

    def use_of(self, attempt: Attempt) -> CacheUse | None:
        """What was noted on an attempt."""
        return self._uses.get(attempt.id)

    def cold_build_s(self, model_sha256: str, key: CacheKey) -> float | None:
        """Of the newest build of the model under the key that was lent nothing."""
        for spec, use in self._newest_first():
            if spec.model_sha256 == model_sha256 and cache_key(spec) == key and use.lent is None:
                return use.build_s
        return None

    def recent(self, keys: Sequence[CacheKey], limit: int) -> dict[CacheKey, list[CacheUse]]:
        """Newest first."""
        return {
            key: [use for spec, use in self._newest_first() if cache_key(spec) == key][:limit] for key in keys
        }

    def all(self) -> list[FiledCache]:
        """The one that changed last first."""
        return sorted(self._filed.values(), key=lambda cache: cache.updated_at, reverse=True)

    def drop(self, key: CacheKey) -> bool:
        """Disowns a cache."""
        return self._filed.pop(key, None) is not None

    def _newest_first(self) -> list[tuple[Any, CacheUse]]:
        return [
            (self._tables.jobs[self._tables.attempts[number].attempt.job_id].job.spec, use)
            for number, use in sorted(self._uses.items(), reverse=True)
        ]
