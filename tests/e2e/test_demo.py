"""`farm demo`: the tour that every new user takes first."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from farm.storage.database import SqlDatabase
from farm.storage.schema import downgrade
from tests.e2e.driver import FarmCommand

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import Ended

#: A folder that existed before, with a blank in its name, as on many a desktop.
FOLDER = "my demo"


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> FarmCommand:
    """A farm that only the demo works in."""
    return FarmCommand(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="session")
def shown(home: FarmCommand) -> Ended:
    """The first demo, as a user sees it."""
    return home.run("demo", "--folder", home.folder / FOLDER)


def test_the_demo_takes_less_than_a_minute(shown: Ended) -> None:
    assert shown.seconds < 60


def test_the_demo_ends_with_a_table_of_engines(shown: Ended) -> None:
    header = next(line for line in shown.out.splitlines() if line.startswith("device type"))
    for column in (
        "toolchain",
        "precision",
        "size",
        "build",
        "batch",
        "median ms",
        "p99 ms",
        "per second",
        "top-1",
    ):
        assert column in header
    cpu = re.search(r"^cpu-\S+ +onnxruntime \S+ +fp32 .*$", shown.out, re.MULTILINE)
    assert cpu, shown.out
    assert cpu[0].rstrip().endswith("100.0 %"), "top-1 on the labelled images"
    assert "exact" in cpu[0] or " dB" in cpu[0]


def test_the_demo_measures_every_batch_size(shown: Ended) -> None:
    at = shown.out.splitlines()
    start = next(number for number, line in enumerate(at) if line.startswith("cpu-"))
    batches = [
        re.search(r"(\d+) +[\d.]+(?: †)? +[\d.–]+ +[\d.–]+ +[\d,.]+ +plain", line)
        for line in at[start : start + 3]
    ]
    assert [found and found[1] for found in batches] == ["1", "8", "32"]


def test_the_demo_uses_the_fetched_engine_on_a_digit(shown: Ended, home: FarmCommand) -> None:
    said = re.search(r"the engine says (\d)", shown.out)
    label = re.search(r"the label says +(\d)", shown.out)
    assert said, shown.out
    assert label, shown.out
    assert said[1] == label[1]
    assert (home.folder / FOLDER / "digits.engine").stat().st_size > 10_000


def test_the_demo_says_what_it_left_out_and_why(shown: Ended) -> None:
    assert "left out: " in shown.err
    assert "a CPU has no TF32" in shown.err


def test_the_demo_shows_progress(shown: Ended) -> None:
    assert re.search(r"▸ .*: running, (prepare|build|verify|benchmark|upload)", shown.err)
    assert "✓ cpu-" in shown.err


def test_the_commands_that_the_demo_proposes_work(shown: Ended, home: FarmCommand) -> None:
    proposed = re.findall(r"^    farm (--home .+? )(engines|history) (\w.+?) +#", shown.out, re.MULTILINE)
    assert [command for _, command, _ in proposed] == ["engines", "history"]
    import shlex

    for place, command, words in proposed:
        ended = home.run(*shlex.split(place), command, *words.split())
        assert "cpu-" in ended.out


def test_a_second_demo_is_answered_from_the_store_and_prints_json(shown: Ended, home: FarmCommand) -> None:
    ended = home.run("demo", "--folder", home.folder / FOLDER, "--json")

    document = json.loads(ended.out)
    assert {cell["disposition"] for cell in document["cells"]} == {"built"}
    assert document["successful"] is True
    assert document["prediction"] == document["label"]
    assert document["fetched"].endswith("digits.engine")
    (engine,) = [one for one in document["engines"] if one["toolchain"].startswith("onnxruntime")]
    assert [figures["batch"] for figures in engine["measurements"]] == [1, 8, 32]
    assert engine["accuracy"]["label_top1"] == 1.0
    assert len(document["picture"]) == 8
    assert ended.seconds < shown.seconds


def test_the_demo_keeps_out_of_the_usual_farm(shown: Ended, home: FarmCommand) -> None:
    assert shown.code == 0
    assert not home.home.exists()


def test_the_demo_ignores_a_fleet_that_the_environment_names(home: FarmCommand, shown: Ended) -> None:
    ended = home.run(
        "demo", "--folder", home.folder / FOLDER,
        FARM_DATABASE_URL="postgresql+psycopg://nobody@127.0.0.1:1/nothing",
        FARM_BROKER_URL="redis://127.0.0.1:1/0",
        FARM_STORE=str(home.folder / "elsewhere"),
    )  # fmt: skip
    assert "the engine says" in ended.out
    assert not (home.folder / "elsewhere").exists()


def test_a_demo_of_an_earlier_release_is_brought_up(tmp_path: Path) -> None:
    home = FarmCommand(tmp_path)
    folder = tmp_path / FOLDER
    # With engines in it: rows that refer to one another stand in the way of changing a table on SQLite.
    home.run("demo", "--folder", folder)
    with closing(SqlDatabase(f"sqlite:///{folder / 'farm.db'}")) as database:
        downgrade(database, "0004")
    assert "Fetched for this machine" in home.run("demo", "--folder", folder).out
