"""`farm submit`: what it says, what it queues, what it answers from the store, and how one waits for it."""

from __future__ import annotations

import re
import signal
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

from farm.samples import digits_data, digits_model
from tests.e2e import models
from tests.e2e.driver import fast_spec, slow_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    """A small model, of its own for every test so that tests share no engine."""
    return models.save(models.dense(_seed(tmp_path), batch=1), tmp_path / "dense.onnx")


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    """The same with a dynamic batch."""
    return models.save(models.dense(_seed(tmp_path)), tmp_path / "dynamic.onnx")


def _seed(folder: Path) -> int:
    return zlib.crc32(str(folder).encode())


def _submission(text: str) -> str:
    found = re.search(r"\bs-[a-z0-9]{10}\b", text)
    assert found, text
    return found[0]


# What it says before anything is built


def test_the_plan_has_a_line_per_cell_and_says_that_nobody_serves_them(
    new_farm: FarmCommand, dynamic: Path
) -> None:
    ended = new_farm.run("submit", dynamic, "--gpu", "cpu,sm89,sm75", "--batch", "1,8")

    rows = [line for line in ended.out.splitlines() if "queued" in line]
    assert [row.split()[0].partition("-")[0] for row in rows] == ["cpu", "any", "any"]
    assert all("no live worker serves this target yet" in row for row in rows)
    assert "3 cell(s), measured at batch 1, 8" in ended.out
    assert f"Follow it with `farm watch {_submission(ended.out)}`" in ended.out
    assert "`farm up` starts one here, or add --local." in ended.err


def test_a_dry_run_shows_the_keys_and_queues_nothing(farm: FarmCommand, dynamic: Path) -> None:
    ended = farm.run("submit", dynamic, "--gpu", "cpu", "--batch", "1", "--precision", "fp32", "--dry-run")
    assert "Nothing was queued: this is a dry run." in ended.out
    assert not farm.has_anything()

    plan = farm.json("submit", dynamic, "--gpu", "cpu,sm89", "--dry-run", "--batch", "4")
    assert [cell["precision"] for cell in plan["cells"]] == ["fp32", "fp32"]
    assert plan["batches"] == [4]
    assert all(re.fullmatch("[0-9a-f]{64}", cell["key"]) for cell in plan["cells"])
    assert {cell["has_live_worker"] for cell in plan["cells"]} == {False}


def test_a_dry_run_says_what_is_built_already(filled_home: FarmCommand) -> None:
    path = filled_home.folder / "dense.onnx"
    ended = filled_home.run("submit", path, "--gpu", "cpu,sm89", "--batch", "1,4", "--dry-run")
    cpu, rtx = (
        next(line for line in ended.out.splitlines() if line.startswith(word)) for word in ("cpu", "any")
    )
    assert "built before" in cpu
    assert "built before" not in rtx
    plan = filled_home.json("submit", path, "--gpu", "cpu,sm89", "--batch", "1,4", "--dry-run")
    assert [cell["disposition"] for cell in plan["cells"]] == ["built", "queued"]


def test_the_document_of_a_submission(farm: FarmCommand, dense: Path) -> None:
    ended = farm.run(
        "submit", dense, "--gpu", "cpu", "--name", "vision/dense", "--tag", "team=vision", "--json"
    )
    document = ended.document
    assert document["model"] == "vision/dense"
    assert (document["version"], document["user"], document["tags"]) == (1, "tester", {"team": "vision"})
    assert (document["done"], document["successful"]) == (False, False)
    (cell,) = document["cells"]
    assert cell["disposition"] == "queued"
    assert cell["state"] == "QUEUED"
    assert cell["precision"] == "fp32"
    assert cell["toolchain"].startswith("onnxruntime ")
    assert cell["engine"] is None
    assert cell["failure"] is None
    assert farm.json("status", document["id"]) == document


def test_the_matrix_is_never_smaller_than_asked_for(farm: FarmCommand, dense: Path) -> None:
    message = farm.refused("submit", dense, "--gpu", "cpu,sm89", "--precision", "fp32,fp16,int8", code=2)

    assert "4 of 6 cells can not be built, so nothing was queued" in message
    for cell in ("onnxruntime", "tensorrt-rtx"):
        for precision in ("fp16", "int8"):
            assert re.search(rf"{cell} \S+ · {precision}: .*not supported yet by this toolchain", message)
    assert "--skip-unsupported" in message
    assert not farm.has_anything()


def test_cells_that_are_left_out_on_request_are_named(farm: FarmCommand, dense: Path) -> None:
    words = ("submit", dense, "--gpu", "cpu,sm89,sm75", "--precision", "fp32,fp16", "--skip-unsupported")
    ended = farm.run(*words)
    assert "3 cell(s)" in ended.out
    left_out = [line for line in ended.out.splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 2, "one line per reason"
    assert "any-sm89, any-sm75 · tensorrt-rtx" in left_out[1]

    refused = farm.json(*words, "--dry-run")["refused"]
    assert [entry["cell"].split(" · ")[2] for entry in refused] == ["fp16"] * 3


def test_nothing_is_left_to_build(farm: FarmCommand, dense: Path) -> None:
    message = farm.refused(
        "submit", dense, "--gpu", "cpu", "--precision", "fp16", "--skip-unsupported", code=2
    )
    assert "1 of 1 cells can not be built" in message
    assert "--skip-unsupported" not in message
    assert not farm.has_anything()


# Waiting


def test_waiting_without_a_worker_says_so_instead_of_waiting_for_ever(farm: FarmCommand, dense: Path) -> None:
    ended = farm.run("submit", dense, "--gpu", "cpu", "--wait", code=4)

    assert ended.seconds < 20
    assert "no live worker serves its targets" in ended.err
    (submission,) = farm.submissions()
    assert f"`farm watch {submission['id']}`" in ended.err.splitlines()[-1]
    assert submission["cells"][0]["state"] == "QUEUED", "it is kept"
    assert "waiting is in vain" in farm.refused("watch", submission["id"], code=4)


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
    (job,) = {cell["job"] for cell in busy_farm.json("status", _submission(ended.out))["cells"]}
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
    submission = _submission(ended.out)
    assert f"The work goes on. Come back with `farm watch {submission}`." in ended.err
    assert busy_farm.json("status", submission)["cells"][0]["state"] == "RUNNING"

    watched = busy_farm.run("watch", submission)
    assert "✓ cpu-" in watched.err
    assert busy_farm.json("status", submission)["cells"][0]["attempts"] == 1


def test_ctrl_c_with_a_local_worker_gives_the_job_back(farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.slow(12), tmp_path / "slow.onnx")
    waiting = farm.start(
        "submit", path, "--spec", slow_spec(tmp_path, 30), "--gpu", "cpu", "--batch", "512", "--local"
    )
    waiting.wait_for("running, benchmark")
    waiting.send(signal.SIGINT)
    ended = waiting.end()

    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert "goes on when a worker runs: `farm up`" in ended.err
    (submission,) = farm.submissions()
    assert submission["cells"][0]["state"] == "QUEUED"
    assert farm.json("workers") == [], "the worker in the process has left"


# The same again


def test_another_threshold_is_checked_against_the_filed_engine(filled_home: FarmCommand) -> None:
    words = ("submit", filled_home.folder / "dense.onnx", "--gpu", "cpu", "--batch", "1,4", "--dry-run")
    passed = filled_home.json(*words, "--threshold", "min_cosine=0.999")
    failed = filled_home.json(*words, "--threshold", "min_snr_db=2000")
    assert [plan["cells"][0]["disposition"] for plan in (passed, failed)] == ["built", "queued"]


def test_a_resubmission_is_answered_from_the_store(filled_home: FarmCommand) -> None:
    path = filled_home.folder / "dense.onnx"
    before = filled_home.json("engines")

    ended = filled_home.run("submit", path, "--gpu", "cpu", "--batch", "1,4", "--wait")

    assert "built before: answered from the store" in ended.out
    assert re.search(r"^cpu-\S+ +onnxruntime ", ended.out, re.MULTILINE), "the table is shown all the same"
    assert filled_home.json("engines") == before


def test_other_batches_queue_a_measurement_of_the_same_engine(busy_farm: FarmCommand, dynamic: Path) -> None:
    shapes = ("--min-shapes", "x:1x8", "--opt-shapes", "x:4x8", "--max-shapes", "x:16x8")
    words = ("submit", dynamic, "--spec", fast_spec(dynamic.parent), "--gpu", "cpu", *shapes)
    first = busy_farm.json(*words, "--batch", "1", "--wait")

    ended = busy_farm.run(*words, "--batch", "1,16")
    assert "built before; queued to be measured as asked" in ended.out
    busy_farm.run("watch", _submission(ended.out))

    second = busy_farm.json("status", _submission(ended.out))
    assert second["cells"][0]["engine"] == first["cells"][0]["engine"]
    measured = [
        figures["batch"]
        for figures in busy_farm.json("history", first["model"])
        if figures["engine"] == first["cells"][0]["engine"]
    ]
    assert measured == [1, 1, 16]


def test_who_submits_the_same_meanwhile_shares_the_job(busy_farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.slow(13), tmp_path / "slow.onnx")
    words = ("submit", path, "--spec", slow_spec(tmp_path, 3), "--gpu", "cpu", "--batch", "512")
    first = busy_farm.json(*words)
    busy_farm.until(first["id"], lambda cell: cell["state"] == "RUNNING")

    ended = busy_farm.run(*words)
    assert "shares a job that is already at it" in ended.out
    second = busy_farm.json("status", _submission(ended.out))
    assert second["cells"][0]["job"] == first["cells"][0]["job"]
    assert second["cells"][0]["disposition"] == "shared"
    busy_farm.run("watch", second["id"])


def test_who_wants_more_of_a_running_job_gets_it_when_that_is_done(
    busy_farm: FarmCommand, tmp_path: Path
) -> None:
    path = models.save(models.slow(15), tmp_path / "slow.onnx")
    shapes = ("--min-shapes", "t0:1x512", "--opt-shapes", "t0:512x512", "--max-shapes", "t0:512x512")
    words = ("submit", path, "--spec", slow_spec(tmp_path, 2), "--gpu", "cpu", *shapes)
    first = busy_farm.json(*words, "--batch", "512")
    busy_farm.until(first["id"], lambda cell: cell["state"] == "RUNNING")

    ended = busy_farm.run(*words, "--batch", "8,512", "--threshold", "min_cosine=0.99")
    assert re.search(r"note: j-\w+ measures other batch sizes, .* measured as soon as", ended.out)
    (cell,) = busy_farm.json("status", _submission(ended.out))["cells"]
    assert (cell["job"], cell["then_measures"]) == (first["cells"][0]["job"], [8, 512])
    (cell,) = busy_farm.json("watch", _submission(ended.out))["cells"]
    assert (cell["state"], cell["then_measures"]) == ("SUCCEEDED", None)
    assert cell["job"] != first["cells"][0]["job"]
    (engine,) = [engine for engine in busy_farm.json("engines") if engine["id"] == cell["engine"]]
    assert {measured["batch"] for measured in engine["measurements"]} == {8, 512}
    (of_first,) = busy_farm.json("status", first["id"])["cells"]
    assert (of_first["state"], of_first["job"]) == ("SUCCEEDED", first["cells"][0]["job"])


def test_a_name_with_another_model_is_a_new_version_of_it(farm: FarmCommand, tmp_path: Path) -> None:
    one = models.save(models.dense(1, batch=1), tmp_path / "one.onnx")
    two = models.save(models.dense(2, batch=1), tmp_path / "two.onnx")
    assert "version" not in farm.run("submit", one, "--name", "net", "--gpu", "cpu").err

    ended = farm.run("submit", two, "--name", "net", "--gpu", "cpu")
    assert "net was another model until now: this is version 2 of the name" in ended.err
    assert "net@2" in ended.out
    assert [(m["name"], m["version"]) for m in farm.json("models")] == [("net", 1), ("net", 2)]
    assert "version" not in farm.run("submit", two, "--name", "net", "--gpu", "cpu").err


def test_another_salt_builds_anew(filled_home: FarmCommand) -> None:
    plan = ("submit", filled_home.folder / "dense.onnx", "--gpu", "cpu", "--batch", "1,4", "--dry-run")
    plain, salted = filled_home.json(*plan), filled_home.json(*plan, "--salt", "again")
    assert plain["cells"][0]["key"] != salted["cells"][0]["key"]


# Spec files


def test_a_saved_spec_asks_for_the_same(farm: FarmCommand, dynamic: Path) -> None:
    words = (
        "--name", "dense", "--gpu", "cpu", "--gpu", "sm89", "--precision", "fp32", "--batch", "1,8",
        "--min-shapes", "x:1x8", "--opt-shapes", "x:8x8", "--max-shapes", "x:16x8",
        "--set", "onnxruntime:graph_optimization_level=BASIC", "--threshold", "min_cosine=0.99", "--tag", "team=vision",
        "--salt", "7", "--max-attempts", "2", "--deadline", "600",
    )  # fmt: skip
    saved = farm.folder / "build.yaml"
    plain = farm.run("submit", dynamic, *words, "--save-spec", saved, "--dry-run", "--json").document
    assert yaml.safe_load(saved.read_text())["max_shapes"] == {"x": "16x8"}

    assert farm.json("submit", "--spec", saved, "--dry-run") == plain
    submission = farm.json("submit", "--spec", saved)
    assert submission["tags"] == {"team": "vision"}
    assert [cell["key"] for cell in submission["cells"]] == [cell["key"] for cell in plain["cells"]]


def test_options_win_over_the_spec_file_and_its_paths_are_relative_to_it(
    farm: FarmCommand, dynamic: Path
) -> None:
    folder = farm.folder / "specs"
    folder.mkdir()
    path = folder / "build.yaml"
    path.write_text("model: ../dynamic.onnx\ngpu: [sm89]\nprecision: fp32\nbatch: [1, 2]\nname: from-file\n")
    plan = farm.json("submit", "--spec", path, "--gpu", "cpu", "--dry-run")
    assert (plan["name"], plan["batches"]) == ("from-file", [1, 2])
    assert [cell["device_type"][:4] for cell in plan["cells"]] == ["cpu-"]
    assert farm.json("submit", dynamic, "--spec", path, "--name", "mine", "--dry-run")["name"] == "mine"


# Inputs, thresholds and options


def test_labelled_inputs_give_top_1(busy_farm: FarmCommand, tmp_path: Path) -> None:
    document = busy_farm.json(
        "submit", digits_model(), "--spec", fast_spec(tmp_path), "--name", "labelled", "--gpu", "cpu", "--batch", "8",
        "--inputs", digits_data(), "--wait",
    )  # fmt: skip
    assert document["successful"] is True
    (engine,) = busy_farm.json("engines", "labelled")
    assert engine["accuracy"]["label_top1"] == 1.0
    assert engine["accuracy"]["samples"] == 64


@pytest.mark.parametrize(
    ("arrays", "message", "hint"),
    [
        ({"y": np.zeros((1, 8), np.float32)}, "'y' that is no input", "Known: x."),
        ({}, "no array for input x float32", ""),
        ({"x": np.zeros((1, 9), np.float32)}, "'x' is float32 1x9, which does not fit input x", ""),
        ({"x": np.zeros((1, 8), np.float64)}, "'x' is float64 1x8", ""),
        ({"x": np.zeros((0, 8), np.float32)}, "no samples", ""),
        (
            {"x": np.zeros((3, 8), np.float32), "labels": np.zeros(2, np.int64)},
            "2 labels do not fit 3 samples",
            "",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_anything_is_queued(
    farm: FarmCommand, dense: Path, arrays: dict[str, np.ndarray], message: str, hint: str
) -> None:
    path = farm.folder / "inputs.npz"
    np.savez(path, **arrays)
    said = farm.refused("submit", dense, "--gpu", "cpu", "--inputs", path, code=2)
    assert message in said
    assert hint in said
    assert not farm.has_anything()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", ""), (b"PK\x03\x04 but no archive", ""), (b"text", "")],
)
def test_an_inputs_file_that_is_none_is_refused(
    farm: FarmCommand, dense: Path, content: bytes | None, message: str
) -> None:
    path = farm.folder / "inputs.npz"
    if content is not None:
        path.write_bytes(content)
    said = farm.refused("submit", dense, "--gpu", "cpu", "--inputs", path, code=2)
    assert "inputs.npz" in said
    assert message in said
    assert not farm.has_anything()


def test_an_accuracy_below_the_threshold_fails_the_cell(busy_farm: FarmCommand, dense: Path) -> None:
    before = len(busy_farm.json("engines"))
    ended = busy_farm.run(
        "submit", dense, "--spec", fast_spec(dense.parent), "--name", "strict", "--gpu", "cpu",
        "--threshold", "min_snr_db=2000", "--wait", code=5,
    )  # fmt: skip
    failed = next(line for line in ended.out.splitlines() if line.startswith("✗ "))
    assert "SNR in dB" in failed
    assert "2000" in failed
    assert re.search(r"`farm logs j-\w+` shows its log", ended.out)
    assert len(busy_farm.json("engines")) == before, "an engine that failed is not filed"
    (cell,) = busy_farm.json("status", _submission(ended.out))["cells"]
    assert cell["state"] == "FAILED"
    assert cell["attempts"] == 1, "never retried"
    assert cell["failure"]["class"] == "refused"
    assert cell["failure"]["code"] == "AccuracyError"
    assert cell["failure"]["phase"] == "verify"
    assert cell["failure"]["hint"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--threshold", "min_cosin=0.9"), "Did you mean min_cosine"),
        (("--threshold", "min_cosine=high"), "threshold min_cosine is no number: 'high'"),
        (("--threshold", "min_cosine=nan"), "threshold min_cosine is no number: 'nan'"),
    ],
)
def test_a_threshold_that_means_nothing(
    farm: FarmCommand, dense: Path, words: tuple[str, ...], message: str
) -> None:
    assert message in farm.refused("submit", dense, "--gpu", "cpu", *words, code=2)
    assert not farm.has_anything()


def test_builder_options_are_in_the_key_and_filed(busy_farm: FarmCommand, dense: Path) -> None:
    words = ("submit", dense, "--spec", fast_spec(dense.parent), "--name", "tuned", "--gpu", "cpu")
    plain = busy_farm.json(*words, "--dry-run")["cells"][0]["key"]
    built = busy_farm.json(*words, "--set", "graph_optimization_level=BASIC", "--wait")
    assert built["successful"] is True
    assert built["cells"][0]["key"] != plain
    (engine,) = busy_farm.json("engines", "tuned")
    assert engine["spec"]["builder_config"] == {"graph_optimization_level": "BASIC"}


def test_an_option_of_one_toolchain_is_noted_for_the_others(farm: FarmCommand, dense: Path) -> None:
    ended = farm.run(
        "submit", dense, "--gpu", "cpu,sm89", "--set", "graph_optimization_level=BASIC", "--dry-run"
    )
    assert re.search(
        r"note: graph_optimization_level does not exist in tensorrt-rtx \S+ and has no effect there",
        ended.out,
    )


def test_a_deadline_stops_an_attempt_and_says_so(busy_farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.slow(14), tmp_path / "slow.onnx")
    ended = busy_farm.run(
        "submit", path, "--spec", slow_spec(tmp_path, 30), "--gpu", "cpu", "--batch", "512",
        "--deadline", "2", "--max-attempts", "1", "--wait", code=6,
    )  # fmt: skip
    assert re.search(r"✗ cpu-.*: the attempt was stopped after 2 s, in phase \w+", ended.out)
    assert "Allow more with --deadline" in ended.out
