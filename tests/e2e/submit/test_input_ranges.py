"""`farm submit --input-range`: random inputs within what the user declares, or the graph tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.e2e import models
from tests.e2e.driver import fast_spec
from tests.e2e.submit.submissions import seed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from tests.e2e.driver import FarmCommand


@pytest.fixture
def lookup(tmp_path: Path) -> Path:
    """A model that looks ids up among 100 words."""
    return models.save(models.lookup(seed(tmp_path)), tmp_path / "lookup.onnx")


def references_of(farm: FarmCommand) -> list[Mapping[str, Any]]:
    """The inputs of every reference that this host has computed, the newest last."""
    found = sorted(
        (farm.home / "scratch" / "references").glob("*/inputs.npz"), key=lambda p: p.stat().st_mtime
    )
    return [dict(np.load(path)) for path in found]


def test_ids_are_drawn_from_the_whole_vocabulary_and_masks_are_0_and_1(
    busy_farm: FarmCommand, lookup: Path
) -> None:
    words = ("submit", lookup, "--spec", fast_spec(lookup.parent), "--gpu", "cpu", "--batch", "16", "--wait")
    assert busy_farm.json(*words)["successful"] is True
    inputs = references_of(busy_farm)[-1]
    assert inputs["ids"].max() > 50
    assert inputs["ids"].max() < 100
    assert set(inputs["attention_mask"].ravel().tolist()) == {0, 1}
    assert inputs["attention_mask"][:, 0].all()


def test_a_declared_range_is_drawn_from_and_asks_for_figures_of_its_own(
    busy_farm: FarmCommand, lookup: Path
) -> None:
    words = ("submit", lookup, "--spec", fast_spec(lookup.parent), "--gpu", "cpu", "--batch", "16")
    assert busy_farm.json(*words, "--wait")["successful"] is True
    ranged = (*words, "--input-range", "ids=7:9", "--save-spec", lookup.parent / "ranged.yaml")
    (cell,) = busy_farm.json(*ranged, "--dry-run")["cells"]
    assert (cell["disposition"], cell["engine"]) == ("queued", cell["engine"])
    assert busy_farm.json(*ranged, "--wait")["successful"] is True
    assert set(references_of(busy_farm)[-1]["ids"].ravel().tolist()) == {7, 8, 9}
    again = busy_farm.json("submit", "--spec", lookup.parent / "ranged.yaml", "--dry-run")
    assert [cell["disposition"] for cell in again["cells"]] == ["built"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("id=0:9", "there is no input 'id'"),
        ("ids=0.5:9", "does not fit input ids int64 Nx6"),
        ("ids=9", "is no range"),
        ("ids=0:0", "zeros alone"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_before_anything_is_queued(
    farm: FarmCommand, lookup: Path, words: str, said: str
) -> None:
    assert said in farm.refused("submit", lookup, "--gpu", "cpu", "--input-range", words, code=2)
    assert not farm.has_anything()
