"""Calibration caches as a service: the first that a build comes back with is lent to all that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.services.model_names import model_label, newest_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.calibration_caches import (
        CalibrationCacheKey,
        FiledCalibrationCache,
        ReturnedCalibrationCache,
    )
    from farm.services.ports import Database, Transaction

#: Fewer digits name a cache by accident.
_LEAST_DIGITS = 6


@dataclass(frozen=True)
class CalibrationCacheReport:
    """A filed cache for people.

    Attributes:
        cache: the filed one.
        model: the newest name of its model; the first digits of its digest if it has none.
    """

    cache: FiledCalibrationCache
    model: str

    @property
    def id(self) -> str:
        """What it is called: the first digits of the digest of its bytes."""
        return self.cache.digest.sha256[:12]


def return_calibration_cache(transaction: Transaction, returned: ReturnedCalibrationCache) -> bool:
    """Files what a build came back with unless somebody else was first; whether it was filed.

    For the transaction that ends the attempt: what a failed one measured is not lent to anybody.
    """
    caches = transaction.calibration_caches
    if returned.lent:
        caches.count(returned.key)
    if returned.digest is None:
        return False
    return caches.file(returned.key, returned.digest, expected=returned.expected)


def report_calibration_caches(transaction: Transaction) -> list[CalibrationCacheReport]:
    """Every filed cache, the newest first."""
    names = newest_names(transaction)
    return [
        CalibrationCacheReport(cache, model_label(names, cache.key.model_sha256))
        for cache in transaction.calibration_caches.all()
    ]


def named_calibration_caches(transaction: Transaction, word: str) -> list[CalibrationCacheReport]:
    """The caches whose bytes' digest begins like that. Several keys may have the same bytes.

    Raises:
        NotFoundError: there is none.
        InvalidRequestError: there are different ones.
    """
    hint = "`farm caches --calibration` lists them."
    found = [
        report
        for report in report_calibration_caches(transaction)
        if len(word) >= _LEAST_DIGITS and report.cache.digest.sha256.startswith(word.lower())
    ]
    if not found:
        raise NotFoundError(f"there is no calibration cache {word!r}", hint=hint)
    if len({report.cache.digest for report in found}) > 1:
        raise InvalidRequestError(f"several calibration caches begin with {word!r}", hint=hint)
    return found


def drop_calibration_caches(database: Database, keys: Sequence[CalibrationCacheKey]) -> int:
    """Disowns caches: the next builds calibrate anew. Their bytes stay until garbage collection takes them."""
    with database.transaction() as transaction:
        return sum(transaction.calibration_caches.drop(key) for key in keys)
