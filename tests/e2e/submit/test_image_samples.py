"""`farm submit --inputs FOLDER --calibration FOLDER`: images become samples, and what is wrong with them is said."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from farm.samples import digits_data, digits_model
from tests.e2e.driver import FarmCommand, fast_spec

if TYPE_CHECKING:
    from pathlib import Path

#: As many as fill two batches of 8.
COUNT = 16


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Handwritten digits as a folder of images with their classes."""
    folder = tmp_path / "photos"
    folder.mkdir()
    with np.load(digits_data()) as data:
        for number in range(COUNT):
            pixels = np.rint(data["image"][number, 0] * 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
        lines = [f"{number:02}.png,{data['labels'][number]}" for number in range(COUNT)]
    (folder / "labels.csv").write_text("\n".join(["name,class", *lines]))
    return folder


def recorded(farm: FarmCommand) -> dict[str, Any]:
    """What a submission's record says of samples."""
    with closing(sqlite3.connect(farm.home / "farm.db")) as connection:
        (text,) = connection.execute("SELECT request FROM submissions").fetchone()
    found: dict[str, Any] = json.loads(text)["samples"]
    return found


def test_engines_are_verified_on_labelled_images(farm: FarmCommand, photos: Path) -> None:
    words = ("submit", digits_model(), "--spec", fast_spec(farm.folder), "--gpu", "cpu", "--batch", "8")
    ended = farm.run(*words, "--inputs", photos, "--local")
    assert f"inputs: {COUNT} sample(s) from {photos}" in ended.err
    assert "8x8 gray nchw, stretch, scale 1/255; with their classes" in ended.err
    (engine,) = farm.json("engines")
    assert (engine["accuracy"]["samples"], engine["accuracy"]["label_top1"]) == (COUNT, 1.0)
    assert recorded(farm)["inputs"]["images"]["colors"] == "gray"


def test_another_order_on_the_disk_makes_the_same_key_and_another_image_another_one(
    farm: FarmCommand, photos: Path
) -> None:
    words = ("submit", digits_model(), "--gpu", "cpu", "--precision", "int8", "--batch", "8", "--dry-run")
    first = farm.json(*words, "--calibration", photos)
    again = farm.folder / "again"
    again.mkdir()
    for path in sorted(photos.glob("*.png"), reverse=True):
        (again / path.name).write_bytes(path.read_bytes())
    assert keys(farm.json(*words, "--calibration", again)) == keys(first)
    assert keys(farm.json(*words, "--calibration", again, "--image-mean", "0.5")) != keys(first)
    (again / "00.png").unlink()
    assert keys(farm.json(*words, "--calibration", again)) != keys(first)


def keys(plan: Any) -> list[str]:
    return [cell["key"] for cell in plan["cells"]]


def test_broken_images_are_all_named_or_left_out_when_asked(farm: FarmCommand, photos: Path) -> None:
    (photos / "03.png").write_bytes(b"")
    (photos / "05.png").write_bytes((photos / "05.png").read_bytes()[:40])
    words = ("submit", digits_model(), "--gpu", "cpu", "--batch", "8", "--inputs", photos, "--dry-run")
    refused = farm.refused(*words, code=2)
    assert "2 of the samples" in refused
    assert "03.png (" in refused
    assert "05.png (" in refused
    assert "2 left out: 03.png" in farm.run(*words, "--skip-broken-images").err
    assert not farm.has_anything()


def test_a_saved_spec_says_what_is_done_to_images(farm: FarmCommand, photos: Path) -> None:
    saved = farm.folder / "build.yaml"
    words = ("--precision", "int8", "--calibration", photos, "--calibration-batch", "8", "--inputs", photos)
    how = (
        "--image-scale",
        "1/128",
        "--image-mean",
        "0.5",
        "--labels",
        photos / "labels.csv",
        "--skip-broken-images",
    )
    whole = (digits_model(), "--gpu", "cpu", "--batch", "8", *words, *how)
    plain = farm.json("submit", *whole, "--dry-run", "--save-spec", saved)
    assert "calibration: photos\n" in saved.read_text(), "relative to the file, so that both can move"
    assert farm.json("submit", "--spec", saved, "--dry-run") == plain
    other = farm.json("submit", "--spec", saved, "--image-mean", "0.25", "--dry-run")
    assert keys(other) != keys(plain), "an option wins over the file, and the rest of it stays"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--inputs", "nowhere"), "no file or folder"),
        (("--inputs", "photos", "--image-size", "9x9"), "it wants 8x8"),
        (("--inputs", "photos", "--image-colors", "bgr"), "bgr has 3"),
        (("--image-size", "8x8"), "no samples are images"),
        (("--labels", "photos/labels.csv"), "--inputs names no images"),
        (
            ("--precision", "int8", "--calibration", "photos", "--calibration-batch", "32"),
            "do not fill a batch",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_queued(
    farm: FarmCommand, photos: Path, words: tuple[str, ...], why: str
) -> None:
    placed = [photos.parent / word if word.startswith(("photos", "nowhere")) else word for word in words]
    assert why in farm.refused("submit", digits_model(), "--gpu", "cpu", "--batch", "8", *placed, code=2)
    assert not farm.has_anything()
