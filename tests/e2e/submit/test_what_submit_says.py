"""What `farm submit` says before anything is built."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.e2e.submit.submissions import submission_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def test_the_plan_has_a_line_per_cell_and_says_that_nobody_serves_them(
    new_farm: FarmCommand, dynamic: Path
) -> None:
    ended = new_farm.run("submit", dynamic, "--gpu", "cpu,sm89,sm86", "--batch", "1,8")

    rows = [line for line in ended.out.splitlines() if "queued" in line]
    assert [row.split()[0].partition("-")[0] for row in rows] == ["cpu", "any", "any"]
    assert all("no live worker serves this target yet" in row for row in rows)
    assert "3 cell(s), measured at batch 1, 8" in ended.out
    assert f"Follow it with `farm watch {submission_of(ended.out)}`" in ended.out
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


def test_a_file_of_any_name_can_be_submitted(farm: FarmCommand, dynamic: Path) -> None:
    odd = dynamic.rename(dynamic.with_name("my model (1).onnx"))
    assert farm.json("submit", odd, "--gpu", "cpu", "--batch", "1", "--dry-run")["name"] == "my-model-1"


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
    message = farm.refused("submit", dense, "--gpu", "cpu,sm89", "--precision", "fp32,fp16,best", code=2)

    assert "3 of 6 cells can not be built, so nothing was queued" in message
    for cell in (r"onnxruntime \S+ · fp16", r"onnxruntime \S+ · best", r"tensorrt-rtx \S+ · best"):
        assert re.search(rf"{cell}: .*nearest: ", message)
    assert "--skip-unsupported" in message
    assert not farm.has_anything()


def test_cells_that_are_left_out_on_request_are_named(farm: FarmCommand, dense: Path) -> None:
    words = ("submit", dense, "--gpu", "cpu,sm89,sm75", "--precision", "fp32,best", "--skip-unsupported")
    ended = farm.run(*words)
    assert "2 cell(s)" in ended.out
    left_out = [line for line in ended.out.splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 3, "one line per reason"
    assert "any-sm89, any-sm75 · tensorrt-rtx" in "".join(left_out)

    refused = farm.json(*words, "--dry-run")["refused"]
    assert sorted(entry["cell"].split(" · ")[2] for entry in refused) == ["best", "best", "best", "fp32"]


def test_a_device_that_nobody_named_and_that_can_not_is_left_out(farm: FarmCommand, dense: Path) -> None:
    # TensorRT-RTX has no matrix product in FP32 for 7.5; the others have.
    ended = farm.run("submit", dense, "--dry-run")
    assert "left out: any-sm75 · tensorrt-rtx" in ended.out + ended.err
    assert "any-sm89" in ended.out
    message = farm.refused("submit", dense, "--gpu", "sm75,sm89", "--dry-run", code=2)
    assert "1 of 2 cells can not be built" in message
    assert "nearest: fp16" in message


def test_nothing_is_left_to_build(farm: FarmCommand, dense: Path) -> None:
    message = farm.refused(
        "submit", dense, "--gpu", "cpu", "--precision", "fp16", "--skip-unsupported", code=2
    )
    assert "1 of 1 cells can not be built" in message
    assert "--skip-unsupported" not in message
    assert not farm.has_anything()
