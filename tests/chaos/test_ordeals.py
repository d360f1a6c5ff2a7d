"""A fleet under fire keeps its promises: the short form; `python -m tests.chaos` plays longer histories, and more."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from tests.chaos.ordeal import undergo
from tests.chaos.scenarios import SCENARIOS
from tests.services import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.ordeal import Scenario

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
_SIZE = 4


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL that scenarios kill and start again."""
    with PostgresServer() as server:
        yield server


@pytest.mark.parametrize(
    "scenario", [scenario for scenario in SCENARIOS if scenario.in_short], ids=lambda scenario: scenario.name
)
def test_every_acknowledged_submission_ends_once_and_nothing_is_left(
    scenario: Scenario, postgres: PostgresServer, tmp_path: Path
) -> None:
    why_not = scenario.needs()
    if why_not:
        pytest.skip(why_not)
    seed = random.SystemRandom().getrandbits(32)
    # Shown if it fails: `python -m tests.chaos --only NAME --seed SEED` plays it again.
    print(f"seed {seed}")  # noqa: T201
    outcome = undergo(scenario, seed, postgres, tmp_path, size=_SIZE)
    assert outcome.violations == [], outcome
    assert outcome.faults, "nothing was done to it"
    assert outcome.jobs, "nobody asked for anything"
