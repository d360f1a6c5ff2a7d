"""`farm canary`: workers time one where they are told to, and whoever looks is told what came of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.driver import FarmCommand


def test_a_worker_that_is_told_to_times_its_canary_when_it_starts(new_farm: FarmCommand) -> None:
    with new_farm.up(FARM_CANARY="on", FARM_LOG_LEVEL="info") as worker:
        worker.wait_for(r"canary (learning|disturbed)", patience_s=180)
        (device,) = new_farm.json("canary")
        (canary,) = device["canaries"]
        assert canary["median_ms"] > 0
        assert canary["verdict"] in ("learning", "disturbed")
        assert (device["suspect_since"], device["suspect_reason"]) == (None, None)
        shown = new_farm.run("canary", "--gpu", "cpu").out
        assert re.search(r"^CPU-\S+ on \S+ \(cpu-\S*\): trusted$", shown, re.MULTILINE)
        assert "has not drifted" in new_farm.refused("canary", device["device"], "--accept", code=4)


def test_where_no_canary_was_timed_that_is_said(farm: FarmCommand) -> None:
    assert "No canary was timed yet" in farm.run("canary").err
    assert farm.json("canary") == []
    assert "--accept is for one device" in farm.refused("canary", "--accept", code=2)
