"""(a) Processes that are killed: every named step of worker, client and sweeper, and children at any moment."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.chaos.ordeal import Scenario

if TYPE_CHECKING:
    from tests.chaos.ordeal import Stage

OF_WORKERS = ("after-claim", "mid-build", "after-upload", "before-finish", "after-finish")
OF_CLIENTS = ("after-insert", "after-publish")
OF_SWEEPERS = ("before-rescue", "mid-rescue")


def killed_at_steps(stage: Stage) -> None:
    """Workers that die at a step each, a client at each of its steps, and a sweeper in the rescue of what they left."""
    fleet, rng = stage.fleet, stage.rng
    for step in OF_CLIENTS:
        fleet.client(stage.size // 2, failpoints=f"{step}=kill@{rng.randint(1, 2)}")
    fleet.client(stage.size)
    steps = rng.sample(OF_WORKERS, len(OF_WORKERS))
    for step in steps[:3]:
        fleet.worker(failpoints=f"{step}=kill@{rng.randint(1, 2)}")
    for step in OF_SWEEPERS:
        fleet.sweeper(failpoints=f"{step}=kill")
    fleet.wait_until_ready()
    for step in steps[3:]:
        fleet.pause(0.5, 1.5)
        fleet.worker(failpoints=f"{step}=kill")
    fleet.pause(6, 8)
    for member in fleet.members:
        if member.was_killed:
            fleet.fault(member.document["settings"]["failpoints"])
    fleet.worker()
    fleet.worker()
    fleet.wait_until_ready()


def killed_at_any_moment(stage: Stage) -> None:
    """Workers, their children and a sweeper are killed at random moments, and workers are started anew."""
    fleet, rng = stage.fleet, stage.rng
    fleet.client(stage.size)
    fleet.sweeper()
    for _ in range(2):
        fleet.worker()
    fleet.wait_until_ready()
    for _ in range(max(4, stage.size)):
        fleet.pause(0.1, 1.0)
        what = rng.choice(("worker", "child", "child", "sweeper"))
        if what == "child":
            children = fleet.children()
            if children:
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(children), signal.SIGKILL)
                    fleet.fault("kill child")
            continue
        alive = fleet.alive(what)
        if alive:
            victim = rng.choice(alive)
            victim.kill()
            fleet.fault(f"kill {what}")
            fleet.again(victim) if what == "worker" else fleet.sweeper()
    fleet.wait_until_ready()


SCENARIOS = (
    Scenario("killed at every named step", killed_at_steps),
    Scenario("killed at any moment", killed_at_any_moment),
)
