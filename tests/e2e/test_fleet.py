"""The same farm as a fleet: PostgreSQL, Redis, workers and clients in processes of their own."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec, slow_spec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services import PostgresServer, RedisServer


@pytest.fixture
def fleet(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer
) -> Iterator[FarmCommand]:
    """A fleet without a worker: an empty database, a store, a broker, and leases that end soon."""
    url = postgres_server.createdb()
    farm = FarmCommand(
        tmp_path,
        {
            "FARM_DATABASE_URL": url,
            "FARM_BROKER_URL": redis_server.url,
            "FARM_STORE": str(tmp_path / "store"),
            "FARM_LEASE_S": "3",
            "FARM_SIGNING_KEY": str(tmp_path / "signing.key"),
        },
    )
    farm.run("db", "upgrade")
    farm.run("keys", "new", tmp_path / "signing.key", "--trust", "--note", "the fleet")
    yield farm
    postgres_server.dropdb(url)


def _slow(farm: FarmCommand, seconds: float) -> tuple[object, ...]:
    path = models.save(models.slow(41), farm.folder / "slow.onnx")
    return ("submit", path, "--spec", slow_spec(farm.folder, seconds), "--gpu", "cpu", "--batch", "512")


def test_what_one_process_submits_another_builds_and_a_third_fetches(fleet: FarmCommand) -> None:
    path = models.save(models.dense(batch=1), fleet.folder / "dense.onnx")
    said = fleet.refused("submit", path, code=2)
    assert "no device is known to this farm yet" in said

    with fleet.up(command="worker"):
        begin = time.monotonic()
        ended = fleet.run("submit", path, "--spec", fast_spec(fleet.folder), "--gpu", "cpu", "--wait")
        assert time.monotonic() - begin < 30
        assert re.search(r"^cpu-\S+ +onnxruntime ", ended.out, re.MULTILINE)
        assert "✓ broker: redis://" in fleet.run("doctor").out
        fetched = fleet.run("fetch", "dense", "-o", fleet.folder / "dense.engine")
        assert "dense@1" in fetched.out
        again = fleet.run("submit", path, "--spec", fast_spec(fleet.folder), "--gpu", "cpu", "--wait")
        assert "built before: answered from the store" in again.out
    assert fleet.json("workers") == []

    stuck = fleet.refused("submit", path, "--gpu", "cpu", "--salt", "2", "--wait", code=4)
    assert "Start a worker on such a machine" in stuck
    assert "`farm worker` starts one." in fleet.run("submit", path, "--gpu", "cpu", "--salt", "3").err


def test_a_killed_workers_job_is_finished_by_the_next_one(fleet: FarmCommand) -> None:
    with fleet.up(command="worker") as first:
        submission = fleet.json(*_slow(fleet, 3))["id"]
        fleet.until_phase(submission, "benchmark")
        first.send(signal.SIGKILL)
        first.end()
        assert fleet.json("status", submission)["cells"][0]["state"] == "RUNNING", "nobody knows yet"
        with fleet.up(command="worker"):
            ended = fleet.run("watch", submission)
    assert "✓ cpu-" in ended.err
    (cell,) = fleet.json("status", submission)["cells"]
    assert (cell["state"], cell["attempts"]) == ("SUCCEEDED", 2)
    assert "lost" in fleet.run("logs", cell["job"], "--attempt", "1").err
    assert len(fleet.json("engines")) == 1


def test_a_worker_that_is_told_to_stop_hands_over_at_once(fleet: FarmCommand) -> None:
    with fleet.up(command="worker", FARM_LEASE_S="600") as first:
        submission = fleet.json(*_slow(fleet, 2))["id"]
        fleet.until_phase(submission, "benchmark")
        ended = first.stop(signal.SIGINT)
        assert ended.code == 0
        assert "stopping: the running job goes back to the queue" in ended.err
        assert fleet.json("status", submission)["cells"][0]["state"] == "QUEUED"
        with fleet.up(command="worker"):
            fleet.run("watch", submission)
    (cell,) = fleet.json("status", submission)["cells"]
    assert (cell["state"], cell["attempts"]) == ("SUCCEEDED", 2)


def test_a_broker_that_is_down_delays_and_loses_nothing(
    fleet: FarmCommand, redis_server: RedisServer
) -> None:
    path = models.save(models.dense(batch=1), fleet.folder / "dense.onnx")
    words = ("submit", path, "--spec", fast_spec(fleet.folder), "--gpu", "cpu")
    with fleet.up(command="worker"):
        redis_server.stop()
        try:
            ended = fleet.run(*words)
            assert re.search(r"the broker redis://\S+ can not be reached", ended.err)
            assert "refused. What was submitted is safe" in ended.err
            submission = re.findall(r"\bs-[a-z0-9]{10}\b", ended.out)[0]
            assert fleet.json("status", submission)["cells"][0]["state"] == "QUEUED"
        finally:
            redis_server.start()
        watched = fleet.run("watch", submission)
    assert "✓ cpu-" in watched.err


def test_a_database_that_goes_away_for_a_moment_costs_nothing(
    fleet: FarmCommand, postgres_server: PostgresServer
) -> None:
    with fleet.up(command="worker", FARM_LEASE_S="30"):
        submission = fleet.json(*_slow(fleet, 3))["id"]
        fleet.until_phase(submission, "benchmark")
        waiting = fleet.start("watch", submission)
        waiting.wait_for("running, benchmark")
        postgres_server.restart()
        ended = waiting.end()
    assert ended.code == 0, str(ended)
    assert "✓ cpu-" in ended.err
    (cell,) = fleet.json("status", submission)["cells"]
    assert (cell["state"], cell["attempts"]) == ("SUCCEEDED", 1)
