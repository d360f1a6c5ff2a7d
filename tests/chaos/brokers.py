"""(c) Messages that come twice, late, or never, and a Redis that goes away."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import redis
import sqlalchemy

from farm.domain.targets import Target
from tests.chaos.ordeal import Scenario
from tests.fake_toolchain.harness import CPU
from tests.fake_toolchain.toolchain import DESCRIPTION
from workers.queues import TASK, new_celery_app

if TYPE_CHECKING:
    from tests.chaos.ordeal import Stage

_QUEUE = Target(CPU, DESCRIPTION.id).queue


def _begin(stage: Stage, workers: int = 2) -> None:
    fleet = stage.fleet
    for _ in range(workers):
        fleet.worker()
    fleet.client(stage.size, gap_s=1.0)
    fleet.wait_until_ready()


def _shuffled_queues(stage: Stage) -> int:
    """Takes every waiting message, and puts each back twice in another order; how many there were."""
    name, found = f"farm:{_QUEUE}", []
    with redis.Redis.from_url(stage.broker.url) as client:
        while (message := client.lpop(name)) is not None:
            found += [message, message]
        stage.rng.shuffle(found)
        if found:
            client.rpush(name, *found)
    return len(found)


def _forge(stage: Stage) -> None:
    """Sends wake-ups for jobs that are long over or never were, to every queue of the fleet."""
    engine = sqlalchemy.create_engine(stage.fleet.settings.database_url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        ids = list(connection.execute(sqlalchemy.text("SELECT id FROM jobs")).scalars())
    engine.dispose()
    app = new_celery_app(stage.fleet.settings)
    for job in [*ids, "j-0000000000", *ids]:
        app.send_task(TASK, args=[job], queue=_QUEUE, retry=False)
    app.close()


def repeated_and_reordered(stage: Stage) -> None:
    """Wake-ups are shuffled, doubled and forged, and now and then Redis forgets them all."""
    _begin(stage)
    for _ in range(max(4, stage.size // 2)):
        stage.fleet.pause(0.2, 0.8)
        what = stage.rng.choice(("shuffle", "forge", "flush"))
        if what == "shuffle":
            _shuffled_queues(stage)
        elif what == "forge":
            _forge(stage)
        else:
            with redis.Redis.from_url(stage.broker.url) as client:
                client.flushall()
        stage.fleet.fault(f"messages: {what}")


def killed(stage: Stage) -> None:
    """Redis is killed and comes back, with what it wrote down or with nothing."""
    _begin(stage)
    for _ in range(2 if stage.size < 10 else 4):
        stage.fleet.pause(0.5, 1.5)
        stage.broker.kill()
        stage.fleet.fault("kill redis")
        stage.fleet.pause(0.5, 2.5)
        stage.broker.start()


def stopped_for_a_while(stage: Stage) -> None:
    """Redis answers nobody, and keeps every connection."""
    _begin(stage)
    stage.fleet.pause(0.5, 1.5)
    os.kill(stage.broker.pid, signal.SIGSTOP)
    stage.fleet.fault("freeze redis")
    try:
        stage.fleet.pause(4, 6)
    finally:
        os.kill(stage.broker.pid, signal.SIGCONT)


def out_of_memory(stage: Stage) -> None:
    """Redis refuses every write for want of memory."""
    with redis.Redis.from_url(stage.broker.url) as client:
        _begin(stage)
        stage.fleet.pause(0.5, 1.0)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        stage.fleet.fault("redis out of memory")
        stage.fleet.pause(3, 5)
        client.config_set("maxmemory", "0")


SCENARIOS = (
    Scenario("wake-ups repeated, reordered, forged, forgotten", repeated_and_reordered),
    Scenario("Redis killed, with an append-only file", killed, in_short=False),
    Scenario("Redis killed, with nothing written down", killed, {"append_only": False}),
    Scenario("Redis frozen", stopped_for_a_while, in_short=False),
    Scenario("Redis out of memory", out_of_memory),
)
