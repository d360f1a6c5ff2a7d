"""The pulse: a worker that drains itself says so until that is noted, and not once more."""

from __future__ import annotations

import pytest

from farm.domain.errors import DatabaseUnavailableError
from tests.factories import a_worker
from tests.fakes import InMemoryDatabase
from workers.pulse import Pulse

NAME = "gpu07-0"


@pytest.fixture
def database() -> InMemoryDatabase:
    """With one worker."""
    made = InMemoryDatabase()
    with made.transaction() as transaction:
        transaction.fleet.register(a_worker(id="w-1", name=NAME))
    return made


def beat(database: InMemoryDatabase, pulse: Pulse) -> None:
    """As if it were due."""
    pulse._next = 0.0
    with database.transaction() as transaction:
        pulse.beat(transaction)


def drain_reason(database: InMemoryDatabase) -> str:
    """Why the worker takes nothing, as SQL has it."""
    with database.reading() as transaction:
        return transaction.fleet.workers()[0].drain_reason


def test_a_drain_and_its_end_are_heard(database: InMemoryDatabase) -> None:
    pulse = Pulse("w-1", NAME)
    beat(database, pulse)
    assert not pulse.takes_nothing
    with database.transaction() as transaction:
        transaction.fleet.drain(NAME, "new driver", "ada")
    beat(database, pulse)
    assert pulse.drain_reason == "new driver"
    with database.transaction() as transaction:
        transaction.fleet.resume(NAME)
    beat(database, pulse)
    assert not pulse.takes_nothing


def test_a_worker_that_drains_itself_takes_nothing_before_anybody_has_noted_it(
    database: InMemoryDatabase,
) -> None:
    pulse = Pulse("w-1", NAME)
    beat(database, pulse)
    pulse.drain_itself("its GPU is gone")
    beat(database, pulse)
    assert pulse.takes_nothing
    assert pulse.has_unsaid


def test_what_could_not_be_noted_is_said_again(database: InMemoryDatabase) -> None:
    pulse = Pulse("w-1", NAME)
    pulse.drain_itself("its GPU is gone")

    def goes_away() -> None:
        raise DatabaseUnavailableError("the database is away")

    database.before_writing = goes_away
    with pytest.raises(DatabaseUnavailableError):
        pulse.note_drain(database)
    assert drain_reason(database) == ""
    assert pulse.takes_nothing
    pulse.note_drain(database)
    assert drain_reason(database) == "its GPU is gone"
    assert not pulse.has_unsaid


def test_a_worker_that_drained_itself_is_resumed_like_any_other(database: InMemoryDatabase) -> None:
    pulse = Pulse("w-1", NAME)
    pulse.drain_itself("its GPU is gone")
    pulse.note_drain(database)
    beat(database, pulse)
    assert pulse.takes_nothing
    with database.transaction() as transaction:
        assert transaction.fleet.resume(NAME)
    beat(database, pulse)
    assert not pulse.takes_nothing
    assert drain_reason(database) == ""


def test_a_resume_before_the_next_beat_counts(database: InMemoryDatabase) -> None:
    pulse = Pulse("w-1", NAME)
    pulse.drain_itself("its GPU is gone")
    pulse.note_drain(database)
    with database.transaction() as transaction:
        assert transaction.fleet.resume(NAME)
    pulse.note_drain(database)
    beat(database, pulse)
    assert not pulse.takes_nothing
    assert drain_reason(database) == ""


def test_that_a_worker_leaves_is_noted_once_and_said_again_until_it_is(database: InMemoryDatabase) -> None:
    pulse = Pulse("w-1", NAME)

    def goes_away() -> None:
        raise DatabaseUnavailableError("the database is away")

    pulse.leave()
    assert pulse.takes_nothing
    database.before_writing = goes_away
    with pytest.raises(DatabaseUnavailableError):
        pulse.note_drain(database)
    assert pulse.has_unsaid
    pulse.note_drain(database)
    assert not pulse.has_unsaid
    assert drain_reason(database) == "it was told to stop"


def test_that_the_database_is_back_is_logged_once(
    database: InMemoryDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    pulse = Pulse("w-1", NAME)
    pulse.missed()
    with caplog.at_level("INFO"):
        beat(database, pulse)
        beat(database, pulse)
    assert [r.getMessage().split(",")[0] for r in caplog.records] == ["the database answers again"]
