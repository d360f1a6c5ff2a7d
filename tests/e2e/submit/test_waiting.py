"""How one waits for a submission: elsewhere, here, and until Ctrl-C."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.driver import fast_spec, slow_spec
from tests.e2e.submit.submissions import submission_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def test_waiting_without_a_worker_says_so_instead_of_waiting_for_ever(farm: FarmCommand, dense: Path) -> None:
    ended = farm.run("submit", dense, "--gpu", "cpu", "--wait", code=4)

    assert ended.seconds < 20
    assert "no live worker serves its targets" in ended.err
    (submission,) = farm.submissions()
    assert f"`farm watch {submission['id']}`" in ended.err.splitlines()[-1]
    assert submission["cells"][0]["state"] == "QUEUED", "it is kept"
    assert "waiting is in vain" in farm.refused("watch", submission["id"], code=4)


def test_waiting_for_a_worker_that_takes_nothing_new_says_which_and_why(
    farm: FarmCommand, dense: Path
) -> None:
    with farm.up():
        (worker,) = farm.json("workers")
        farm.run("worker", "drain", worker["name"], "--reason", "new driver")
        ended = farm.run("submit", dense, "--gpu", "cpu", "--wait", code=4)
        assert f"{worker['name']} takes nothing new: new driver" in ended.err
        assert f"`farm worker resume {worker['name']}`" in ended.err
    assert farm.submissions()[0]["cells"][0]["state"] == "QUEUED", "it is kept"


def test_local_builds_here_and_shows_the_table(farm: FarmCommand, dynamic: Path) -> None:
    ended = farm.run(
        "submit", dynamic, "--spec", fast_spec(farm.folder), "--gpu", "cpu", "--batch", "1,8", "--local"
    )
    assert re.search(r"^cpu-\S+ +onnxruntime \S+ +fp32 .* exact +1\.000000", ended.out, re.MULTILINE)
    assert "✓ cpu-" in ended.err
    (submission,) = farm.submissions()
    assert submission["successful"] is True


def test_local_with_json_prints_one_document(farm: FarmCommand, dense: Path) -> None:
    document = farm.json("submit", dense, "--spec", fast_spec(farm.folder), "--gpu", "cpu", "--local")
    assert document["successful"] is True
    assert document["cells"][0]["engine"] is not None


def test_local_beside_a_worker_leaves_the_work_to_it(busy_farm: FarmCommand, dense: Path) -> None:
    ended = busy_farm.run("submit", dense, "--spec", fast_spec(dense.parent), "--gpu", "cpu", "--local")
    assert "already has a worker: pid" in ended.err
    assert "it does the work" in ended.err
    assert "✓ cpu-" in ended.err


def test_a_worker_in_another_process_starts_at_once_and_wait_follows(
    busy_farm: FarmCommand, dense: Path
) -> None:
    ended = busy_farm.run("submit", dense, "--spec", fast_spec(dense.parent), "--gpu", "cpu", "--wait")

    assert "no live worker" not in ended.out + ended.err
    assert "▸ cpu-" in ended.err or "✓ cpu-" in ended.err
    assert re.search(r"^cpu-\S+ +onnxruntime ", ended.out, re.MULTILINE)
    (job,) = {cell["job"] for cell in busy_farm.json("status", submission_of(ended.out))["cells"]}
    assert _seconds_until_claimed(busy_farm, job) < 1.5  # half a second on a machine that does nothing else


def _seconds_until_claimed(farm: FarmCommand, job: str) -> float:
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{farm.home / 'farm.db'}")
    try:
        with engine.connect() as connection:
            found = connection.execute(
                text(
                    "SELECT (julianday(a.claimed_at) - julianday(j.created_at)) * 86400 FROM attempts a "
                    "JOIN jobs j ON j.id = a.job_id WHERE j.id = :job"
                ),
                {"job": job},
            )
            return float(found.scalar_one())
    finally:
        engine.dispose()


def test_ctrl_c_leaves_the_work_running_and_says_how_to_come_back(
    busy_farm: FarmCommand, tmp_path: Path
) -> None:
    path = models.save(models.slow(11), tmp_path / "slow.onnx")
    waiting = busy_farm.start(
        "submit", path, "--spec", slow_spec(tmp_path, 4), "--gpu", "cpu", "--batch", "512", "--wait"
    )
    waiting.wait_for("running, benchmark")
    waiting.send(signal.SIGINT)
    ended = waiting.end()

    assert ended.code == 130
    assert "Traceback" not in ended.err
    submission = submission_of(ended.out)
    assert f"The work goes on. Come back with `farm watch {submission}`." in ended.err
    assert busy_farm.json("status", submission)["cells"][0]["state"] == "RUNNING"

    watched = busy_farm.run("watch", submission)
    assert "✓ cpu-" in watched.err
    assert busy_farm.json("status", submission)["cells"][0]["attempts"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_or_a_time_limit_with_a_local_worker_gives_the_job_back(
    farm: FarmCommand, tmp_path: Path, number: signal.Signals
) -> None:
    path = models.save(models.slow(12), tmp_path / "slow.onnx")
    waiting = farm.start(
        "submit", path, "--spec", slow_spec(tmp_path, 30), "--gpu", "cpu", "--batch", "512", "--local"
    )
    waiting.wait_for("running, benchmark")
    waiting.send(number)
    ended = waiting.end()

    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert "goes on when a worker runs: `farm up`" in ended.err
    (submission,) = farm.submissions()
    assert submission["cells"][0]["state"] == "QUEUED"
    assert farm.json("workers") == [], "the worker in the process has left"
