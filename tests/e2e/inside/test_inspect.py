"""`farm inspect`: what an engine or a model is."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def test_an_engine_shows_its_key_its_tensors_and_its_layers(two_engines: FarmCommand) -> None:
    out = two_engines.run("inspect", "2").out
    assert re.search(r"^engine 2: dense@1 · cpu-\S+ · onnxruntime \S+ · fp32$", out, re.MULTILINE)
    assert "options       graph_optimization_level=DISABLE_ALL" in out
    assert "x: 1x8 … 4x8" in out
    assert re.search(r"^input +x +fp32 +N × 8", out, re.MULTILINE)
    assert re.search(r"^0 +multiply +MatMul +fp32 +fp32 +128 B", out, re.MULTILINE)
    assert re.search(r"^1 +activate +Relu +fp32", out, re.MULTILINE)
    assert "2 layer(s): 2 fp32" in out


def test_the_document_has_everything(two_engines: FarmCommand) -> None:
    document = two_engines.json("inspect", "2")
    assert document["spec"]["builder_config"] == {"graph_optimization_level": "DISABLE_ALL"}
    told = document["layer_information"]
    assert told["precisions"] == {"fp32": 2}
    assert [(layer["name"], layer["type"], layer["nodes"]) for layer in told["layers"]] == [
        ("multiply", "MatMul", ["multiply"]),
        ("activate", "Relu", ["activate"]),
    ]
    assert [tensor["name"] for tensor in document["io"]] == ["x", "scores"]


def test_an_engine_is_found_by_digest_key_job_and_model(filled_home: FarmCommand) -> None:
    document = filled_home.json("inspect", "1")
    sha256 = document["digest"].removeprefix("sha256:")[:12]
    for word in (sha256, document["key"][:12], document["job"], "dense", "dense@1"):
        assert filled_home.json("inspect", word)["id"] == 1, word


def test_a_name_that_means_several_engines_lists_them(two_engines: FarmCommand) -> None:
    refused = two_engines.refused("inspect", "dense", code=2)
    assert "2 engines of dense@1 are meant: 1 (" in refused
    assert "Name one by its number" in refused


def test_a_name_and_a_target_that_mean_one_engine_show_it(filled_home: FarmCommand) -> None:
    shown = filled_home.json("inspect", "dense", "--gpu", "cpu", "--precision", "fp32")
    assert shown["model"] == "dense@1"
    assert "no engine of dense@1 fits; there are: 1 (" in filled_home.refused(
        "inspect", "dense", "--precision", "fp16", code=3
    )


@pytest.mark.parametrize(
    ("word", "says"), [("99", "there is no engine '99'"), ("nothing", "no engine, job or model 'nothing'")]
)
def test_what_is_not_filed_is_not_found(filled_home: FarmCommand, word: str, says: str) -> None:
    assert says in filled_home.refused("inspect", word, code=3)


def test_an_engine_that_no_inspector_was_asked_about_has_no_raw_text(filled_home: FarmCommand) -> None:
    assert "nothing that an inspector said" in filled_home.refused("inspect", "1", "--raw", code=2)


def test_of_a_plan_that_is_not_filed_the_header_is_read(new_farm: FarmCommand) -> None:
    plan = new_farm.folder / "final2.plan"
    plan.write_bytes(b"ftrt" + struct.pack("<I", 0) + bytes(16) + bytes((8, 6, 0, 12)) + bytes(40))
    assert "built by TensorRT 8.6.0.12" in new_farm.run("inspect", plan).out
    document = new_farm.json("inspect", plan)
    assert (document["magic"], document["product"], document["version"]) == ("ftrt", "TensorRT", "8.6.0.12")
    plan.write_bytes(plan.read_bytes()[:20])
    assert "cut short" in new_farm.refused("inspect", plan, code=2)
    assert not new_farm.home.exists()


def test_a_model_shows_what_it_would_take_at_a_batch(new_farm: FarmCommand) -> None:
    path = models.save(models.dense(), new_farm.folder / "dense.onnx")
    found = new_farm.json("inspect", path, "--batch", "16")["estimate"]
    assert found["flops"] == 16 * (2 * 8 * 4 + 4)
    assert found["weights_bytes"] == 128
    assert found["shapes"] == {"x": [16, 8]}
    out = new_farm.run("inspect", path, "--shapes", "x:16x8").out
    assert "estimate at x:16x8" in out
    assert "1.09 kFLOP" in out


def test_a_model_of_which_more_is_dynamic_says_how_to_get_an_estimate(new_farm: FarmCommand) -> None:
    path = models.save(models.two_dynamic(), new_farm.folder / "two.onnx")
    assert "give --shapes a:1x…,b:1x…" in new_farm.run("inspect", path).out
    assert new_farm.json("inspect", path, "--shapes", "a:2x3,b:2x3")["estimate"]["flops"] == 6


@pytest.mark.parametrize("shapes", ["x:1x9", "nobody:1x8"])
def test_a_shape_that_does_not_fit_is_refused(new_farm: FarmCommand, shapes: str) -> None:
    path = models.save(models.dense(), new_farm.folder / "dense.onnx")
    assert shapes.partition(":")[0] in new_farm.refused("inspect", path, "--shapes", shapes, code=2)


def test_where_there_is_a_farm_a_model_shows_what_targets_make_of_it(
    farm: FarmCommand, tmp_path: Path
) -> None:
    path = models.save(models.dense(), tmp_path / "dense.onnx")
    targets = farm.json("inspect", path)["targets"]
    (cpu,) = [target for target in targets if target["toolchain"].startswith("onnxruntime ")]
    assert "fp32" in cpu["builds"]
    assert "a CPU has no TF32" in cpu["refused"]["tf32"]
    out = farm.run("inspect", path).out
    assert re.search(r"refused: cpu-\S+ · onnxruntime \S+ · tf32: a CPU has no TF32", out)
    assert farm.json("inspect", path, "--no-targets")["targets"] is None


def test_without_a_farm_targets_are_said_only_if_asked_for(new_farm: FarmCommand) -> None:
    path = models.save(models.dense(), new_farm.folder / "dense.onnx")
    assert new_farm.json("inspect", path)["targets"] is None
    assert "there is no farm" in new_farm.refused("inspect", path, "--targets", code=3)
