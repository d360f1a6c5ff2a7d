"""The same consumer over Redis: messages get lost, Redis goes away, two workers share a queue."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis

from farm.domain.identifiers import new_id
from farm.domain.jobs import AttemptState, JobState
from farm.settings import DEFAULT_LOCKS
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test, settings_in
from tests.services import RedisServer
from workers.queues import TASK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm.domain.targets import Device
    from workers.interpreters import Interpreter


@pytest.fixture(scope="module")
def broker() -> Iterator[RedisServer]:
    """A Redis to be emptied and killed."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, own: Interpreter, broker: RedisServer) -> Iterator[FarmOfTest]:
    """A farm that is woken through Redis."""
    redis.Redis.from_url(broker.url).flushall()
    settings = settings_in(tmp_path / "home", broker_url=broker.url)
    with farm_of_test(tmp_path, own, settings=settings) as made:
        yield made


def test_a_job_is_announced_over_redis_taken_once_and_its_message_gone(
    place: FarmOfTest, broker: RedisServer
) -> None:
    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    assert len(place.fake.pids()) == 1
    kept = [key for key in redis.Redis.from_url(broker.url).keys("farm:*") if b"unacked" in key]
    assert kept == []


def test_a_busy_worker_takes_the_next_job_without_being_told(place: FarmOfTest, broker: RedisServer) -> None:
    place.fake.does("wait", "build")
    with place.worker():
        (first,) = place.submit(salt="first")
        place.fake.pid()
        (second,) = place.submit(salt="second")
        client = redis.Redis.from_url(broker.url)
        assert not client.llen(f"farm:{place.job(second).target.queue}"), "nobody idle, nobody told"
        client.flushall()
        place.fake.go()
        place.succeeded(first)
        place.succeeded(second)
    assert len(place.fake.pids()) == 2


def test_a_worker_goes_on_after_redis_was_killed_and_came_back_empty(
    place: FarmOfTest, broker: RedisServer
) -> None:
    place.fake.does("wait", "build")
    with place.worker():
        (running,) = place.submit(salt="running")
        place.fake.pid()
        (waiting,) = place.submit(salt="waiting")
        broker.kill()
        time.sleep(1)
        # What is submitted while Redis is away is safe: SQL holds it.
        (meanwhile,) = place.submit(salt="meanwhile")
        broker.start()
        redis.Redis.from_url(broker.url).flushall()
        place.fake.go()
        for job_id in (running, waiting, meanwhile):
            place.succeeded(job_id)
            assert len(place.attempts(job_id)) == 1


def test_a_worker_is_woken_again_after_redis_was_away_when_its_job_ended(
    place: FarmOfTest, broker: RedisServer
) -> None:
    place.fake.does("wait", "build")
    with place.worker():
        (running,) = place.submit(salt="running")
        place.fake.pid()
        broker.kill()
        # Its message can be acknowledged to nobody.
        place.fake.go()
        place.succeeded(running)
        time.sleep(1)
        broker.start()
        (other,) = place.submit(salt="other")
        place.succeeded(other)


def test_a_message_that_arrives_twice_or_means_nothing_is_dropped(place: FarmOfTest) -> None:
    with place.worker() as worker:
        (job_id,) = place.submit()
        place.succeeded(job_id)
        queue = place.job(job_id).target.queue
        for words in (job_id, "j-0000000000"):
            worker._consumer._app.send_task(TASK, args=[words], queue=queue)
        (other,) = place.submit(salt="other")
        place.succeeded(other)
    assert len(place.fake.pids()) == 2


@pytest.fixture
def second_device(place: FarmOfTest) -> Iterator[Device]:
    """One of the same type in another machine, as far as the farm can tell."""
    device = replace(place.device, uuid=new_id("CPU-test"))
    yield device
    for lock in DEFAULT_LOCKS.glob(f"{device.uuid}*"):
        lock.unlink()


# In processes of their own, as everywhere: Celery has one event loop for all consumers of a process.


def test_two_workers_of_one_target_share_its_queue_and_do_every_job_once(
    place: FarmOfTest, second_device: Device
) -> None:
    place.fake.does("wait", "wait", "build")
    with place.worker_process(), place.worker_process(device=second_device):
        ids = [place.submit(salt=str(number))[0] for number in range(6)]
        place.fake.pid(2)  # two at once, so both are at it
        place.fake.go()
        for job_id in ids:
            place.succeeded(job_id)
    attempts = [attempt for job_id in ids for attempt in place.attempts(job_id)]
    assert [attempt.state for attempt in attempts] == [AttemptState.SUCCEEDED] * 6
    assert {attempt.device_uuid for attempt in attempts} == {place.device.uuid, second_device.uuid}
    assert len(place.fake.pids()) == 6


def test_the_job_of_a_worker_that_is_told_to_stop_goes_to_another_one_at_once(
    place: FarmOfTest, second_device: Device
) -> None:
    place.fake.does("wait", "build")
    with place.worker_process() as first:
        (job_id,) = place.submit(max_attempts=1)
        place.fake.pid()
        with place.worker_process(device=second_device):
            first.stop()
            place.succeeded(job_id)
    assert [a.device_uuid for a in place.attempts(job_id)] == [place.device.uuid, second_device.uuid]


def test_a_worker_that_starts_while_redis_is_away_begins_as_soon_as_it_is_there(
    place: FarmOfTest, broker: RedisServer
) -> None:
    broker.kill()
    with place.worker():
        (job_id,) = place.submit()
        time.sleep(1)
        assert place.job(job_id).state is JobState.QUEUED
        broker.start()
        place.succeeded(job_id)
