"""`farm fetch` where several engines fit: which one is handed out, what it says of it, and how to take another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> FarmCommand:
    """A farm with three engines of `dense`: plain, with a salt and an option, and with random calibration."""
    farm = FarmCommand(tmp_path_factory.mktemp("several"))
    path = models.save(models.dense(), farm.folder / "dense.onnx")
    words = (
        "submit",
        path,
        "--spec",
        fast_spec(farm.folder),
        "--gpu",
        "cpu",
        "--toolchain",
        "onnxruntime",
        "--local",
    )
    farm.run(*words, "--batch", "1,4")
    farm.run(*words, "--batch", "2", "--salt", "mine", "--set", "graph_optimization_level=BASIC")
    farm.run(*words, "--batch", "1,4", "--precision", "int8", "--calibration", "random")
    return farm


def test_the_plain_engine_goes_first_and_the_other_is_named(built: FarmCommand, tmp_path: Path) -> None:
    ended = built.run("fetch", "dense", "--precision", "fp32", "-o", tmp_path / "dense.engine")
    assert ended.out.rstrip().endswith("· engine 1 (batch 1 to 4, tuned for 4)")
    assert (
        "note: 1 other engine fits too: engine 2 (batch 2, salt mine, graph_optimization_level=BASIC). "
        "`farm fetch dense --engine 2` takes that one instead"
    ) in " ".join(ended.err.split())
    assert built.json("fetch", "dense", "--precision", "fp32", "--dry-run")["others"] == [2]


def test_the_other_one_is_taken_by_its_number_or_its_digest(built: FarmCommand, tmp_path: Path) -> None:
    output = tmp_path / "dense.engine"
    ended = built.run("fetch", "dense", "--engine", "2", "-o", output)
    assert "engine 2 (batch 2, salt mine, graph_optimization_level=BASIC)" in ended.out
    assert "fits too" not in ended.err
    wanted = next(engine for engine in built.json("engines", "dense") if engine["id"] == 2)
    assert output.stat().st_size == wanted["size_bytes"]
    for word in (wanted["key"], wanted["key"][:12]):
        assert built.json("fetch", "dense", "--engine", word, "--dry-run")["id"] == 2


def test_random_calibration_is_warned_of(built: FarmCommand, tmp_path: Path) -> None:
    ended = built.run("fetch", "dense", "--precision", "int8", "-o", tmp_path / "dense.engine")
    assert "calibrated with random samples" in ended.out
    assert "warning: this engine is calibrated with random samples: for speed alone" in ended.err


def test_an_engine_that_does_not_fit_or_is_not_there_is_no_engine(built: FarmCommand, tmp_path: Path) -> None:
    output = tmp_path / "dense.engine"
    words = ("fetch", "dense", "-o", output, "--engine")
    said = built.refused(*words, "1", "--gpu", "sm89", code=3)
    assert "engine 1 of dense@1 does not fit any-sm89" in said
    assert "(differs in device)" in said
    assert "there is no engine '99'" in built.refused(*words, "99", code=3)
    assert not output.exists()
