"""The sweep: what SQL holds and nobody was told of is announced."""

from __future__ import annotations

import pytest

from farm.domain.errors import BrokerUnavailableError
from farm.domain.jobs import JobState
from farm.domain.targets import DeviceKind
from farm.services.attempts import fail_attempt
from farm.services.sweep import announce_due
from tests.behaviours.given import (
    attempts_of,
    claim,
    fail,
    get_job,
    given_a_cpu_worker,
    given_a_farm,
    given_a_queued_job,
    given_a_running_job,
)
from tests.factories import (
    a_build_spec,
    a_cpu_toolchain,
    a_device_type,
    a_digest,
    a_failure,
    a_target,
)
from tests.fakes import InMemoryDatabase, RecordingQueue


@pytest.fixture
def database() -> InMemoryDatabase:
    """A farm with a worker and a model."""
    database = InMemoryDatabase()
    given_a_farm(database)
    return database


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


def given_jobs(database: InMemoryDatabase, count: int) -> list[str]:
    return [given_a_queued_job(database, a_build_spec(salt=str(number))).id for number in range(count)]


def test_every_waiting_job_is_announced_once_oldest_first(
    database: InMemoryDatabase, queue: RecordingQueue
) -> None:
    ids = given_jobs(database, 3)
    assert announce_due(database, queue) == 3
    assert announce_due(database, queue) == 0
    assert queue.announced == ids


def test_with_nothing_to_tell_nobody_is_told(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    assert announce_due(database, queue) == 0
    assert queue.announced == []


def test_what_runs_or_has_ended_is_not_announced(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    given_a_running_job(database, a_build_spec(salt="running"))
    _, attempt = given_a_running_job(database, a_build_spec(salt="failed"))
    fail(database, attempt, JobState.FAILED)
    assert announce_due(database, queue) == 0


def test_a_retry_is_announced_when_it_is_due(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    job = given_a_queued_job(database)
    announce_due(database, queue)
    _, attempt = claim(database, job)
    fail_attempt(database, job, attempt, a_failure(), a_digest("log"))
    assert announce_due(database, queue) == 0
    database.advance(2)
    assert announce_due(database, queue) == 1
    assert queue.announced == [job.id, job.id]


def test_no_more_are_told_at_once_than_asked_for(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    ids = given_jobs(database, 5)
    assert announce_due(database, queue, limit=2) == 2
    assert announce_due(database, queue, limit=2) == 2
    assert announce_due(database, queue, limit=2) == 1
    assert queue.announced == ids


def test_only_the_targets_that_are_asked_for_are_told(
    database: InMemoryDatabase, queue: RecordingQueue
) -> None:
    given_a_cpu_worker(database)
    gpu = given_a_queued_job(database)
    cpu_target = a_target(device_type=a_device_type(DeviceKind.CPU), toolchain=a_cpu_toolchain().id)
    cpu = given_a_queued_job(database, a_build_spec(target=cpu_target))
    assert announce_due(database, queue, targets=[cpu_target]) == 1
    assert queue.announced == [cpu.id]
    assert announce_due(database, queue, targets=[]) == 0
    assert announce_due(database, queue) == 1
    assert queue.announced == [cpu.id, gpu.id]


def test_jobs_of_others_do_not_use_up_the_limit(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    given_a_cpu_worker(database)
    given_jobs(database, 3)
    cpu_target = a_target(device_type=a_device_type(DeviceKind.CPU), toolchain=a_cpu_toolchain().id)
    cpu = given_a_queued_job(database, a_build_spec(target=cpu_target))
    assert announce_due(database, queue, limit=1, targets=[cpu_target]) == 1
    assert queue.announced == [cpu.id]


def test_where_the_broker_goes_away_the_rest_stays_to_be_told(database: InMemoryDatabase) -> None:
    ids = given_jobs(database, 3)
    with pytest.raises(BrokerUnavailableError):
        announce_due(database, RecordingQueue(breaks_after=2))
    mended = RecordingQueue()
    assert announce_due(database, mended) == 1
    assert mended.announced == ids[2:]


def test_where_the_broker_is_away_nothing_is_lost(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    ids = given_jobs(database, 2)
    with pytest.raises(BrokerUnavailableError):
        announce_due(database, RecordingQueue(breaks_after=0))
    announce_due(database, queue)
    assert queue.announced == ids


def test_a_job_that_is_taken_between_looking_and_telling_is_told_in_vain(
    database: InMemoryDatabase, queue: RecordingQueue
) -> None:
    job = given_a_queued_job(database)
    database.before_writing = lambda: claim(database, job)
    assert announce_due(database, queue) == 1
    assert get_job(database, job).state is JobState.RUNNING
    fail(database, attempts_of(database, job)[-1], JobState.QUEUED)
    assert announce_due(database, queue) == 1
