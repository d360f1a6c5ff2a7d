"""`farm inspect MODEL --sensitivity`: what a precision does to every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e import models

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return models.save(models.dense(3), tmp_path / "dense.onnx")


def test_every_layer_is_shown_with_what_it_adds_the_worst_first(new_farm: FarmCommand, dense: Path) -> None:
    found = new_farm.json("inspect", dense, "--sensitivity", "FP16", "--batch", 4)
    assert found["precision"] == "fp16"
    assert {name for layer in found["layers"] for name in layer["nodes"]} == {"multiply", "activate"}
    jumps = [layer["jump"] for layer in found["layers"]]
    assert jumps == sorted(jumps, reverse=True)
    assert 0 < jumps[0] < 1e-2
    assert "multiply" in new_farm.run("inspect", dense, "--sensitivity", "fp16").out


def test_8_bits_need_samples(new_farm: FarmCommand, dense: Path, tmp_path: Path) -> None:
    words = ("inspect", dense, "--sensitivity", "int8", "--batch", 2)
    assert "int8 needs samples" in new_farm.refused(*words, code=2)
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32))
    for given in (samples, "random"):
        found = new_farm.json(*words, "--calibration", given, "--inputs", samples)
        assert found["layers"][0]["jump"] > 1e-4


def test_random_samples_fill_the_batch_whatever_it_is(
    new_farm: FarmCommand, dense: Path, tmp_path: Path
) -> None:
    words = ("--sensitivity", "int8", "--calibration", "random")
    assert new_farm.json("inspect", dense, *words, "--batch", 100)["layers"]
    fixed = models.save(models.dense(3, batch=4), tmp_path / "fixed.onnx")
    assert new_farm.json("inspect", fixed, *words)["layers"]


@pytest.mark.parametrize("word", ["fp32", "tf32", "best", "int3"])
def test_a_precision_that_changes_no_layer_is_refused(new_farm: FarmCommand, dense: Path, word: str) -> None:
    assert f"no layer changes by '{word}'" in new_farm.refused(
        "inspect", dense, "--sensitivity", word, code=2
    )


def test_nothing_is_stored_by_it(new_farm: FarmCommand, dense: Path) -> None:
    new_farm.json("inspect", dense, "--sensitivity", "fp16")
    assert not (new_farm.home / "farm.db").exists()
    assert not list(new_farm.home.rglob("sensitivity.*"))
