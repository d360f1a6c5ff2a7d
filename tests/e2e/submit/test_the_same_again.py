"""What is answered from the store, shared, or measured beyond, when the same is asked for again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.e2e import models
from tests.e2e.driver import fast_spec, slow_spec
from tests.e2e.submit.submissions import submission_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


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
    busy_farm.run("watch", submission_of(ended.out))

    second = busy_farm.json("status", submission_of(ended.out))
    assert second["cells"][0]["engine"] == first["cells"][0]["engine"]
    measured = [
        figures["batch"]
        for figures in busy_farm.json("history", first["model"], "--tainted")
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
    second = busy_farm.json("status", submission_of(ended.out))
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
    (cell,) = busy_farm.json("status", submission_of(ended.out))["cells"]
    assert (cell["job"], cell["then_measures"]) == (first["cells"][0]["job"], [8, 512])
    (cell,) = busy_farm.json("watch", submission_of(ended.out))["cells"]
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
