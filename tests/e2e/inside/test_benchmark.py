"""`farm benchmark`: filed engines are measured again, and held against each other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.driver import FarmCommand

SHORT = ("--warmup-ms", "1", "--duration-ms", "20", "--interval-percent", "100")


def test_all_engines_of_a_model_are_measured_again_and_shown_beside_what_was_before(
    two_engines: FarmCommand,
) -> None:
    made = two_engines.run("benchmark", "dense", "--batch", "4", *SHORT, "--local")
    assert re.search(r"^engine 1: dense@1 · cpu", made.out, re.MULTILINE)
    assert re.search(r"^engine 2: dense@1 · cpu", made.out, re.MULTILINE)
    rows = re.findall(r"^ +([12]) +\d+ +CPU-\S+ +4 +plain +\d+\.\d+ +\S.*$", made.out, re.MULTILINE)
    assert rows == ["1", "2"]
    assert len(two_engines.json("history", "dense", "--batch", "4", "--tainted")) == 4


def test_repeats_show_how_far_their_medians_spread(two_engines: FarmCommand) -> None:
    document = two_engines.json("benchmark", "1", "--batch", "4", "--repeat", "3", *SHORT, "--local")
    assert len({run["run"] for run in document["runs"]}) == 3
    (spread,) = document["spread"]
    assert (spread["engine"], spread["batch"], spread["method"]) == (1, 4, "plain")
    medians = [run["measurements"][0]["compute"]["median_ms"] for run in document["runs"]]
    assert spread["medians_ms"] == medians
    assert spread["spread_percent"] >= 0


def test_two_engines_are_held_against_each_other(two_engines: FarmCommand) -> None:
    made = two_engines.run("benchmark", "--ab", "1", "2", "--batch", "4", *SHORT, "--local")
    assert re.search(r"^A: engine 1: dense@1", made.out, re.MULTILINE)
    assert re.search(r"^B: engine 2: dense@1", made.out, re.MULTILINE)
    assert re.search(
        r"^ +4 +plain .*(B is \S+ % (faster|slower)|no difference can be told)", made.out, re.MULTILINE
    )
    document = two_engines.json("benchmark", "--ab", "1", "2", "--batch", "4", *SHORT, "--local")
    (result,) = document["comparison"]["results"]
    low, high = result["difference_interval_ms"]
    assert low <= result["difference_ms"] <= high


def test_without_a_worker_it_is_queued_and_says_how_to_follow_it(two_engines: FarmCommand) -> None:
    made = two_engines.run("benchmark", "1", "--on", "GPU-none", code=None)
    assert "no device, host or worker is called 'GPU-none'" in made.err
    queued = two_engines.json("benchmark", "1", "--repeat", "2")
    assert len(queued["jobs"]) == 2
    assert two_engines.json("benchmark", "1", "--repeat", "2")["jobs"] == queued["jobs"], "shared"


def test_what_makes_no_sense_is_refused(two_engines: FarmCommand) -> None:
    assert "--ab A B" in two_engines.refused("benchmark", code=2)
    assert "do not go together" in two_engines.refused("benchmark", "--ab", "1", "2", "--repeat", "2", code=2)
    assert "batch 9" in two_engines.refused("benchmark", "1", "--batch", "9", code=2)
