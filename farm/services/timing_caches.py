"""Timing caches as a service: lent to every build, merged back so that nobody's update is lost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from farm.domain.timing_caches import Merge, cache_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.digests import Digest
    from farm.domain.targets import Target
    from farm.domain.timing_caches import CacheKey, CacheUse, FiledCache, ReturnedCache
    from farm.domain.work import Attempt, Job
    from farm.services.ports import Database, Transaction

#: How many of the newest builds tell how often a cache hits of late.
RECENT_BUILDS = 20


@dataclass(frozen=True)
class CacheReport:
    """A filed cache, and what it has done of late.

    Attributes:
        cache: the filed one.
        recent: what it did for the newest builds, newest first.
    """

    cache: FiledCache
    recent: tuple[CacheUse, ...]

    @property
    def hit_ratio(self) -> float | None:
        """The share of look-ups answered in those recent builds that were lent it and tell."""
        told = [
            (use.hits, use.timed)
            for use in self.recent
            if use.lent is not None and use.hits is not None and use.timed is not None
        ]
        total = sum(hits + timed for hits, timed in told)
        return sum(hits for hits, _ in told) / total if total else None


def return_cache(transaction: Transaction, job: Job, attempt: Attempt, returned: ReturnedCache) -> CacheUse:
    """Files what a build came back with if nobody else did so since it began; notes it on the attempt.

    For the transaction that ends the attempt: an engine and the swap of its cache are one step. Where
    somebody else's cache came in between, `merged` is WAITING: combining takes a device and must not hold the
    engine up.
    """
    key = cache_key(job.spec)
    use = replace(returned.use, cold_build_s=transaction.caches.cold_build_s(job.spec.model_sha256, key))
    if returned.digest is not None:
        swapped = transaction.caches.replace(key, returned.expected, returned.digest)
        use = replace(use, merged=Merge.SWAPPED if swapped else Merge.WAITING)
    transaction.caches.record(attempt, use)
    transaction.caches.count(
        key,
        lent=int(use.lent is not None),
        merged=int(use.merged is Merge.SWAPPED),
        saved_s=use.saved_s or 0.0,
    )
    return use


def merge_cache(
    database: Database, key: CacheKey, attempt: Attempt, use: CacheUse, expected: Digest | None, new: Digest
) -> bool:
    """Files a combined cache if what it was combined with is still the filed one; whether it was."""
    with database.transaction() as transaction:
        if not transaction.caches.replace(key, expected, new):
            return False
        transaction.caches.record(attempt, replace(use, merged=Merge.COMBINED))
        transaction.caches.count(key, merged=1)
        return True


def keep_out(database: Database, attempt: Attempt, use: CacheUse, reason: str) -> None:
    """Notes on an attempt why its cache was not filed."""
    with database.transaction() as transaction:
        transaction.caches.record(attempt, replace(use, merged=Merge.KEPT_OUT, reason=reason))


def report_caches(transaction: Transaction) -> list[CacheReport]:
    """Every filed cache with what it did of late."""
    filed = transaction.caches.all()
    recent = transaction.caches.recent([cache.key for cache in filed], RECENT_BUILDS)
    return [CacheReport(cache, tuple(recent.get(cache.key, ()))) for cache in filed]


def drop_caches(database: Database, keys: Sequence[CacheKey]) -> int:
    """Disowns caches: the next builds time anew. Their bytes stay until garbage collection takes them."""
    with database.transaction() as transaction:
        return sum(transaction.caches.drop(key) for key in keys)


def matching(reports: Sequence[CacheReport], targets: Sequence[Target], flags: str | None) -> list[CacheKey]:
    """The keys of the caches of some targets, and of some flags if they are given."""
    return [
        report.cache.key
        for report in reports
        if report.cache.key.target in targets and flags in (None, report.cache.key.flags)
    ]
