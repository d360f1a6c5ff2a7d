"""Inputs, thresholds, builder options and deadlines of a submission."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest

from farm.samples import digits_data, digits_model
from tests.e2e import models
from tests.e2e.driver import fast_spec, slow_spec
from tests.e2e.submit.submissions import submission_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


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
    (cell,) = busy_farm.json("status", submission_of(ended.out))["cells"]
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
