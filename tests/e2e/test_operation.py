"""Operating a fleet from the command line: queues and their reasons, draining, retries, failures, figures."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e import models
from tests.e2e.driver import fast_spec, slow_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


@pytest.fixture
def waiting(farm: FarmCommand, tmp_path: Path) -> str:
    """The id of a job that waits, with no worker there."""
    path = models.save(models.dense(41, batch=1), tmp_path / "dense.onnx")
    words = (
        "submit",
        path,
        "--spec",
        fast_spec(tmp_path),
        "--gpu",
        "cpu",
        "--priority",
        "7",
        "--queue-timeout",
        "2h",
    )
    document = farm.json(*words)
    return str(document["cells"][0]["job"])


# The queue.


def test_jobs_that_no_worker_takes_stand_out(farm: FarmCommand, waiting: str) -> None:
    assert waiting
    said = farm.run("queue").out
    assert "no worker takes these" in said
    assert "start one with `farm up`" in said
    (load,) = [load for load in farm.json("queue") if load["waiting"]]
    assert (load["waiting"], load["running"], load["live_workers"], load["stranded"]) == (1, 0, 0, True)
    assert load["oldest_wait_s"] >= 0
    farm.run("queue", "--check", code=6)


def test_a_job_says_why_it_waits(farm: FarmCommand, waiting: str) -> None:
    said = farm.run("queue", "--why", waiting).out
    assert f"job {waiting} waits for cpu-" in said
    assert "no worker that serves this target is live" in said
    assert re.search(r"it gives up in 1h59m|it gives up in 2h", said)
    document = farm.json("queue", "--why", waiting)
    assert (document["state"], document["priority"]) == ("QUEUED", 7)
    assert document["ahead"] == {"higher priority": 0, "same user, older": 0, "users who have had less": 0}


def test_a_job_that_waited_too_long_fails_and_is_queued_again_on_demand(
    farm: FarmCommand, tmp_path: Path
) -> None:
    path = models.save(models.dense(42, batch=1), tmp_path / "dense.onnx")
    words = ("submit", path, "--spec", fast_spec(tmp_path), "--gpu", "cpu", "--queue-timeout", "1s")
    submission = farm.json(*words)["id"]
    farm.until(submission, lambda _: farm.run("sweep", "--once").code == 0 and _failed(farm, submission))
    (cell,) = farm.json("status", submission)["cells"]
    assert "waited 1 s for a worker: no worker of" in farm.run("status", submission, code=None).out
    retried = farm.json("retry", "--failed", submission)["retried"]
    assert list(retried) == [cell["job"]]
    assert farm.json("status", submission)["cells"][0]["state"] == "QUEUED"
    assert farm.json("retry", "--failed", submission)["retried"] == {}


def _failed(farm: FarmCommand, submission: str) -> bool:
    return bool(farm.json("status", submission)["cells"][0]["state"] == "FAILED")


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--deadline", "biuld=1h", "there is no phase 'biuld'"),
        ("--deadline", "soon", "not a span of time: 'soon'"),
        ("--queue-timeout", "-1", "not a span of time"),
        ("--priority", "101", "priority must be from -100 to 100"),
    ],
)
def test_limits_that_mean_nothing_are_refused(
    farm: FarmCommand, tmp_path: Path, option: str, value: str, word: str
) -> None:
    path = models.save(models.dense(43, batch=1), tmp_path / "dense.onnx")
    assert word in farm.refused("submit", path, "--gpu", "cpu", option, value, code=2)


# Workers.


def test_a_worker_is_drained_and_resumed_by_its_name(farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.dense(44, batch=1), tmp_path / "dense.onnx")
    with farm.up(command="worker"):
        (worker,) = farm.json("workers")
        assert worker["state"] == "live"
        assert worker["name"].endswith("-cpu")
        said = farm.run("worker", "drain", worker["name"], "--reason", "new driver").out
        assert f"{worker['name']} takes nothing new" in said
        (worker,) = farm.json("workers")
        assert (worker["state"], worker["drain_reason"]) == ("drained", "new driver")
        submission = farm.json("submit", path, "--spec", fast_spec(tmp_path), "--gpu", "cpu")["id"]
        (job,) = [cell["job"] for cell in farm.json("status", submission)["cells"]]
        assert "takes nothing new: new driver" in farm.run("queue", "--why", job).out
        assert farm.run("worker", "resume", worker["name"]).out == f"{worker['name']} takes jobs again\n"
        farm.until(submission, lambda cell: cell["state"] == "SUCCEEDED")
        farm.refused("worker", "resume", worker["name"], code=4)
        assert "no worker is called 'nobody'" in farm.refused("worker", "drain", "nobody", code=3)


def test_a_device_says_who_serves_it_and_what_it_is_at(farm: FarmCommand, tmp_path: Path) -> None:
    def cpu() -> dict[str, object]:
        (found,) = [d for t in farm.json("devices") if t["kind"] == "cpu" for d in t["each"]]
        return dict(found)

    path = models.save(models.slow(48), tmp_path / "slow.onnx")
    with farm.up(command="worker"):
        (worker,) = farm.json("workers")
        assert (cpu()["state"], cpu()["workers"], cpu()["job"]) == ("idle", [worker["name"]], None)
        words = ("submit", path, "--spec", slow_spec(tmp_path, 600), "--gpu", "cpu", "--batch", "512")
        submission = farm.json(*words)["id"]
        running = farm.until_phase(submission, "benchmark")["cells"][0]["job"]
        busy = cpu()
        assert (busy["state"], busy["job"], busy["phase"]) == ("busy", running, "benchmark")
        assert re.search(rf" busy +{worker['name']} +{running} +benchmark", farm.run("devices").out)
        farm.run("cancel", submission)
        farm.until(submission, lambda cell: cell["state"] == "CANCELLED")
        farm.run("worker", "drain", worker["name"])
        assert cpu()["state"] == "drained"
    assert (cpu()["state"], cpu()["workers"]) == ("unserved", [])


def test_sigterm_lets_a_worker_finish_what_it_does(farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.dense(45, batch=1), tmp_path / "dense.onnx")
    with farm.up(command="worker") as worker:
        words = ("submit", path, "--spec", fast_spec(tmp_path), "--gpu", "cpu", "--duration-ms", "3000")
        submission = farm.json(*words)["id"]
        farm.until_phase(submission, "benchmark")
        worker.send(signal.SIGTERM)
        worker.wait_for("draining: the running job may take another 5m")
        assert worker.end().code == 0
    (cell,) = farm.json("status", submission)["cells"]
    assert (cell["state"], cell["attempts"]) == ("SUCCEEDED", 1)
    assert farm.json("workers") == []


# Failures and figures.


def test_failures_of_one_cause_are_one_group(farm: FarmCommand, tmp_path: Path) -> None:
    with farm.up(command="worker"):
        for number in (46, 47):
            path = models.save(models.dense(number, batch=1), tmp_path / f"dense{number}.onnx")
            words = (
                "submit",
                path,
                "--spec",
                fast_spec(tmp_path),
                "--gpu",
                "cpu",
                "--threshold",
                "min_snr_db=1000000",
            )
            submission = farm.json(*words)["id"]
            farm.until(submission, lambda cell: cell["state"] == "FAILED")
    (group,) = farm.json("failures", "--since", "1h")
    assert (group["code"], group["attempts"], group["jobs"]) == ("AccuracyError", 2, 2)
    said = farm.run("failures").out
    assert group["signature"] in said
    assert f"farm logs {group['last_job']}" in said
    assert farm.json("failures", "--target", "nowhere") == []


def test_figures_are_what_prometheus_reads(farm: FarmCommand, waiting: str) -> None:
    assert waiting
    families = {
        family.name: family for family in text_string_to_metric_families(farm.run("metrics", "--once").out)
    }
    depth = {tuple(s.labels.values()): s.value for s in families["farm_queue_depth"].samples}
    assert sum(depth.values()) == 1
    states = {sample.labels["state"]: sample.value for sample in families["farm_jobs"].samples}
    assert states == {"QUEUED": 1.0}
    assert families["farm_up"].samples[0].value == 1
    assert {row["name"] for row in farm.json("metrics")} >= {"farm_queue_depth", "farm_store_bytes"}


def test_figures_are_served_until_told_to_stop(farm: FarmCommand, waiting: str) -> None:
    assert waiting
    serving = farm.start("metrics", "--port", "0")
    found = serving.wait_for(r"metrics at (http://\S+)")
    with urllib.request.urlopen(found[1], timeout=30) as answer:  # noqa: S310 - our own
        assert b"farm_queue_depth{" in answer.read()
    serving.send(signal.SIGTERM)
    assert serving.end().code == 0


def test_caches_are_shown_where_there_are_none(farm: FarmCommand) -> None:
    assert farm.json("caches") == []
    assert json.loads(farm.run("caches", "drop", "--gpu", "cpu", "--json").out) == {"dropped": 0}
