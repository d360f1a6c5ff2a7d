"""What every keeper of references must do: lend the first that was filed for a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.stored_references import StoredReference
from tests.behaviours.given import given_a_model
from tests.factories import a_digest, a_model

if TYPE_CHECKING:
    from farm.services.ports import Database

KEY, MODEL = a_digest("key").sha256, a_model().digest.sha256
FIRST = StoredReference(a_digest("first"), "onnxruntime 1.23.2 fp32")
SECOND = StoredReference(a_digest("second"), "onnxruntime 1.24.0 fp32")


def found(database: Database, key: str = KEY) -> StoredReference | None:
    with database.reading() as transaction:
        return transaction.references.find(key)


def file(database: Database, new: StoredReference) -> bool:
    with database.transaction() as transaction:
        return transaction.references.file(KEY, MODEL, new)


class StoredReferencesBehaviour:
    """Tests of `transaction.references`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    @pytest.fixture(autouse=True)
    def _model(self, database: Database) -> None:
        given_a_model(database, a_model(), "m")

    def test_there_is_none_at_first(self, database: Database) -> None:
        assert found(database) is None

    def test_what_is_filed_is_found_under_its_key_alone(self, database: Database) -> None:
        assert file(database, FIRST)
        assert found(database) == FIRST
        assert found(database, a_digest("other").sha256) is None

    def test_of_two_the_first_stays(self, database: Database) -> None:
        file(database, FIRST)
        assert not file(database, SECOND)
        assert found(database) == FIRST

    def test_one_that_was_lent_is_still_there(self, database: Database) -> None:
        file(database, FIRST)
        with database.transaction() as transaction:
            transaction.references.touch(KEY)
        assert found(database) == FIRST
