"""What `farm accuracy` and `farm engines --json` tell of an engine in 8 bits, and thresholds on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e import models
from tests.e2e.driver import fast_spec
from tests.e2e.submit.submissions import seed, submission_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def maps(folder: Path) -> tuple[Path, Path]:
    """A segmentation model, and eight samples with a class for every pixel."""
    model = models.save(models.segmentation(seed(folder)), folder / "maps.onnx")
    draw = np.random.default_rng(5)
    inputs = folder / "inputs.npz"
    np.savez(
        inputs,
        x=draw.standard_normal((8, 1, 8, 8)).astype(np.float32),
        labels=draw.integers(0, 3, (8, 8, 8)),
    )
    return model, inputs


def words(folder: Path, name: str) -> Sequence[str | Path]:
    """A submission in 8 bits of the model."""
    model, inputs = maps(folder)
    return (
        "submit", model, "--spec", fast_spec(folder), "--name", name, "--gpu", "cpu", "--precision", "int8",
        "--batch", "4", "--calibration", "random", "--inputs", inputs, "--wait",
    )  # fmt: skip


def test_every_figure_is_filed_and_shown_with_the_spread_of_errors(
    busy_farm: FarmCommand, tmp_path: Path
) -> None:
    assert busy_farm.json(*words(tmp_path, "maps"), "--threshold", "min_dice=0.3")["successful"] is True
    (engine,) = busy_farm.json("engines", "maps")
    document = busy_farm.json("accuracy", "maps")
    assert document["accuracy"] == engine["accuracy"]
    (output,) = document["accuracy"]["outputs"]
    assert 0 < output["iou"] <= output["dice"] < 1
    assert 0 < output["rel_l2_error"] < 1
    assert output["psnr_db"] > output["snr_db"] > 0
    assert 0 < document["accuracy"]["label_dice"] < 1
    assert document["accuracy"]["reference_label_iou"] > 0
    (spread,) = document["histogram"]["outputs"]
    assert (spread["name"], spread["elements"]) == ("map", 8 * 3 * 8 * 8)
    assert spread["equal"] + sum(spread["size"]["counts"]) == spread["elements"]
    assert len(engine["error_histogram"]) == 64
    shown = busy_farm.run("accuracy", str(engine["id"])).out
    assert "Dice on the labels" in shown
    assert "errors of map: 1536 elements" in shown
    assert "####" in shown


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        ("max_rel_error=1e-9", r"output 'map': max relative error .*at most 1e-09 wanted (worst at ["),
        ("min_iou=1", "output 'map': IoU "),
        ("min_label_dice=1", "Dice on the labels "),
        ("min_top1_agreement=0.5", "asks for a figure that nothing here has: top-1 agreement"),
    ],
)
def test_a_threshold_on_any_figure_fails_the_cell(
    busy_farm: FarmCommand, tmp_path: Path, threshold: str, said: str
) -> None:
    ended = busy_farm.run(*words(tmp_path, "strict-maps"), "--threshold", threshold, code=5)
    (cell,) = busy_farm.json("status", submission_of(ended.out))["cells"]
    first, _, rest = said.partition(".*")
    assert first in cell["failure"]["message"]
    assert rest in cell["failure"]["message"]
    assert cell["failure"]["code"] == "AccuracyError"
