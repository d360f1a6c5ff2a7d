"""(b) Workers that freeze for longer than their lease and come back: the fence refuses them, their children are gone."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.chaos.fleet import LEASE_S
from tests.chaos.ordeal import Scenario

if TYPE_CHECKING:
    from tests.chaos.ordeal import Stage

_STEPS = ("after-claim", "mid-build", "after-upload", "before-finish")


def frozen_and_back(stage: Stage) -> None:
    """Workers freeze at a step each, or at a random moment, stay away past the lease, and come back."""
    fleet, rng = stage.fleet, stage.rng
    fleet.client(stage.size)
    ghosts = [fleet.worker(failpoints=f"{step}=stop@1") for step in rng.sample(_STEPS, 2)]
    healthy = fleet.worker()
    fleet.wait_until_ready()
    fleet.pause(2, 4)
    healthy.signal(signal.SIGSTOP)
    fleet.pause(LEASE_S * 1.2, LEASE_S * 2)
    fleet.fault("freeze past the lease")
    fleet.worker().wait_until_ready()
    fleet.pause(LEASE_S, 2 * LEASE_S)
    for ghost in (healthy, *ghosts):
        ghost.signal(signal.SIGCONT)
    for ghost in ghosts:
        fleet.fault(f"freeze {ghost.document['settings']['failpoints']}")


SCENARIOS = (Scenario("frozen past the lease", frozen_and_back),)
