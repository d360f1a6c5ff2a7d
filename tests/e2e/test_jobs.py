"""Jobs in the hands of a user, and every command that shows what the farm holds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec, slow_spec

if TYPE_CHECKING:
    from pathlib import Path


def _submit_slow(farm: FarmCommand, folder: Path, seed: int, seconds: float = 30.0) -> tuple[str, str]:
    """A submission and its job, which then takes so long."""
    path = models.save(models.slow(seed), folder / "slow.onnx")
    found = farm.json(
        "submit", path, "--spec", slow_spec(folder, seconds), "--gpu", "cpu", "--batch", "512", "--name", f"slow{seed}"
    )  # fmt: skip
    return found["id"], found["cells"][0]["job"]


# One job


def test_a_running_job_is_shown_followed_and_cancelled(busy_farm: FarmCommand, tmp_path: Path) -> None:
    submission, job = _submit_slow(busy_farm, tmp_path, 21)
    cell = busy_farm.until_phase(submission, "benchmark")["cells"][0]
    assert cell["state"] == "RUNNING"
    assert cell["fraction"] is None or 0 <= cell["fraction"] <= 1

    shown = busy_farm.run("status", submission[:8])
    assert re.search(rf"^cpu-\S+ .* {job} +1 +running +benchmark", shown.out, re.MULTILINE)
    assert "1 running" in busy_farm.run("status").out
    (worker,) = busy_farm.json("workers")
    assert worker["job"] == job
    assert worker["state"] == "live"

    followed = busy_farm.start("logs", job[:8], "-f")
    followed.wait_for(f"job {job} · attempt 1 · running")
    watched = busy_farm.start("watch", submission)
    watched.wait_for("running, benchmark")

    begin = time.monotonic()
    assert "is asked to stop" in busy_farm.run("cancel", job).out
    assert followed.end().code == 0
    assert time.monotonic() - begin < 15
    assert f"job {job} is cancelled" in followed.err
    assert watched.end().code == 1
    assert "cancelled" in watched.out

    again = busy_farm.refused("cancel", job, code=4)
    assert f"job {job} has ended already: CANCELLED" in again
    (worker,) = busy_farm.json("workers")
    assert worker["job"] is None, "the worker goes on"


def test_a_queued_job_is_cancelled_at_once_and_can_be_tried_again(farm: FarmCommand) -> None:
    path = models.save(models.dense(batch=1), farm.folder / "dense.onnx")
    submission = farm.json("submit", path, "--gpu", "cpu", "--spec", fast_spec(farm.folder))
    job = submission["cells"][0]["job"]
    assert "no attempt has begun, so there is no log yet" in farm.run("logs", job).err
    assert farm.json("logs", job) == {"job": job, "attempt": None, "log": ""}
    assert "it has had 0 attempt" in farm.refused("logs", job, "--attempt", "2", code=3).replace(
        f"job {job}", "it"
    )
    assert "only a failed or cancelled job" in farm.refused("retry", job, code=4)

    assert f"job {job} cancelled" in farm.run("cancel", job).out
    assert farm.json("status", submission["id"])["cells"][0]["state"] == "CANCELLED"

    again = farm.json("retry", job)
    assert again["state"] == "QUEUED"
    assert farm.json("status", submission["id"])["cells"][0]["job"] == again["job"] != job
    with farm.up():
        ended = farm.run("watch")
    assert "✓ cpu-" in ended.err
    assert farm.json("status", submission["id"])["successful"] is True


def test_cancelling_a_submission_spares_what_others_want(farm: FarmCommand) -> None:
    path = models.save(models.dense(batch=1), farm.folder / "dense.onnx")
    first = farm.json("submit", path, "--gpu", "cpu,sm89")
    second = farm.json("submit", path, "--gpu", "cpu")
    shared = second["cells"][0]["job"]

    ended = farm.run("cancel", first["id"])
    assert f"job {shared} goes on: another submission wants it too" in ended.out
    assert "withdrawn, what goes on is for others" in farm.run("status", first["id"]).out
    assert [each["withdrawn"] for each in farm.json("status")] == [False, True]
    alone = next(cell["job"] for cell in first["cells"] if cell["job"] != shared)
    assert f"job {alone} cancelled" in ended.out
    assert farm.json("cancel", second["id"]) == {"cancelled": {shared: "CANCELLED"}, "shared": []}
    assert "nothing of it was queued or running" in farm.run("cancel", second["id"][:9]).out


def test_the_log_is_kept_and_shown_by_attempt(filled_home: FarmCommand) -> None:
    (job,) = {cell["job"] for cell in filled_home.submissions()[-1]["cells"]}
    ended = filled_home.run("logs", job)
    assert re.search(
        rf"job {job} · attempt 1 · succeeded · cpu-\S+ · onnxruntime \S+ · fp32 · on \S+", ended.err
    )
    document = filled_home.json("logs", job, "--attempt", "1")
    assert document == {"job": job, "attempt": 1, "log": ended.out}
    followed = filled_home.run("logs", job, "-f")
    assert followed.out == ended.out
    assert "has had 1 attempt(s), not 2" in filled_home.refused("logs", job, "--attempt", "2", code=3)


def test_the_log_of_a_failed_job_says_why(busy_farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.dense(22, batch=1), tmp_path / "dense.onnx")
    failed = busy_farm.json(
        "submit", path, "--spec", fast_spec(tmp_path), "--gpu", "cpu", "--threshold", "min_snr_db=2000", "--wait", code=5
    )  # fmt: skip
    job = failed["cells"][0]["job"]
    assert "[farm] AccuracyError: " in busy_farm.run("logs", job).out
    assert "✗" in busy_farm.run("watch", failed["id"], code=5).out

    again = busy_farm.json("retry", job)
    watched = busy_farm.run("watch", failed["id"], code=5)
    assert again["job"] in watched.out


def test_an_id_that_begins_like_several_is_refused(busy_farm: FarmCommand, tmp_path: Path) -> None:
    for seed in (23, 24):
        models.save(models.dense(seed, batch=1), tmp_path / "dense.onnx")
        busy_farm.run(
            "submit", tmp_path / "dense.onnx", "--spec", fast_spec(tmp_path), "--gpu", "cpu", "--wait"
        )
    assert "several submissions begin with 's-'" in busy_farm.refused("status", "s-", code=2)
    assert "several jobs begin with 'j-'" in busy_farm.refused("logs", "j-", code=2)


def test_status_lists_the_newest_first_and_as_many_as_asked_for(filled_home: FarmCommand) -> None:
    everything = filled_home.json("status")
    assert [one["created_at"] for one in everything] == sorted(
        (one["created_at"] for one in everything), reverse=True
    )
    assert len(filled_home.json("status", "--limit", 1)) == 1
    assert "team=vision" in filled_home.run("status").out


def test_status_of_nothing(farm: FarmCommand) -> None:
    ended = farm.run("status")
    assert (ended.out, ended.err) == ("", "Nothing was submitted yet.\n")
    assert farm.json("status") == []


# What is filed


def test_engines_and_their_filters(filled_home: FarmCommand) -> None:
    shown = filled_home.run("engines", "dense@1")
    assert re.search(r"^dense@1 +\d+ +cpu-\S+ +onnxruntime \S+ +fp32 +\d+ B ", shown.out, re.MULTILINE)
    (engine,) = filled_home.json(
        "engines", "--gpu", "cpu", "--toolchain", "onnxruntime", "--precision", "FP32"
    )
    assert engine["model"] == "dense"
    assert engine["verified"] is True
    assert [figures["batch"] for figures in engine["measurements"]] == [1, 4]
    assert engine["spec"]["profiles"] == [{"x": {"min": [1, 8], "opt": [4, 8], "max": [4, 8]}}]
    assert filled_home.json("engines", "--gpu", "sm89") == []
    assert "No filed engine matches" in filled_home.run("engines", "--gpu", "sm89").err


def test_engines_of_an_empty_farm(farm: FarmCommand) -> None:
    assert "No engine is filed yet: `farm submit` builds one." in farm.run("engines").err
    assert "No model is filed yet" in farm.run("models").err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--gpu h2o", "unknown GPU 'h2o'"),
        ("--toolchain tensort", "no toolchain 'tensort' is known"),
        ("--precision fp61", "Did you mean fp16"),
    ],
)
@pytest.mark.parametrize("command", ["engines", "history"])
def test_a_mistyped_filter_is_an_error_and_no_empty_answer(
    filled_home: FarmCommand, command: str, words: str, message: str
) -> None:
    assert message in filled_home.refused(command, "dense", *words.split(), code=2)


def test_models_and_their_versions(filled_home: FarmCommand) -> None:
    (model,) = filled_home.json("models")
    assert (model["name"], model["version"], model["engines"], model["parameters"]) == ("dense", 1, 1, 32)
    shown = filled_home.run("models")
    assert re.search(r"^dense +1 +[0-9a-f]{12} .* x float32 Nx8 ", shown.out, re.MULTILINE)


def test_devices_and_toolchains(filled_home: FarmCommand) -> None:
    devices = {device["name"]: device for device in filled_home.json("devices")}
    cpu = next(device for name, device in devices.items() if name.startswith("cpu-"))
    assert (cpu["kind"], cpu["live_workers"], len(cpu["devices"])) == ("cpu", 0, 1)
    assert "any-sm89" in devices
    assert "any GPU of compute capability 8.9" in filled_home.run("devices").out

    toolchains = filled_home.json("toolchains")
    # PyTorch's are there where PyTorch is.
    assert {toolchain["id"]["name"] for toolchain in toolchains} >= {"onnxruntime", "tensorrt-rtx"}
    assert "graph_optimization_level" in filled_home.run("toolchains", "--options").out
    assert "graph_optimization_level" not in filled_home.run("toolchains").out


def test_workers_live_and_gone(filled_home: FarmCommand, busy_farm: FarmCommand) -> None:
    assert filled_home.json("workers") == []
    assert "No worker is running" in filled_home.run("workers").err
    (gone,) = filled_home.json("workers", "--all")
    assert gone["state"] == "left"
    (live,) = busy_farm.json("workers")
    assert live["state"] == "live"
    assert any("onnxruntime" in target for target in live["targets"])
    assert re.search(rf"^{live['id']} +{live['name']} +live ", busy_farm.run("workers").out, re.MULTILINE)


def test_history_and_its_filters(filled_home: FarmCommand) -> None:
    def history(*words: str) -> Any:
        # Times of a machine that does something else meanwhile may be tainted.
        return filled_home.json("history", "dense", "--tainted", *words)

    def batches(*words: str) -> list[int]:
        return [entry["batch"] for entry in history(*words)]

    assert set(batches()) == {1, 4}
    assert set(batches("--batch", "4")) == {4}
    assert batches("--since", "12h") == batches("--since", "2020-01-01") == batches()
    assert batches("--since", "2999-01-01") == batches("--batch", "7") == []
    assert batches("--gpu", "cpu", "--toolchain", "onnxruntime", "--precision", "fp32") == batches()
    # Without the word those alone that nothing disturbed.
    clean = [entry for entry in history() if not entry["taints"]]
    assert filled_home.json("history", "dense") == clean
    shown = filled_home.run("history", "dense@1", "--tainted")
    # What all rows have in common is said once.
    assert re.search(r"^all: version 1, device type cpu-\S+, toolchain onnxruntime \S+", shown.out)
    assert re.search(r"^20\d\d-\S+ \S+ +fp32 +1 .* \d+\.\d+ ", shown.out, re.MULTILINE)
    assert "No measurement of dense matches" in filled_home.run("history", "dense", "--batch", "7").err
    said = filled_home.refused("history", "dense", "--since", "yesterday", code=2)
    assert "not a time: --since yesterday" in said
    assert "30d, 12h, 4w" in said
    for odd in ("99999999999d", "1e5d", "0001-01-01"):
        assert filled_home.run("history", "dense", "--since", odd, code=None).code in (0, 2)


def test_figures_that_are_left_out_of_history_are_counted(farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.dense(1), tmp_path / "dense.onnx")
    # Narrower than anything can be: the figure is filed as unsettled.
    narrow = ("--interval-percent", "0.000001", "--max-duration-ms", "50", "--duration-ms", "20")
    farm.run("submit", path, "--gpu", "cpu", "--batch", "1", *narrow, "--local")
    count = len(farm.json("history", "dense", "--tainted"))
    said = farm.run("history", "dense").out
    assert count > 0
    assert "No undisturbed measurement of dense matches" in said
    assert re.search(rf"\b{count} that something disturbed (is|are) left out: --tainted shows them", said)


def test_fetch_writes_what_was_filed(filled_home: FarmCommand, tmp_path: Path) -> None:
    output = tmp_path / "dense.engine"
    ended = filled_home.run("fetch", "dense", "-o", output)
    assert ended.out.startswith(f"{output}: dense@1 · cpu-")
    (engine,) = filled_home.json("engines", "dense")
    assert output.stat().st_size == engine["size_bytes"]

    document = filled_home.json("fetch", "dense", "--gpu", "cpu", "--toolchain", "onnxruntime", "--dry-run")
    assert (document["path"], document["id"]) == (None, engine["id"])
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(output)
    assert session.run(None, {"x": np.ones((4, 8), np.float32)})[0].shape == (4, 4)


def test_fetch_warns_of_an_engine_that_was_never_run(busy_farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.dense(25, batch=1), tmp_path / "rtx.onnx")
    built = busy_farm.json("submit", path, "--gpu", "sm89", "--wait")
    assert built["successful"] is True
    ended = busy_farm.run("fetch", "rtx", "--gpu", "sm89", "-o", tmp_path / "rtx.engine")
    assert "warning: this engine was never run: built ahead of time" in ended.err
    assert "unverified" in busy_farm.run("engines", "rtx").out


# The machine, the database, the shell


def test_doctor_of_a_sound_farm(filled_home: FarmCommand) -> None:
    ended = filled_home.run("doctor")
    for subject in ("database", "artifact store", "broker", "device", "device locks", "toolchain"):
        assert f"✓ {subject}: " in ended.out
    assert "! workers: none is live" in ended.out
    findings = filled_home.json("doctor")
    assert {finding["state"] for finding in findings} <= {"ok", "warning"}


def test_doctor_before_there_is_a_farm(new_farm: FarmCommand) -> None:
    ended = new_farm.run("doctor")
    assert f"✓ database: none in {new_farm.home} yet" in ended.out
    assert not new_farm.home.exists(), "looking makes nothing"


def test_doctor_beside_a_worker(busy_farm: FarmCommand) -> None:
    assert "✓ workers: 1 live on " in busy_farm.run("doctor").out


def test_doctor_finds_what_is_broken(farm: FarmCommand) -> None:
    import shutil

    shutil.rmtree(farm.home / "artifacts")
    ended = farm.run("doctor", code=1, FARM_BROKER_URL="redis://127.0.0.1:1/0")
    assert "✗ artifact store: " in ended.out
    assert "✗ broker: redis://127.0.0.1:1/0: " in ended.out
    assert "✗ toolchains: " in farm.run("doctor", "--toolchain-python", "/bin/true", code=1).out


def test_the_schema_is_shown_and_moved(new_farm: FarmCommand, farm: FarmCommand) -> None:
    assert re.search(r"farm\.db: \d+ \(up to date\)", farm.run("db", "current").out)
    document: Any = farm.json("db", "current")
    assert document["current"] == document["wanted"]
    moved = farm.json("db", "upgrade")
    assert moved == {"before": document["wanted"], "after": document["wanted"]}


def test_a_new_database_is_upgraded_by_hand(new_farm: FarmCommand) -> None:
    assert re.fullmatch(r"no tables → \d+\n", new_farm.run("db", "upgrade").out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(new_farm: FarmCommand, shell: str) -> None:
    assert "_FARM_COMPLETE" in new_farm.run("completion", shell).out


def test_completion_completes(new_farm: FarmCommand) -> None:
    ended = new_farm.run(COMP_WORDS="farm wo", COMP_CWORD="1", _FARM_COMPLETE="bash_complete")
    assert ended.out.split() == ["plain,worker", "plain,workers"]
    ended = new_farm.run(COMP_WORDS="farm submit --thr", COMP_CWORD="2", _FARM_COMPLETE="bash_complete")
    assert ended.out.split() == ["plain,--threshold"]


def test_the_version(new_farm: FarmCommand) -> None:
    from importlib.metadata import version

    assert new_farm.run("--version").out == f"farm {version('engine-farm')}\n"


def test_output_that_nobody_reads_on_is_no_error(filled_home: FarmCommand) -> None:
    command = f"{sys.executable} -m cli.main toolchains --options --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["/bin/bash", "-c", command], env=filled_home.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_a_model_is_inspected_without_a_farm(new_farm: FarmCommand) -> None:
    path = models.save(models.dense(), new_farm.folder / "dense.onnx")
    ended = new_farm.run("inspect", path)
    assert re.search(r"^input +x +float32 +N × 8 +dynamic", ended.out, re.MULTILINE)
    assert "opset 17, IR 9, 32 parameters" in ended.out
    assert "--batch 1,8,32 (only the batch is dynamic)" in ended.out
    document = new_farm.json("inspect", path)
    assert document["operators"] == {"MatMul": 1, "Relu": 1}
    assert document["inputs"][0]["is_dynamic"] is True
    two = models.save(models.two_dynamic(), new_farm.folder / "two.onnx")
    assert "--max-shapes a:…x…,b:…x…" in new_farm.run("inspect", two).out
    assert not new_farm.home.exists()


# The worker itself


def test_a_device_that_somebody_else_holds_is_waited_for(busy_farm: FarmCommand, tmp_path: Path) -> None:
    from workers.device_lock import DeviceLock
    from workers.devices import describe_cpu

    path = models.save(models.dense(26, batch=1), tmp_path / "dense.onnx")
    locks = busy_farm.locks
    with DeviceLock(describe_cpu().uuid, folder=locks, purpose="a test", wait_seconds=60):
        submission = busy_farm.json("submit", path, "--spec", fast_spec(tmp_path), "--gpu", "cpu")["id"]
        following = busy_farm.start("watch", submission)
        following.wait_for(rf"waiting: CPU-\S+ is held by process {os.getpid()} .* for a test")
    assert following.end().code == 0
    (cell,) = busy_farm.json("status", submission)["cells"]
    assert (cell["state"], cell["attempts"]) == ("SUCCEEDED", 1), "the wait cost no attempt"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_that_is_told_to_stop_gives_its_job_back(
    farm: FarmCommand, tmp_path: Path, number: signal.Signals
) -> None:
    with farm.up() as worker:
        submission, job = _submit_slow(farm, tmp_path, 31)
        farm.until_phase(submission, "benchmark")
        ended = worker.stop(number)
    assert ended.code == 0
    assert ended.seconds < 60
    assert "stopping: the running job goes back to the queue" in ended.err
    assert "stopped" in ended.err
    cell = farm.json("status", submission)["cells"][0]
    assert (cell["state"], cell["attempts"]) == ("QUEUED", 1)
    assert farm.json("workers") == []
    assert not list((farm.home / "scratch").glob("j-*")), "its scratch folder is gone"
    assert not _children_of(job), "and so is its child"


def _children_of(job: str) -> list[str]:
    import psutil

    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if any(job in word for word in process.info["cmdline"] or []) and process.pid != os.getpid()
    ]
