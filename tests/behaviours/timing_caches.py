"""What every keeper of timing caches must do: swap by comparison, and remember what each was good for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.jobs import AttemptState, JobState
from farm.domain.timing_caches import CacheKey, Merge, cache_key
from tests.behaviours.given import OnAFarm, given_a_model, given_a_running_job, later
from tests.factories import a_build_spec, a_cache_use, a_digest, a_model, a_target, a_toolchain_id, a_worker
from tests.factories import a_toolchain as the_toolchain

if TYPE_CHECKING:
    from farm.domain.digests import Digest
    from farm.domain.specs import BuildSpec
    from farm.domain.timing_caches import CacheUse
    from farm.domain.work import Attempt
    from farm.services.ports import Database

KEY = cache_key(a_build_spec())
OLD, NEW, OTHER = a_digest("old"), a_digest("new"), a_digest("other")


class TimingCachesBehaviour(OnAFarm):
    """Tests of `transaction.caches`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    # Swapping.

    def test_there_is_none_at_first(self, database: Database) -> None:
        assert filed(database) is None

    def test_the_first_one_is_filed_where_none_was_expected(self, database: Database) -> None:
        assert swap(database, None, NEW)
        assert filed(database) == NEW

    def test_the_expected_one_gives_way(self, database: Database) -> None:
        swap(database, None, OLD)
        assert swap(database, OLD, NEW)
        assert filed(database) == NEW

    @pytest.mark.parametrize("expected", [None, OTHER])
    def test_one_that_was_not_expected_stays(self, database: Database, expected: Digest | None) -> None:
        swap(database, None, OLD)
        assert not swap(database, expected, NEW)
        assert filed(database) == OLD

    def test_one_that_was_disowned_meanwhile_does_not_come_back(self, database: Database) -> None:
        swap(database, None, OLD)
        with database.transaction() as transaction:
            assert transaction.caches.drop(KEY)
        assert not swap(database, OLD, NEW)
        assert filed(database) is None

    def test_the_same_bytes_may_be_filed_again(self, database: Database) -> None:
        swap(database, None, OLD)
        assert swap(database, OLD, OLD)

    def test_only_what_is_filed_can_be_disowned(self, database: Database) -> None:
        with database.transaction() as transaction:
            assert not transaction.caches.drop(KEY)

    def test_keys_stay_apart(self, database: Database) -> None:
        with database.transaction() as transaction:
            transaction.fleet.register(a_worker(toolchains=(the_toolchain(), the_toolchain(variant="cu11"))))
        other_variant = a_target(toolchain=a_toolchain_id(variant="cu11"))
        swap(database, None, NEW)
        for other in (CacheKey(other_variant, KEY.flags), replace(KEY, flags="fp32")):
            with database.transaction() as transaction:
                assert transaction.caches.find(other) is None
                assert transaction.caches.replace(other, None, OTHER)
        assert filed(database) == NEW

    # The list.

    def test_all_that_are_filed_are_listed_with_what_they_have_done(self, database: Database) -> None:
        other = replace(KEY, flags="fp32")
        swap(database, None, OLD)
        later()
        with database.transaction() as transaction:
            transaction.caches.replace(other, None, OTHER)
            transaction.caches.count(KEY, lent=1, saved_s=2.5)
            transaction.caches.count(KEY, lent=1, merged=1, saved_s=-0.5)
        with database.reading() as transaction:
            first, second = transaction.caches.all()
        assert (first.key, first.digest, first.lent, first.merged) == (other, OTHER, 0, 0)
        assert (second.key, second.digest, second.lent, second.merged) == (KEY, OLD, 2, 1)
        assert second.saved_s == 2.0
        assert first.updated_at > second.updated_at

    def test_a_swap_keeps_what_was_counted(self, database: Database) -> None:
        swap(database, None, OLD)
        with database.transaction() as transaction:
            transaction.caches.count(KEY, lent=3)
        swap(database, OLD, NEW)
        with database.reading() as transaction:
            (cache,) = transaction.caches.all()
        assert (cache.lent, cache.digest) == (3, NEW)

    # What it did for a build.

    def test_an_attempt_has_nothing_noted_at_first(self, database: Database) -> None:
        _, attempt = given_a_running_job(database)
        with database.reading() as transaction:
            assert transaction.caches.use_of(attempt) is None

    def test_what_is_noted_on_an_attempt_is_read_back(self, database: Database) -> None:
        use = a_cache_use(lent=OLD.sha256, taken=True, merged=Merge.COMBINED, throttled={"samples": 4})
        attempt = built(database, a_build_spec(), use)
        with database.reading() as transaction:
            assert transaction.caches.use_of(attempt) == use

    def test_a_note_is_replaced_by_the_next_one(self, database: Database) -> None:
        attempt = built(database, a_build_spec(), a_cache_use(merged=Merge.WAITING))
        with database.transaction() as transaction:
            transaction.caches.record(attempt, a_cache_use(merged=Merge.COMBINED))
        with database.reading() as transaction:
            assert transaction.caches.use_of(attempt) == a_cache_use(merged=Merge.COMBINED)

    def test_the_cold_build_is_the_newest_of_the_model_that_was_lent_nothing(
        self, database: Database
    ) -> None:
        given_a_model(database, a_model("unet"), "unet")
        for salt, use in (
            ("a", a_cache_use()),
            ("b", replace(a_cache_use(), build_s=50.0)),
            ("c", replace(a_cache_use(), lent=OLD.sha256, build_s=10.0)),
        ):
            built(database, a_build_spec(salt=salt), use)
        other_flags = a_build_spec(builder_config={})
        built(database, other_flags, replace(a_cache_use(), flags=cache_key(other_flags).flags, build_s=5.0))
        unet = a_model("unet").digest.sha256
        built(database, a_build_spec(model_sha256=unet), replace(a_cache_use(), build_s=7.0))
        with database.reading() as transaction:
            assert transaction.caches.cold_build_s(a_model().digest.sha256, KEY) == 50.0
            assert transaction.caches.cold_build_s(unet, KEY) == 7.0

    def test_where_there_was_no_cold_build_none_is_known(self, database: Database) -> None:
        built(database, a_build_spec(), a_cache_use(lent=OLD.sha256))
        with database.reading() as transaction:
            assert transaction.caches.cold_build_s(a_model().digest.sha256, KEY) is None

    def test_the_newest_uses_of_a_key_come_first_and_only_so_many(self, database: Database) -> None:
        other = replace(KEY, flags="fp32")
        for number in range(3):
            built(database, a_build_spec(salt=str(number)), replace(a_cache_use(), build_s=float(number)))
        with database.reading() as transaction:
            found = transaction.caches.recent([KEY, other], 2)
        assert [use.build_s for use in found[KEY]] == [2.0, 1.0]
        assert found[other] == []


def filed(database: Database) -> Digest | None:
    """What is filed under the default key."""
    with database.reading() as transaction:
        return transaction.caches.find(KEY)


def swap(database: Database, expected: Digest | None, new: Digest) -> bool:
    """A swap in a transaction of its own."""
    with database.transaction() as transaction:
        return transaction.caches.replace(KEY, expected, new)


def built(database: Database, spec: BuildSpec, use: CacheUse) -> Attempt:
    """An attempt that ended well, with its note."""
    _, attempt = given_a_running_job(database, spec)
    with database.transaction() as transaction:
        transaction.jobs.close(attempt, AttemptState.SUCCEEDED, JobState.SUCCEEDED, log=a_digest("log"))
        transaction.caches.record(attempt, use)
    return attempt
