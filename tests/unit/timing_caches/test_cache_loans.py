"""A build's loan of a timing cache: lent before it, given back after it, combined where somebody else was faster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import BuildError, StoreUnavailableError
from farm.domain.timing_caches import MAX_CACHE_BYTES, Merge
from farm.services.timing_caches import drop_caches
from tests.factories import a_digest
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from tests.unit.timing_caches.loans import KEY, Farm, a_build, a_built, filed, finish
from workers.condition_watch import Throttling
from workers.timing_caches import MERGE_ROUNDS, CachesRefusedError
from workers.toolchains.toolchain import BuildOutput

if TYPE_CHECKING:
    from pathlib import Path


def test_a_cache_that_came_in_between_is_combined_with(farm: Farm, database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"mine"})
    farm.file("theirs")
    assert finish(farm, job, attempt, returned, loan).merged is Merge.COMBINED
    assert farm.entries(filed(database)) == {"mine", "theirs"}


def test_a_toolchain_without_timing_caches_leaves_no_note(farm: Farm, database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    assert farm.loan(job, attempt).give_back(BuildOutput(), 1.0, None) is None


@pytest.mark.parametrize(
    ("throttling", "merged"),
    [
        (None, Merge.SWAPPED),
        (Throttling(40, {}), Merge.SWAPPED),
        (Throttling(40, {"SwPowerCap": 1}), Merge.KEPT_OUT),
    ],
)
def test_a_cache_recorded_under_throttling_is_not_merged(
    farm: Farm, database: InMemoryDatabase, throttling: Throttling | None, merged: Merge
) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"mine"}, throttling)
    use = finish(farm, job, attempt, returned, loan)
    assert use.merged is merged
    assert farm.entries(filed(database)) == ({"mine"} if merged is Merge.SWAPPED else set())
    assert ("throttled during the build: SwPowerCap in 1 of 40" in use.reason) == (merged is Merge.KEPT_OUT)
    assert use.throttled == (throttling and {"samples": 40, **throttling.reasons})


def test_a_cache_that_grew_beyond_the_limit_is_not_filed(farm: Farm, database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    with loan.returned_path.open("wb") as file:
        file.truncate(MAX_CACHE_BYTES + 1)
    returned = loan.give_back(a_built(), 1.0, None)
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, use.bytes_after) == (Merge.KEPT_OUT, MAX_CACHE_BYTES + 1)
    assert "farm caches drop" in use.reason
    assert filed(database) is None


def test_a_build_that_left_a_link_for_a_cache_files_nothing(farm: Farm, database: InMemoryDatabase) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    secret = farm.folder / "secret"
    secret.write_text("secret")
    loan.returned_path.symlink_to(secret)
    returned = loan.give_back(a_built(), 1.0, None)
    assert returned is not None
    assert returned.digest is None


@pytest.mark.parametrize("harm", ["gone", "altered"])
def test_a_filed_cache_that_can_not_be_read_is_not_lent_and_is_replaced(
    tmp_path: Path, database: InMemoryDatabase, harm: str
) -> None:
    store = InMemoryArtifactStore()
    farm = Farm(tmp_path, database, store)
    digest = farm.file("old") if harm == "altered" else a_digest("never stored")
    if harm == "altered":
        store.spoil(digest, b"others")
    else:
        with database.transaction() as transaction:
            transaction.caches.replace(KEY, None, digest)
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    assert loan.lend() is None
    returned = farm.build(loan, {"mine"})
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, use.lent, use.taken) == (Merge.SWAPPED, None, None)
    assert farm.entries(filed(database)) == {"mine"}


def test_a_cache_that_came_in_between_and_can_not_be_read_gives_way(
    farm: Farm, database: InMemoryDatabase
) -> None:
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"mine"})
    farm.store.spoil(farm.file("theirs"), b"others")
    assert finish(farm, job, attempt, returned, loan).merged is Merge.COMBINED
    assert farm.entries(filed(database)) == {"mine"}


@pytest.mark.parametrize(
    "error", [BuildError("not on a Sunday"), StoreUnavailableError("away"), OSError("full")]
)
def test_caches_that_can_not_be_combined_cost_only_the_update(
    farm: Farm, database: InMemoryDatabase, error: Exception
) -> None:
    def refuse(*_paths: Path) -> None:
        raise error

    job, attempt = a_build(database)
    loan = farm.loan(job, attempt, combine=refuse)
    returned = farm.build(loan, {"mine"})
    farm.file("theirs")
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, str(error) in use.reason) == (Merge.KEPT_OUT, True)
    assert farm.entries(filed(database)) == {"theirs"}


def test_a_builder_that_refuses_to_combine_is_not_asked_again(farm: Farm, database: InMemoryDatabase) -> None:
    asked: list[Path] = []

    def refuse(theirs: Path, *_paths: Path) -> None:
        asked.append(theirs)
        raise CachesRefusedError("there is a part of Myelin's in it")

    for salt in ("one", "two"):
        job, attempt = a_build(database, salt)
        loan = farm.loan(job, attempt, combine=refuse)
        returned = farm.build(loan, {f"mine {salt}"})
        farm.file(f"theirs {salt}")
        use = finish(farm, job, attempt, returned, loan)
        assert (use.merged, "refused" in use.reason or "Myelin" in use.reason) == (Merge.KEPT_OUT, True)
    assert len(asked) == 1


def test_a_build_that_timed_nothing_new_leaves_the_filed_cache_alone(
    farm: Farm, database: InMemoryDatabase
) -> None:
    before = farm.file("all that it needs")
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, set(), entries_before=7, entries_after=7, hits=30)
    newer = farm.file("all that it needs", "theirs")
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, "timed nothing" in use.reason, use.lent) == (Merge.KEPT_OUT, True, before.sha256)
    assert filed(database) == newer


def test_a_cache_that_has_grown_is_filed_though_no_entry_is_new(
    farm: Farm, database: InMemoryDatabase
) -> None:
    farm.file("of convolutions")
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"a part of Myelin's"}, entries_before=7, entries_after=7, hits=0)
    assert finish(farm, job, attempt, returned, loan).merged is Merge.SWAPPED


def test_a_cache_that_was_disowned_during_the_build_does_not_come_back(
    farm: Farm, database: InMemoryDatabase
) -> None:
    farm.file("bad")
    job, attempt = a_build(database)
    loan = farm.loan(job, attempt)
    returned = farm.build(loan, {"mine"})
    drop_caches(database, [KEY])
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, "disowned" in use.reason) == (Merge.KEPT_OUT, True)
    assert filed(database) is None


def test_combining_ends_where_others_are_always_faster(farm: Farm, database: InMemoryDatabase) -> None:
    turns: list[int] = []

    def others_go_first(theirs: Path, ours: Path, both: Path) -> None:
        farm.combine(theirs, ours, both)
        turns.append(len(turns))
        farm.file(f"theirs {len(turns)}")

    job, attempt = a_build(database)
    loan = farm.loan(job, attempt, combine=others_go_first)
    returned = farm.build(loan, {"mine"})
    farm.file("theirs")
    use = finish(farm, job, attempt, returned, loan)
    assert (use.merged, len(turns)) == (Merge.KEPT_OUT, MERGE_ROUNDS)
