"""The sweeper: one of a fleet has the duty, and whatever goes wrong it goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from farm.bootstrap import Farm
from farm.domain.errors import DatabaseUnavailableError
from farm.domain.jobs import AttemptState, JobState
from farm.settings import read_settings
from tests.behaviours.given import (
    attempts_of,
    get_job,
    given_a_queued_job,
    given_a_running_job,
)
from tests.factories import a_job_request, a_target
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase, RecordingQueue
from workers import sweeper as subject
from workers.sweeper import Sweeper

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def farm(tmp_path: Path, database: InMemoryDatabase) -> Farm:
    """A farm in memory."""
    return Farm(read_settings(tmp_path, {}), database, InMemoryArtifactStore())


def look(sweeper: Sweeper) -> None:
    """Looks as if it were time to ask for the duty again."""
    sweeper._next_duty = 0.0
    sweeper.once()


def test_of_two_one_has_the_duty_and_wakes_workers(farm: Farm, database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database)
    queues = RecordingQueue(), RecordingQueue()
    first, second = Sweeper(farm, queues[0], "w-1"), Sweeper(farm, queues[1], "w-2")
    look(first)
    look(second)
    assert (first.has_duty, second.has_duty) == (True, False)
    assert (queues[0].announced, queues[1].announced) == ([job.id], [])
    first.leave()
    look(second)
    assert second.has_duty
    assert queues[1].announced == [job.id]


def test_what_was_told_a_moment_ago_is_not_told_again_and_again(
    farm: Farm, database: InMemoryDatabase
) -> None:
    job, queue = given_a_queued_job(database), RecordingQueue()
    sweeper = Sweeper(farm, queue, "w-1")
    for _ in range(5):
        look(sweeper)
    assert queue.announced == [job.id]


def test_a_silent_workers_job_is_taken_from_it_and_its_words_kept(
    farm: Farm, database: InMemoryDatabase
) -> None:
    job, attempt = given_a_running_job(database, lease_s=30)
    with database.transaction() as transaction:
        transaction.jobs.append_log(attempt, "its last words")
    database.advance(31)
    look(Sweeper(farm, RecordingQueue(), "w-2"))
    assert get_job(database, job).state is JobState.QUEUED
    (lost,) = attempts_of(database, job)
    assert lost.state is AttemptState.LOST
    assert lost.log is not None
    assert b"its last words" in b"".join(farm.store.chunks(lost.log))


def test_a_job_that_waited_too_long_is_given_up(farm: Farm, database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database, request=a_job_request(queue_timeout_s=60))
    database.advance(61)
    look(Sweeper(farm, RecordingQueue(), "w-1"))
    assert get_job(database, job).state is JobState.FAILED


def test_a_busy_worker_inside_a_process_wakes_nobody(farm: Farm, database: InMemoryDatabase) -> None:
    given_a_queued_job(database)
    queue = RecordingQueue()
    look(Sweeper(farm, queue, "w-1", targets=[a_target()], is_busy=lambda: True))
    assert queue.announced == []


def test_it_goes_on_whatever_goes_wrong_and_leaves_the_duty_to_the_next(
    farm: Farm, database: InMemoryDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopping, looks = threading.Event(), []
    sweeper = Sweeper(farm, RecordingQueue(), "w-1")
    once = sweeper.once

    def goes_wrong() -> None:
        looks.append(len(looks))
        if len(looks) == 1:
            raise DatabaseUnavailableError("the database is away")
        if len(looks) == 2:
            raise ZeroDivisionError("a bug")
        once()
        stopping.set()

    monkeypatch.setattr(sweeper, "once", goes_wrong)
    monkeypatch.setattr(stopping, "wait", lambda _seconds: stopping.is_set())
    sweeper.run(stopping)
    assert len(looks) == 3
    assert "the database is away" in caplog.text
    assert "a bug of the farm in the sweeper" in caplog.text
    with database.transaction() as transaction:
        assert transaction.fleet.hold_duty(subject.DUTY, "somebody else", 10.0)
