"""(h) What operators do: two sweepers, a rolling restart under load. (k) Hosts whose clocks are wrong by an hour."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.fleet import LEASE_S
from tests.chaos.ordeal import Scenario
from tests.fake_toolchain.harness import ROOT

if TYPE_CHECKING:
    from tests.chaos.ordeal import Stage

#: A folder with a `sitecustomize` that shifts a process's clock.
_CLOCKS = Path(__file__).parent / "clocks"
_HOUR_S = 3600


def two_sweepers(stage: Stage) -> None:
    """Two sweepers, of which now one and now the other freezes and comes back with its duty long gone."""
    fleet = stage.fleet
    sweepers = [fleet.sweeper(), fleet.sweeper()]
    doomed = fleet.worker(failpoints="mid-build=kill@2")
    fleet.worker()
    fleet.client(stage.size)
    fleet.wait_until_ready()
    for sweeper in sweepers:
        fleet.pause(0.2, 1.0)
        sweeper.signal(signal.SIGSTOP)
        fleet.fault("freeze sweeper")
        fleet.pause(LEASE_S, 2 * LEASE_S)
        sweeper.signal(signal.SIGCONT)
    if not doomed.is_alive:
        fleet.fault("kill worker")


def rolling_restart(stage: Stage) -> None:
    """Every worker in turn is told to stop, and its successor takes its device, while clients go on submitting."""
    fleet = stage.fleet
    workers = [fleet.worker(), fleet.worker()]
    fleet.client(stage.size, gap_s=0.8)
    fleet.client(stage.size // 2, gap_s=0.8)
    fleet.wait_until_ready()
    for worker in workers * (1 if stage.size < 10 else 2):
        fleet.pause(0.3, 1.0)
        current = worker if worker.is_alive else fleet.alive("worker")[0]
        current.signal(signal.SIGTERM)
        fleet.fault("restart worker")
        current.wait(30)
        fleet.again(current).wait_until_ready()


def wrong_clocks(stage: Stage) -> None:
    """One worker lives an hour ahead, one an hour behind; one of them dies, so that a lease must run out."""
    fleet = stage.fleet
    ahead = fleet.worker(environment=shifted(_HOUR_S), failpoints="mid-build=kill@2")
    fleet.worker(environment=shifted(-_HOUR_S))
    fleet.client(stage.size)
    for _ in range(2):
        fleet.fault("clock wrong by an hour")
    fleet.wait_until_ready()
    fleet.pause(5, 6)
    if not ahead.is_alive:
        fleet.fault("kill worker")
        fleet.worker(environment=shifted(_HOUR_S)).wait_until_ready()


def shifted(seconds: int) -> dict[str, str]:
    """The environment of a process whose clock is wrong by so much."""
    return {"CHAOS_CLOCK_SHIFT_S": str(seconds), "PYTHONPATH": f"{_CLOCKS}:{ROOT}"}


SCENARIOS = (
    Scenario("two sweepers", two_sweepers),
    Scenario("rolling restart under load", rolling_restart),
    Scenario("clocks wrong by an hour", wrong_clocks),
)
