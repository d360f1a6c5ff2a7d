"""`farm submit --plugin`: a library goes with the job that needs it, and with the engine that is fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.driver import fast_spec
from tests.libraries import DEADLY, HARMLESS, NEEDS_COMPILER, UNRESOLVED, library

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand

pytest.importorskip("tensorrt_rtx")


@NEEDS_COMPILER
def test_an_engine_is_fetched_with_its_plugins(farm: FarmCommand, dynamic: Path) -> None:
    first, second = (library(farm.folder / f"lib{n}.so", f"{HARMLESS}\nint n{n};") for n in (1, 2))
    words = ("submit", dynamic, "--spec", fast_spec(farm.folder), "--gpu", "sm89", "--batch", "8")
    farm.run(*words, "--plugin", first, "--plugin", second, "--local")
    (farm.folder / "out").mkdir()
    fetched = farm.json(
        "fetch", "dynamic", "--gpu", "sm89", "-o", farm.folder / "out" / "dynamic.engine", code=0
    )
    plugins = [farm.folder / path for path in fetched["plugins"]]
    assert [path.read_bytes() for path in plugins] == [first.read_bytes(), second.read_bytes()]
    assert {path.parent for path in plugins} == {farm.folder / "out"}
    assert "to be loaded before the engine" in farm.run("fetch", "dynamic", "--gpu", "sm89").out

    # Another library makes another engine.
    plan = farm.json(*words, "--plugin", second, "--dry-run")
    assert plan["cells"][0]["engine"] is None
    assert farm.json(*words, "--plugin", first, "--plugin", second, "--dry-run")["cells"][0]["engine"]


@NEEDS_COMPILER
@pytest.mark.parametrize(
    ("source", "said"),
    [(UNRESOLVED, "undefined symbol: nowhere_to_be_found"), (DEADLY, "killed by SIGABRT")],
    ids=["does not load", "ends its process"],
)
def test_a_library_that_can_not_be_used_fails_its_job_alone(
    farm: FarmCommand, dynamic: Path, source: str, said: str
) -> None:
    plugin = library(farm.folder / "bad.so", source)
    words = ("submit", dynamic, "--spec", fast_spec(farm.folder), "--gpu", "sm89", "--batch", "8")
    ended = farm.run(*words, "--plugin", plugin, "--max-attempts", "1", "--local", code=None)
    assert ended.code
    assert said in ended.out + ended.err
    farm.run(*words, "--local")


def test_what_is_no_library_is_refused_before_anything_is_queued(farm: FarmCommand, dynamic: Path) -> None:
    words = ("submit", dynamic, "--gpu", "sm89", "--batch", "8", "--plugin")
    assert "can not be read" in farm.refused(*words, farm.folder / "none.so", code=2)
    assert "is no shared library" in farm.refused(*words, dynamic, code=2)
    assert not farm.has_anything()


@NEEDS_COMPILER
def test_a_target_without_plugins_is_refused_by_name(farm: FarmCommand, dynamic: Path) -> None:
    plugin = library(farm.folder / "lib.so", HARMLESS)
    words = ("submit", dynamic, "--gpu", "cpu,sm89", "--batch", "8", "--plugin", plugin)
    assert "takes no plugin libraries" in farm.refused(*words, code=2)
    plan = farm.json(*words, "--skip-unsupported", "--dry-run")
    assert [cell["device_type"] for cell in plan["cells"]] == ["any-sm89"]


@NEEDS_COMPILER
def test_a_spec_file_names_plugins_relative_to_itself(farm: FarmCommand, dynamic: Path) -> None:
    (farm.folder / "specs").mkdir()
    library(farm.folder / "lib.so", HARMLESS)
    saved = farm.folder / "specs" / "build.yaml"
    words = ("submit", dynamic, "--gpu", "sm89", "--batch", "8", "--plugin", farm.folder / "lib.so")
    plain = farm.run(*words, "--save-spec", saved, "--dry-run", "--json").document
    assert "../lib.so" in saved.read_text()
    assert farm.json("submit", "--spec", saved, "--dry-run") == plain
