"""Matrices of many cells on both databases: how many statements they take, and many users at once."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from farm.domain.jobs import JobState
from farm.domain.work import JobRequest
from farm.services.cancel import cancel_submission
from farm.services.plan import Plan, PlannedCell
from farm.services.progress import progress_of
from farm.services.submit import SubmitOrder, submit_plan
from farm.storage.database import SqlDatabase
from farm.storage.schema import upgrade
from tests.behaviours.given import claim, given_a_farm
from tests.factories import a_build_spec, a_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from farm.domain.work import Submission
    from tests.services import PostgresServer

USERS = 6


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDatabase]:
    """A farm with a worker and a model."""
    server: PostgresServer | None = None
    url = f"sqlite:///{tmp_path / 'farm.db'}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        url = server.createdb()
    database = SqlDatabase(url)
    upgrade(database)
    given_a_farm(database)
    yield database
    database.close()
    if server is not None:
        server.dropdb(url)


def submit(
    database: SqlDatabase, salts: list[str], user: str = "ada", batches: tuple[int, ...] = (1,)
) -> Submission:
    """A cell for every salt, in that order."""
    cells = tuple(PlannedCell("nvidia-h200", a_build_spec(salt=salt), has_live_worker=True) for salt in salts)
    plan, order = Plan(cells, (), batches, ()), SubmitOrder("resnet", user, {}, JobRequest())
    return submit_plan(database, a_model(), plan, order)


@contextmanager
def counted(database: SqlDatabase) -> Iterator[list[str]]:
    """The statements that the block sends; one that writes many rows counts once."""
    sent: list[str] = []

    def note(*words: object) -> None:
        sent.append(str(words[2]))

    event.listen(database.engine, "before_cursor_execute", note)
    yield sent
    event.remove(database.engine, "before_cursor_execute", note)


def cancel(database: SqlDatabase, submission: Submission) -> None:
    with database.transaction() as transaction:
        cancel_submission(transaction, submission.id)


def show(database: SqlDatabase, submission: Submission) -> None:
    with database.reading() as transaction:
        progress_of(transaction, [transaction.jobs.submission(submission.id)])


def resubmit(database: SqlDatabase, submission: Submission) -> None:
    submit(database, [cell.spec.salt for cell in submission.cells], "grace", (1, 2))


@pytest.mark.parametrize("what", [resubmit, show, cancel])
def test_a_large_matrix_takes_no_more_statements_than_a_small_one(
    database: SqlDatabase, what: Callable[[SqlDatabase, Submission], None]
) -> None:
    counts = []
    for size in (3, 200):
        with counted(database) as sent:
            submission = submit(database, [f"{size}-{number}" for number in range(size)])
            with database.reading() as transaction:
                first = transaction.jobs.get(submission.cells[0].job_id)
            claim(database, first)
            what(database, submission)
        counts.append(len(sent))
    assert counts[0] == counts[1]


def test_many_who_ask_for_one_matrix_at_once_share_its_jobs(database: SqlDatabase) -> None:
    salts = [str(number) for number in range(40)]

    def ask(number: int) -> Submission:
        mine = random.Random(number).sample(salts, len(salts))  # noqa: S311 - an order, no secret
        return submit(database, mine, f"user-{number}")

    with ThreadPoolExecutor(USERS) as pool:
        submissions = list(pool.map(ask, range(USERS)))
    answers = [{cell.spec.salt: cell.job_id for cell in submission.cells} for submission in submissions]
    assert all(answer == answers[0] for answer in answers)
    with database.reading() as transaction:
        assert len(transaction.jobs.jobs()) == len(salts)


def test_asking_and_cancelling_at_once_leaves_nobody_waiting_in_a_circle(database: SqlDatabase) -> None:
    salts = [str(number) for number in range(40)]

    def ask_and_cancel(number: int) -> None:
        for turn in range(5):
            mine = random.Random(10 * number + turn).sample(salts, len(salts))  # noqa: S311 - as above
            cancel(database, submit(database, mine, f"user-{number}"))

    with ThreadPoolExecutor(USERS) as pool:
        list(pool.map(ask_and_cancel, range(USERS)))
    with database.reading() as transaction:
        assert {job.state for job in transaction.jobs.jobs()} == {JobState.CANCELLED}
