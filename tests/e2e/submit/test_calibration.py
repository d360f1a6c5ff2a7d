"""`farm submit --calibration`: what is wrong with it is said before anything is queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def test_samples_that_do_not_fit_the_model_are_refused(farm: FarmCommand, dynamic: Path) -> None:
    samples = farm.folder / "samples.npz"
    np.savez(samples, y=np.zeros((4, 8), np.float32))
    words = ("submit", dynamic, "--gpu", "cpu", "--precision", "int8", "--calibration", samples)
    assert "has an array 'y' that is no input" in farm.refused(*words, code=2)


def test_a_way_to_calibrate_without_samples_is_refused(farm: FarmCommand, dynamic: Path) -> None:
    words = ("submit", dynamic, "--gpu", "cpu", "--calibration-algorithm", "minmax")
    assert "nothing says with what" in farm.refused(*words, code=2)


def test_an_unknown_algorithm_suggests_the_nearest(farm: FarmCommand, dynamic: Path) -> None:
    words = (
        "submit",
        dynamic,
        "--gpu",
        "cpu",
        "--calibration",
        "random",
        "--calibration-algorithm",
        "entropie",
    )
    assert "entropy" in farm.refused(*words, code=2)


def test_a_toolchain_without_such_a_type_says_which_is_nearest(farm: FarmCommand, dynamic: Path) -> None:
    words = ("submit", dynamic, "--gpu", "cpu", "--precision", "fp8", "--calibration", "random")
    assert "has no FP8; nearest: int8" in farm.refused(*words, "--batch", "8", code=2)


def test_a_saved_spec_keeps_the_calibration(farm: FarmCommand, dynamic: Path) -> None:
    saved = farm.folder / "build.yaml"
    words = (
        "--gpu",
        "cpu",
        "--batch",
        "8",
        "--calibration",
        "random",
        "--calibration-samples",
        "32",
        "--calibration-batch",
        "8",
        "--batch",
        "8",
    )
    plain = farm.run("submit", dynamic, *words, "--save-spec", saved, "--dry-run", "--json").document
    assert "calibration: random" in saved.read_text()
    assert farm.json("submit", "--spec", saved, "--dry-run") == plain
