"""Building anew what is filed, and choosing among builds, as a user does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.driver import fast_spec
from tests.e2e.submit.submissions import submission_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def test_a_rebuild_takes_the_place_of_the_filed_engine(busy_farm: FarmCommand, dense: Path) -> None:
    words = ("submit", dense, "--spec", fast_spec(dense.parent), "--gpu", "cpu")
    first = busy_farm.json(*words, "--wait")["cells"][0]
    assert "built before; queued to be built anew" in busy_farm.run(*words, "--rebuild", "--dry-run").out

    ended = busy_farm.run(*words, "--rebuild", "--wait")
    assert "built before; queued to be built anew" in ended.out
    second = busy_farm.json("status", submission_of(ended.out))["cells"][0]
    assert (second["engine"], second["key"]) == (first["engine"], first["key"])
    (engine,) = [one for one in busy_farm.json("engines") if one["id"] == first["engine"]]
    assert engine["job"] == second["job"] != first["job"]
    assert engine["rebuild"]["by"] == "tester"
    # A busy host taints what is measured on its CPU.
    told = busy_farm.json("history", "dense", "--tainted")
    figures = [one for one in told if one["engine"] == first["engine"]]
    assert len(figures) == 2, "the old engine's runs stay"


def test_several_builds_are_shown_with_their_spread(busy_farm: FarmCommand, dynamic: Path) -> None:
    words = (
        "submit",
        dynamic,
        "--spec",
        fast_spec(dynamic.parent),
        "--gpu",
        "cpu",
        "--batch",
        "1,4",
        "--builds",
    )
    ended = busy_farm.run(*words, 2, "--keep", "fastest", "--wait")
    assert "fastest of 2 builds (batch 4: " in ended.out + ended.err
    (cell,) = busy_farm.json("status", submission_of(ended.out))["cells"]
    (engine,) = [one for one in busy_farm.json("engines") if one["id"] == cell["engine"]]
    assert [build["build"] for build in engine["builds"]] == [1, 2]
    assert sum(build["kept"] for build in engine["builds"]) == 1
    assert all(set(build["median_ms"]) == {"1", "4"} for build in engine["builds"])
    assert "fastest of 2 builds" in busy_farm.run("engines", "dynamic").out
    # As many are there; for more it is built anew.
    assert "answered from the store" in busy_farm.run(*words, 2, "--dry-run").out
    assert "queued to be built anew" in busy_farm.run(*words, 3, "--dry-run").out


def test_builds_that_can_not_be_are_refused(farm: FarmCommand, dense: Path) -> None:
    said = farm.refused("submit", dense, "--gpu", "cpu", "--builds", 0, code=2)
    assert "1 to 32 times" in said


def test_a_refit_that_can_not_be_says_why_and_builds(farm: FarmCommand, dense: Path) -> None:
    ended = farm.run("submit", dense, "--gpu", "cpu", "--refit", "--dry-run")
    assert "no refit, for its engine is not refittable" in ended.out
