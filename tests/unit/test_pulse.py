"""The pulse: a worker that drains itself says so until it knows that it was heard."""

from __future__ import annotations

import pytest

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
    assert not pulse.is_due
    pulse.drain_itself("its GPU is gone")
    assert pulse.takes_nothing
    assert pulse.is_due, "the next beat is not waited for"


def test_what_was_rolled_back_is_said_again(database: InMemoryDatabase) -> None:
    pulse = Pulse("w-1", NAME)
    pulse.drain_itself("its GPU is gone")

    def fails() -> None:
        with database.transaction() as transaction:
            pulse.beat(transaction)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    with database.reading() as transaction:
        assert transaction.fleet.workers()[0].drain_reason == ""
    assert pulse.takes_nothing
    beat(database, pulse)
    with database.reading() as transaction:
        assert transaction.fleet.workers()[0].drain_reason == "its GPU is gone"


def test_a_worker_that_drained_itself_is_resumed_like_any_other(database: InMemoryDatabase) -> None:
    pulse = Pulse("w-1", NAME)
    pulse.drain_itself("its GPU is gone")
    beat(database, pulse)
    beat(database, pulse)
    with database.transaction() as transaction:
        assert transaction.fleet.resume(NAME)
    beat(database, pulse)
    assert not pulse.takes_nothing
    with database.reading() as transaction:
        assert transaction.fleet.workers()[0].drain_reason == ""
