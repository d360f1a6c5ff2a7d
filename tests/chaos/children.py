"""(g) Children that crash, hang, flood their log, eat memory or start daemons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.ordeal import Scenario

if TYPE_CHECKING:
    from tests.chaos.ordeal import Stage

#: What a build may do beside building; each is one fault, and none is fatal to a job by itself.
MISDEEDS = ("segfault", "hang", "hang in C", "flood and build", "fork", "daemon", "transient", "memory", "eat",
            "fill the disk", "forgetful daemon", "flood")  # fmt: skip
_DEADLINE_S = 6.0
_MEMORY = 512 << 20
_QUOTA = 16 << 20


def misbehaving(stage: Stage) -> None:
    """Every other build does something else than building."""
    fleet, rng = stage.fleet, stage.rng
    script = [rng.choice(MISDEEDS) if rng.random() < 0.5 else "build" for _ in range(stage.size)]
    script[0] = rng.choice(MISDEEDS)
    for misdeed in script:
        if misdeed != "build":
            fleet.fault(misdeed)
    fleet.fake.does(*script, "build")
    for _ in range(2):
        fleet.worker(child_memory=_MEMORY, scratch_quota=_QUOTA)
    fleet.client(stage.size, gap_s=0.2, deadline_s=_DEADLINE_S)
    fleet.wait_until_ready()


SCENARIOS = (Scenario("children crash, hang, flood, eat, fork", misbehaving, {"resumes": True}),)
