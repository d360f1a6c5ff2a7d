"""The sweep: what SQL holds and nobody was told of is announced."""

from __future__ import annotations

import pytest

from farm.domain.errors import BrokerUnavailableError
from farm.domain.targets import DeviceKind
from farm.services.attempts import fail_attempt
from farm.services.sweep import announce_due, give_up_overdue
from tests.behaviours.given import (
    claim,
    get_job,
    given_a_cpu_worker,
    given_a_queued_job,
    given_a_running_job,
)
from tests.factories import (
    a_build_spec,
    a_cpu_toolchain,
    a_device_type,
    a_digest,
    a_failure,
    a_job_request,
    a_target,
)
from tests.fakes import InMemoryDatabase, RecordingQueue


@pytest.fixture
def queue() -> RecordingQueue:
    return RecordingQueue()


def test_idle_workers_are_woken_as_long_as_something_is_due(
    database: InMemoryDatabase, queue: RecordingQueue
) -> None:
    job = given_a_queued_job(database)
    assert announce_due(database, queue) == 1
    assert announce_due(database, queue) == 1, "what led to nothing is told again"
    claim(database, job)
    assert announce_due(database, queue) == 0
    assert queue.announced == [job.id, job.id]


def test_with_nothing_to_tell_nobody_is_told(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    assert announce_due(database, queue) == 0
    assert queue.announced == []


def test_a_retry_is_announced_when_it_is_due(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    job = given_a_queued_job(database)
    _, attempt = claim(database, job)
    fail_attempt(database, job, attempt, a_failure(), a_digest("log"))
    assert announce_due(database, queue) == 0
    database.advance(2)
    assert announce_due(database, queue) == 1


def test_only_the_targets_that_are_asked_for_are_told(
    database: InMemoryDatabase, queue: RecordingQueue
) -> None:
    given_a_cpu_worker(database)
    gpu = given_a_queued_job(database)
    cpu_target = a_target(device_type=a_device_type(DeviceKind.CPU), toolchain=a_cpu_toolchain().id)
    cpu = given_a_queued_job(database, a_build_spec(target=cpu_target))
    assert announce_due(database, queue, targets=[cpu_target]) == 1
    assert announce_due(database, queue, targets=[]) == 0
    assert queue.announced == [cpu.id]
    assert announce_due(database, queue) == 2
    assert set(queue.announced[1:]) == {gpu.id, cpu.id}


def test_where_the_broker_is_away_nothing_is_lost(database: InMemoryDatabase, queue: RecordingQueue) -> None:
    job = given_a_queued_job(database)
    with pytest.raises(BrokerUnavailableError):
        announce_due(database, RecordingQueue(breaks_after=0))
    announce_due(database, queue)
    assert queue.announced == [job.id]


# Those that wait for too long.


def test_a_job_that_no_worker_could_take_says_so(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database, request=a_job_request(queue_timeout_s=60.0))
    with database.transaction() as transaction:
        transaction.fleet.stop("w-1")
    assert give_up_overdue(database) == []
    database.advance(61)
    assert [given_up.id for given_up in give_up_overdue(database)] == [job.id]
    failure = get_job(database, job).failure
    assert failure is not None
    assert failure.code == "QueueTimeout"
    assert failure.message == f"it waited 60 s for a worker: no worker of {job.target} is live"
    assert "farm worker" in failure.hint


def test_a_job_that_no_worker_had_time_for_says_so(database: InMemoryDatabase) -> None:
    given_a_running_job(database, a_build_spec(salt="running"))
    job = given_a_queued_job(database, request=a_job_request(queue_timeout_s=60.0))
    database.advance(61)
    with database.transaction() as transaction:
        transaction.fleet.beat("w-1")
    give_up_overdue(database)
    failure = get_job(database, job).failure
    assert failure is not None
    assert "1 worker(s) of" in failure.message
    assert "0 of them draining" in failure.message
    assert "--priority" in failure.hint
