"""`farm submit --metric`: a user's own figure travels to the worker, is filed, and can fail the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.e2e.driver import fast_spec
from tests.e2e.submit.submissions import submission_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand

SOURCE = """
import os
from pathlib import Path

def share(expected, actual, inputs):
    return {"equal": float((expected["scores"] == actual["scores"]).mean()), "samples": len(inputs["x"])}

def rogue(expected, actual, inputs):
    Path("engine").write_bytes(b"something else")
    return 1.0
"""


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    """A file with metrics."""
    path = tmp_path / "metrics.py"
    path.write_text(SOURCE)
    return path


def test_a_metric_is_filed_shown_and_answered_from_the_store(
    busy_farm: FarmCommand, dynamic: Path, metrics: Path
) -> None:
    words = (
        "submit", dynamic, "--spec", fast_spec(dynamic.parent), "--name", "own", "--gpu", "cpu", "--batch", "4",
        "--metric", f"{metrics}:share", "--threshold", "min_share.equal=1", "--save-spec", dynamic.parent / "own.yaml",
    )  # fmt: skip
    assert busy_farm.json(*words, "--wait")["successful"] is True
    (engine,) = busy_farm.json("engines", "own")
    assert engine["accuracy"]["metrics"] == {"share.equal": 1.0, "share.samples": 4.0}
    assert "share.samples: 4" in busy_farm.run("accuracy", "own").out
    assert yaml.safe_load((dynamic.parent / "own.yaml").read_text())["metric"] == ["metrics.py:share"]
    again = busy_farm.json("submit", "--spec", dynamic.parent / "own.yaml", "--dry-run")
    assert [cell["disposition"] for cell in again["cells"]] == ["built"]
    # The same function in a changed file is another metric.
    metrics.write_text(SOURCE + "\n")
    again = busy_farm.json("submit", "--spec", dynamic.parent / "own.yaml", "--dry-run")
    assert [cell["disposition"] for cell in again["cells"]] == ["queued"]


@pytest.mark.parametrize(
    ("function", "threshold", "code", "said"),
    [
        ("share", "max_share.samples=3", 5, "share.samples 4, at most 3 wanted"),
        ("share", "min_shares=3", 5, "min_shares asks for a figure that no metric gave"),
        ("rogue", "min_rogue=0", 7, "a metric changed"),
    ],
)
def test_a_metric_beyond_its_limit_or_its_place_fails_the_cell(
    busy_farm: FarmCommand, dynamic: Path, metrics: Path, function: str, threshold: str, code: int, said: str
) -> None:
    ended = busy_farm.run(
        "submit", dynamic, "--spec", fast_spec(dynamic.parent), "--name", "beyond", "--gpu", "cpu", "--batch", "4",
        "--metric", f"{metrics}:{function}", "--threshold", threshold, "--wait", code=code,
    )  # fmt: skip
    (cell,) = busy_farm.json("status", submission_of(ended.out))["cells"]
    assert said in cell["failure"]["message"]


def test_a_threshold_on_a_metric_that_nobody_gives_is_refused(farm: FarmCommand, dense: Path) -> None:
    said = farm.refused("submit", dense, "--gpu", "cpu", "--threshold", "min_f1=0.5", code=2)
    assert "unknown threshold 'min_f1'" in said
    assert not farm.has_anything()
