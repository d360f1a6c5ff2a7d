"""`farm inspect MODEL --sensitivity`: what a precision does to every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from farm.samples import digits_model
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


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(8):
        pixels = draw.integers(0, 255, (12, 12), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_samples_may_be_images(new_farm: FarmCommand, photos: Path) -> None:
    words = ("inspect", digits_model(), "--sensitivity", "int8", "--calibration", photos)
    ended = new_farm.run(*words, "--inputs", photos, "--image-resize", "shorter-side:10")
    for key in ("inputs", "calibration"):
        assert f"{key}: 8 sample(s) from {photos}" in ended.err
    assert "shorter-side:10" in ended.err
    plain, darker = (
        new_farm.json(*words, "--inputs", photos, *more)["layers"] for more in ((), ("--image-scale", "0.01"))
    )
    assert plain != darker
    assert "it wants 8x8" in new_farm.refused(*words, "--image-size", "9x9", code=2)


@pytest.mark.parametrize(
    "word", [("--calibration", "random"), ("--inputs", "a.npz"), ("--image-size", "8x8")]
)
def test_words_about_samples_are_for_comparing_layers(
    new_farm: FarmCommand, dense: Path, word: tuple[str, str]
) -> None:
    assert "--sensitivity int8" in new_farm.refused("inspect", dense, *word, code=2)


def test_nothing_is_stored_by_it(new_farm: FarmCommand, dense: Path) -> None:
    new_farm.json("inspect", dense, "--sensitivity", "fp16")
    assert not (new_farm.home / "farm.db").exists()
    assert not list(new_farm.home.rglob("sensitivity.*"))
