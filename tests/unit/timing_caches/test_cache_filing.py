"""Timing caches are swapped with the engine, kept out, summed and disowned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.timing_caches import Merge
from farm.services.attempts import finish_attempt
from farm.services.timing_caches import drop_caches, report_caches
from tests.factories import a_digest, a_returned_cache, an_outcome
from tests.unit.timing_caches.loans import KEY, LOG, a_build, filed, use_of

if TYPE_CHECKING:
    from tests.fakes import InMemoryDatabase


def test_a_cache_that_nobody_changed_meanwhile_is_swapped_with_the_engine(database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    finish_attempt(database, job, attempt, an_outcome(timing_cache=a_returned_cache("mine")), LOG)
    assert filed(database) == a_digest("mine")
    assert use_of(database, attempt).merged is Merge.SWAPPED


def test_a_cache_that_somebody_changed_meanwhile_waits_and_the_engine_does_not(
    database: InMemoryDatabase,
) -> None:
    job, attempt = a_build(database)
    with database.transaction() as transaction:
        transaction.caches.replace(KEY, None, a_digest("theirs"))
    number = finish_attempt(database, job, attempt, an_outcome(timing_cache=a_returned_cache("mine")), LOG)
    with database.reading() as transaction:
        assert transaction.engines.get(number).digest == a_digest("plan")
    assert filed(database) == a_digest("theirs")
    assert use_of(database, attempt).merged is Merge.WAITING


def test_a_cache_that_is_kept_out_leaves_the_filed_one_and_its_reason(database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    returned = a_returned_cache(None, reason="the GPU was throttled")
    finish_attempt(database, job, attempt, an_outcome(timing_cache=returned), LOG)
    assert filed(database) is None
    use = use_of(database, attempt)
    assert (use.merged, use.reason) == (Merge.KEPT_OUT, "the GPU was throttled")


def test_loans_merges_and_savings_are_summed(database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    finish_attempt(database, job, attempt, an_outcome(timing_cache=a_returned_cache("first")), LOG)
    for salt, build_s in (("a", 20.0), ("b", 25.0)):
        job, attempt = a_build(database, salt)
        returned = a_returned_cache(salt, filed(database), entries_before=40, hits=50, build_s=build_s)
        finish_attempt(database, job, attempt, an_outcome(timing_cache=returned), LOG)
    with database.reading() as transaction:
        (report,) = report_caches(transaction)
    assert (report.cache.lent, report.cache.merged, report.cache.saved_s) == (2, 3, 40.0 + 35.0)
    # The cold build before was lent nothing, so it says nothing of the cache.
    assert report.hit_ratio == 1.0


def test_a_disowned_cache_is_lent_to_nobody(database: InMemoryDatabase) -> None:
    with database.transaction() as transaction:
        transaction.caches.replace(KEY, None, a_digest("bad"))
    assert drop_caches(database, [KEY, replace(KEY, flags="fp32")]) == 1
    assert filed(database) is None
