"""(l) GPUs that fall off the bus, in the middle of a build or between two, and are there again after a reset."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from tests.chaos.gpu_worker_process import GPU, GPU_DESCRIPTION
from tests.chaos.ordeal import Scenario

if TYPE_CHECKING:
    from tests.chaos.ordeal import Stage

_MODULE = "tests.chaos.gpu_worker_process"


def disappearing(stage: Stage) -> None:
    """One GPU after the other is lost for longer than its worker looks away; now and then its child dies of it."""
    fleet, rng = stage.fleet, stage.rng
    workers = [fleet.worker(module=_MODULE), fleet.worker(module=_MODULE)]
    fleet.client(stage.size, gap_s=1.0)
    fleet.wait_until_ready()
    for number in range(2 if stage.size < 10 else 4):
        mark = fleet.fake.control / f"lost-{workers[number % 2].document['device']}"
        fleet.pause(0.3, 1.5)
        mark.touch()
        fleet.fault("lose a gpu")
        children = fleet.children()
        if children and rng.random() < 0.5:
            with suppress(ProcessLookupError):
                os.kill(rng.choice(children), signal.SIGSEGV)
                fleet.fault("a child crashes")
        # A worker looks every 2 s, and once more half a second later.
        fleet.pause(3.0, 5.0)
        mark.unlink()


SCENARIOS = (Scenario("a GPU disappears", disappearing, {"serves": (GPU, GPU_DESCRIPTION), "resumes": True}),)
