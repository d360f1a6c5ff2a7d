"""What every list of signing keys must do: trust is given once, and taken away for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidRequestError, NotFoundError
from tests.behaviours.given import given_a_farm, given_a_finished_job, given_a_running_job
from tests.factories import a_digest, a_signed_manifest, an_outcome

if TYPE_CHECKING:
    from farm.services.ports import Database

ONE, OTHER = "ab" * 32, "ac" * 32


class SigningKeysBehaviour:
    """Tests of `transaction.keys`, and of the engines that they signed.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_keys_are_listed_with_what_was_noted_of_them(self, database: Database) -> None:
        with database.transaction() as transaction:
            assert transaction.keys.add(ONE, "ed25519:one", "gpu07")
        with database.transaction() as transaction:
            assert transaction.keys.add(OTHER, "ed25519:other", "")
        with database.reading() as transaction:
            found = transaction.keys.all()
        assert {key.id: (key.public_key, key.note) for key in found} == {
            ONE: ("ed25519:one", "gpu07"),
            OTHER: ("ed25519:other", ""),
        }
        assert [key.revoked_at for key in found] == [None, None]

    def test_a_revoked_key_stays_revoked_although_it_is_added_again(self, database: Database) -> None:
        with database.transaction() as transaction:
            transaction.keys.add(ONE, "ed25519:one", "")
            assert transaction.keys.revoke(ONE[:4]) == ONE
        with database.reading() as transaction:
            (first,) = transaction.keys.all()
        with database.transaction() as transaction:
            assert not transaction.keys.add(ONE, "ed25519:one", "")
            assert transaction.keys.revoke(ONE) == ONE
        with database.reading() as transaction:
            (second,) = transaction.keys.all()
        assert first.revoked_at is not None
        assert second.revoked_at == first.revoked_at

    def test_only_one_key_is_revoked_at_a_time(self, database: Database) -> None:
        with database.transaction() as transaction:
            transaction.keys.add(ONE, "ed25519:one", "")
            transaction.keys.add(OTHER, "ed25519:other", "")
        with pytest.raises(InvalidRequestError, match="several"), database.transaction() as transaction:
            transaction.keys.revoke("a")
        for wrong in ("", "ff"):
            with pytest.raises(NotFoundError), database.transaction() as transaction:
                transaction.keys.revoke(wrong)

    def test_an_engine_keeps_the_manifest_that_was_signed(self, database: Database) -> None:
        given_a_farm(database)
        _, engine_id = given_a_finished_job(database)
        with database.reading() as transaction:
            engine = transaction.engines.get(engine_id)
        assert engine.signed == a_signed_manifest()
        assert engine.is_signed

    def test_an_engine_does_not_count_as_signed_once_its_key_is_revoked(self, database: Database) -> None:
        given_a_farm(database)
        _, engine_id = given_a_finished_job(
            database, outcome=an_outcome(signed=a_signed_manifest("plan", ONE))
        )
        with database.transaction() as transaction:
            transaction.keys.add(ONE, "ed25519:one", "")
            assert transaction.engines.get(engine_id).is_signed
            transaction.keys.revoke(ONE)
        with database.reading() as transaction:
            assert not transaction.engines.get(engine_id).is_signed

    def test_an_engine_that_nobody_signed_gives_way_to_one_that_somebody_did(
        self, database: Database
    ) -> None:
        given_a_farm(database)
        _, first = given_a_finished_job(database, outcome=an_outcome(engine="old", signed=None))
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            assert transaction.engines.file(job, attempt, an_outcome(engine="new")) == first
        with database.reading() as transaction:
            engine = transaction.engines.get(first)
        assert engine.digest == a_digest("new")
        assert engine.job_id == job.id
        assert engine.is_signed
        assert len(engine.runs) == 2

    def test_an_engine_that_is_signed_gives_way_to_none(self, database: Database) -> None:
        given_a_farm(database)
        _, first = given_a_finished_job(database)
        for signed in (None, a_signed_manifest("new")):
            _, again = given_a_finished_job(database, outcome=an_outcome(engine="new", signed=signed))
            assert again == first
            with database.reading() as transaction:
                assert transaction.engines.get(first).digest == a_digest("plan")
