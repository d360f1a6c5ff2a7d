"""What every keeper of calibration caches must do: keep the first for a key, and lend it to nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.calibration import Calibration
from farm.domain.calibration_caches import CalibrationCacheKey, calibration_cache_key
from tests.behaviours.given import OnAFarm, given_a_model, later
from tests.factories import a_build_spec, a_digest, a_model, a_toolchain_id, a_worker
from tests.factories import a_toolchain as the_toolchain

if TYPE_CHECKING:
    from farm.domain.digests import Digest
    from farm.services.ports import Database

OLD, NEW, OTHER = a_digest("old"), a_digest("new"), a_digest("other")
_FOUND = calibration_cache_key(a_build_spec(calibration=Calibration(a_digest("samples").sha256)))
assert _FOUND is not None
KEY: CalibrationCacheKey = _FOUND


class CalibrationCachesBehaviour(OnAFarm):
    """Tests of `transaction.calibration_caches`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_there_is_none_at_first(self, database: Database) -> None:
        assert filed(database) is None

    def test_what_is_filed_is_lent(self, database: Database) -> None:
        assert file(database, NEW)
        assert filed(database) == NEW

    def test_of_two_the_first_stays(self, database: Database) -> None:
        file(database, OLD)
        assert not file(database, NEW)
        assert filed(database) == OLD

    def test_one_that_can_not_be_used_gives_way(self, database: Database) -> None:
        file(database, OLD)
        assert file(database, NEW, expected=OLD)
        assert filed(database) == NEW

    def test_one_that_was_not_expected_stays(self, database: Database) -> None:
        file(database, OLD)
        assert not file(database, NEW, expected=OTHER)
        assert filed(database) == OLD

    def test_one_that_was_disowned_meanwhile_does_not_come_back(self, database: Database) -> None:
        file(database, OLD)
        with database.transaction() as transaction:
            assert transaction.calibration_caches.drop(KEY)
        assert not file(database, NEW, expected=OLD)
        assert filed(database) is None

    def test_only_what_is_filed_can_be_disowned(self, database: Database) -> None:
        with database.transaction() as transaction:
            assert not transaction.calibration_caches.drop(KEY)

    @pytest.mark.parametrize(
        "other",
        [
            replace(KEY, model_sha256=a_model("unet").digest.sha256),
            replace(KEY, calibration_sha256=a_digest("other samples").sha256),
            replace(KEY, algorithm="MINMAX_CALIBRATION"),
            replace(KEY, toolchain=a_toolchain_id(variant="cu11")),
        ],
        ids=["model", "data", "algorithm", "toolchain"],
    )
    def test_it_is_lent_to_nobody_else(self, database: Database, other: CalibrationCacheKey) -> None:
        given_a_model(database, a_model("unet"), "unet")
        with database.transaction() as transaction:
            transaction.fleet.register(a_worker(toolchains=(the_toolchain(), the_toolchain(variant="cu11"))))
        file(database, NEW)
        with database.transaction() as transaction:
            assert transaction.calibration_caches.find(other) is None
            assert transaction.calibration_caches.file(other, OTHER)
            assert transaction.calibration_caches.drop(other)
        assert filed(database) == NEW

    def test_all_that_are_filed_are_listed_with_how_often_they_were_lent(self, database: Database) -> None:
        other = replace(KEY, algorithm="MINMAX_CALIBRATION")
        file(database, OLD)
        later()
        with database.transaction() as transaction:
            transaction.calibration_caches.file(other, OTHER)
            transaction.calibration_caches.count(KEY)
            transaction.calibration_caches.count(KEY)
        with database.reading() as transaction:
            first, second = transaction.calibration_caches.all()
        assert (first.key, first.digest, first.lent) == (other, OTHER, 0)
        assert (second.key, second.digest, second.lent) == (KEY, OLD, 2)
        assert first.created_at > second.created_at

    def test_lending_what_is_not_filed_counts_nothing(self, database: Database) -> None:
        with database.transaction() as transaction:
            transaction.calibration_caches.count(KEY)
        with database.reading() as transaction:
            assert transaction.calibration_caches.all() == []


def file(database: Database, new: Digest, *, expected: Digest | None = None) -> bool:
    """Files a cache under the key of these tests."""
    with database.transaction() as transaction:
        return transaction.calibration_caches.file(KEY, new, expected=expected)


def filed(database: Database) -> Digest | None:
    """What is filed under the key of these tests."""
    with database.reading() as transaction:
        return transaction.calibration_caches.find(KEY)
