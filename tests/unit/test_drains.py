"""Which workers a word means: a name, an id or its beginning, a host."""

from __future__ import annotations

import pytest

from farm.domain.errors import ConflictError, InvalidRequestError, NotFoundError
from farm.services.drains import drain_workers, resume_workers
from tests.factories import a_device, a_worker
from tests.fakes import InMemoryDatabase


@pytest.fixture
def database() -> InMemoryDatabase:
    """Two hosts: gpu07 with two workers, gpu08 with one, which has left."""
    made = InMemoryDatabase()
    with made.transaction() as transaction:
        for number, name in enumerate(("gpu07-0", "gpu07-1", "gpu08-0")):
            host = name.partition("-")[0]
            device = a_device(uuid=f"GPU-{number}", host=host)
            transaction.fleet.register(a_worker(id=f"w-a{number}", name=name, host=host, device=device))
        transaction.fleet.stop("w-a2")
    return made


def drained(database: InMemoryDatabase) -> dict[str, str]:
    """Why, by name."""
    with database.reading() as transaction:
        return {w.name: w.drain_reason for w in transaction.fleet.workers() if w.drain_reason}


@pytest.mark.parametrize("word", ["gpu07-1", "w-a1"])
def test_one_is_drained_by_its_name_or_id(database: InMemoryDatabase, word: str) -> None:
    with database.transaction() as transaction:
        (worker,) = drain_workers(transaction, word, "new driver", "ada")
    assert worker.name == "gpu07-1"
    assert drained(database) == {"gpu07-1": "new driver"}
    with database.transaction() as transaction:
        assert resume_workers(transaction, word) == ["gpu07-1"]
    assert drained(database) == {}


def test_all_of_a_host_are_drained_only_when_that_is_said(database: InMemoryDatabase) -> None:
    with database.transaction() as transaction:
        with pytest.raises(InvalidRequestError, match="a host of 2 workers: gpu07-0, gpu07-1") as caught:
            drain_workers(transaction, "gpu07", "new driver", "ada")
        assert "`gpu07 --host`" in caught.value.hint
        drain_workers(transaction, "gpu07", "new driver", "ada", is_host=True)
    assert set(drained(database)) == {"gpu07-0", "gpu07-1"}
    with database.transaction() as transaction:
        assert resume_workers(transaction, "gpu07", is_host=True) == ["gpu07-0", "gpu07-1"]


def test_one_that_does_not_run_is_drained_for_when_it_is_started_again(database: InMemoryDatabase) -> None:
    with database.transaction() as transaction:
        (worker,) = drain_workers(transaction, "gpu08-0", "new driver", "ada")
        assert worker.stopped_at is not None
        transaction.fleet.register(a_worker(id="w-b2", name="gpu08-0", host="gpu08"))
        assert transaction.fleet.beat("w-b2") == "new driver"


def test_the_first_reason_is_kept(database: InMemoryDatabase) -> None:
    with database.transaction() as transaction:
        drain_workers(transaction, "gpu07-0", "new driver", "ada")
        (worker,) = drain_workers(transaction, "gpu07-0", "me too", "bob")
    assert worker.drain_reason == "new driver"
    assert drained(database) == {"gpu07-0": "new driver"}


@pytest.mark.parametrize(
    ("word", "is_host", "hint"),
    [("gpu70-0", False, "gpu07-0"), ("gpu7", True, "gpu07"), ("w-zz", False, "")],
)
def test_an_unknown_word_has_a_suggestion(
    database: InMemoryDatabase, word: str, is_host: bool, hint: str
) -> None:
    with database.reading() as transaction, pytest.raises(NotFoundError) as caught:
        drain_workers(transaction, word, "", "ada", is_host=is_host)
    assert hint in caught.value.hint


def test_an_ambiguous_beginning_is_refused(database: InMemoryDatabase) -> None:
    with database.reading() as transaction, pytest.raises(InvalidRequestError, match="several workers begin"):
        drain_workers(transaction, "w-a", "", "ada")


def test_what_was_not_drained_is_not_resumed(database: InMemoryDatabase) -> None:
    with database.transaction() as transaction, pytest.raises(ConflictError, match="gpu07-0 was not drained"):
        resume_workers(transaction, "gpu07-0")
