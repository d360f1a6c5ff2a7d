"""`farm worker` as an operator meets it: what it says at the start, what it refuses, and what its death leads to."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec, slow_spec
from tests.services import PostgresServer, RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import Running


def killed_in_mid_benchmark(farm: FarmCommand, submission: str, worker: Running) -> None:
    """Kills a worker as soon as it times the engine of a submission."""
    farm.until_phase(submission, "benchmark")
    worker.send(signal.SIGKILL)
    worker.end()


def test_a_job_that_killed_two_workers_is_parked_with_its_logs_and_the_signal(farm: FarmCommand) -> None:
    path = models.save(models.slow(41), farm.folder / "slow.onnx")
    wanted = ("--spec", slow_spec(farm.folder, 60), "--gpu", "cpu", "--batch", "512", "--max-attempts", 9)
    submission = farm.json("submit", path, *wanted)["id"]
    for _ in range(2):
        with farm.up(command="worker") as worker:
            killed_in_mid_benchmark(farm, submission, worker)
    with farm.up(command="worker"):
        parked = farm.until(submission, lambda cell: cell["state"] == "FAILED")["cells"][0]
    job = parked["job"]
    assert parked["failure"]["code"] == "PoisonJobError"
    assert "SIGKILL" in parked["failure"]["message"]
    for number in (1, 2):
        said = farm.run("logs", job, "--attempt", number)
        assert "lost" in said.err
        assert "[farm] " in said.out
        assert "its process died in phase benchmark" in said.out
    assert f"`farm logs {job} --attempt N`, N from 1 to 1" in farm.run("logs", job).err
    groups = {group["code"]: group for group in farm.json("failures")}
    assert "SIGKILL" in groups["PoisonJobError"]["last_message"]
    assert groups["WorkerDied"]["last_job"] == job
    assert farm.run("retry", job).out.startswith("queued again as j-")
    assert list(farm.locks.glob("worker-*")) == []


def test_a_worker_says_in_one_screen_what_it_serves(farm: FarmCommand) -> None:
    listed = farm.home / "toolchains.toml"
    listed.write_text(
        f'[[interpreter]]\npython = "{sys.executable}"\nname = "the usual one"\n'
        'environment = { ORT_HINT = "1" }\n'
    )
    with farm.up("--name", "bench-7", command="worker") as worker:
        worker.wait_for(r"drain +5m")
        said = worker.out + worker.err
    for words in (
        "(bench-7) serves cpu-",
        "device     ",
        f"in {sys.executable} (the usual one) with ORT_HINT",
        f"database   sqlite:///{farm.home / 'farm.db'}",
        "broker     in this process",
        f"store      {farm.home / 'artifacts'}",
        "queues     farm.",
        "lease      30 s",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[interpreter]]\npython = "nowhere/python"', "interpreter 1: "),
        ('[[interpreter]]\npython = "/bin/true"', "can not run the farm's child"),
        ('[[interpreter]]\npyhton = "x"', "hint:  Did you mean python?"),
        ("interpreter", "is no TOML"),
    ],
)
def test_a_list_of_toolchains_with_a_mistake_is_refused(farm: FarmCommand, text: str, words: str) -> None:
    listed = farm.folder / "listed.toml"
    listed.write_text(text)
    said = farm.refused("worker", "--toolchains", listed, code=2)
    assert str(listed) in said
    assert words in said
    assert str(listed) in farm.refused("worker", code=2, FARM_TOOLCHAINS=str(listed))


def test_a_device_for_an_interpreter_that_is_not_here_is_told_of(farm: FarmCommand) -> None:
    listed = farm.folder / "listed.toml"
    listed.write_text(f'[[interpreter]]\npython = "{sys.executable}"\ndevices = ["GPU-1234", "cpu"]\n')
    with farm.up("--toolchains", listed, command="worker") as worker:
        said = worker.err
    assert "is listed for the device 'GPU-1234', which this machine does not have" in said
    assert "'cpu', which" not in said


def test_a_worker_that_could_lock_no_device_does_not_begin(farm: FarmCommand) -> None:
    (farm.folder / "file").touch()
    said = farm.refused("worker", "--device", "cpu", code=6, FARM_LOCKS=str(farm.folder / "file"))
    assert "can not lock CPU-" in said
    assert "FARM_LOCKS" in said
    assert farm.json("workers") == []


def test_a_worker_waits_for_a_database_and_a_broker_that_are_away_when_it_starts(tmp_path: Path) -> None:
    key = tmp_path / "signing.key"
    with PostgresServer() as postgres, RedisServer() as redis:
        farm = FarmCommand(
            tmp_path,
            {
                "FARM_DATABASE_URL": postgres.createdb(),
                "FARM_BROKER_URL": redis.url,
                "FARM_STORE": str(tmp_path / "store"),
                "FARM_SIGNING_KEY": str(key),
            },
        )
        farm.run("db", "upgrade")
        farm.run("keys", "new", key, "--trust", "--note", "the fleet")
        postgres.stop()
        redis.stop()
        worker = farm.start("worker", "--device", "cpu")
        try:
            worker.wait_for(r"^waiting, for the database postgresql\S+ can not be reached")
            postgres.start()
            worker.wait_for("^the wait is over")
            worker.wait_for(r"worker w-\S+ .*serves cpu-")
            redis.start()
            path = models.save(models.dense(batch=1), tmp_path / "dense.onnx")
            farm.run("submit", path, "--spec", fast_spec(tmp_path), "--gpu", "cpu", "--wait")
            assert worker.stop().code == 0
        finally:
            worker.kill()
