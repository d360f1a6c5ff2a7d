"""One ordeal: a scenario with a seed, from an empty farm to the checker's word."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.chaos.checker import DOUBLED, LOST, Violation, violations
from tests.chaos.fleet import Fleet
from tests.services import PostgresServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_PATIENCE_S = 120.0


@dataclass
class Stage:
    """What a scenario plays on.

    Attributes:
        fleet: with everybody that the scenario starts.
        rng: of its seed.
        size: submissions, more or less; faults grow with it.
        postgres: where the fleet's database is.
        broker: the fleet's.
        folder: for files of the scenario.
        stack: for what must last until the evidence is taken, such as proxies and mounts.
    """

    fleet: Fleet
    rng: random.Random
    size: int
    postgres: PostgresServer
    broker: RedisServer
    folder: Path
    stack: ExitStack


@dataclass(frozen=True)
class Scenario:
    """A way for a fleet to suffer.

    Attributes:
        name: what the report calls it, in words.
        play: does it; all faults are over when it returns, and somebody is there to work.
        options: what differs from a farm as usual. `schema`: the revision that its database begins with;
            `serves`: the type of device that clients ask for, and its toolchain; `append_only`: whether its Redis
            writes down what it holds; `postgres`: makes a PostgreSQL of its own; `store`, `home`: make the
            folder of its store, or the farm's whole folder (what they make is closed at the end); `embedded`: on
            SQLite, without a broker; `rebuilds`: of the checker; `resumes`: whether somebody resumes workers that
            drained themselves, as they do after three different jobs that failed in a row.
        needs: why it can not run here; empty if it can.
        in_short: whether it is part of the short form.
    """

    name: str
    play: Callable[[Stage], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Callable[[], str] = lambda: ""
    in_short: bool = True


@dataclass(frozen=True)
class Outcome:
    """What became of an ordeal.

    Attributes:
        seed: that plays it again.
        faults: that were injected.
        jobs: in SQL at the end.
        failed: jobs that ended FAILED, each with its evidence.
        heal_s: from the end of the last fault until every job had ended, and that of a client who was started
            at that moment.
        violations: every promise that was not kept.
    """

    seed: int
    faults: list[str]
    jobs: int
    failed: list[str]
    heal_s: float
    violations: list[Violation]

    def count(self, kind: str) -> int:
        """Violations of a kind."""
        return sum(violation.kind == kind for violation in self.violations)

    @property
    def lost(self) -> int:
        """Acknowledged work that never ended."""
        return self.count(LOST)

    @property
    def doubled(self) -> int:
        """Work that was done or accepted twice."""
        return self.count(DOUBLED)


def undergo(scenario: Scenario, seed: int, postgres: PostgresServer, folder: Path, *, size: int) -> Outcome:
    """Plays a scenario on a fleet of its own, and has the checker look at what is left.

    Args:
        scenario: what to play.
        seed: of everything random.
        postgres: that has the fleet's database; the scenario may kill it, and leaves it running.
        folder: for the fleet's files.
        size: submissions, more or less.
    """
    rng = random.Random(seed)  # noqa: S311 - it is to be repeatable
    options = scenario.options
    with ExitStack() as stack:
        if "postgres" in options:
            postgres = stack.enter_context(options["postgres"]())
        url = postgres.createdb()
        # Not of a server that is gone by then.
        if "postgres" not in options:
            stack.callback(postgres.dropdb, url)
        broker = stack.enter_context(RedisServer(append_only=options.get("append_only", True)))
        settings: dict[str, Any] = (
            {} if options.get("embedded") else {"database_url": url, "broker_url": broker.url}
        )
        if "store" in options:
            settings["store"] = stack.enter_context(options["store"](folder / "store"))
        if "home" in options:
            stack.enter_context(options["home"](folder / "home"))
        about = {name: options[name] for name in ("schema", "serves") if name in options}
        fleet = stack.enter_context(Fleet(folder, rng, **about, **settings))
        # Ends before the fleet does, whose processes are gone by then unless something went wrong.
        with ExitStack() as of_scenario:
            scenario.play(Stage(fleet, rng, size, postgres, broker, folder, of_scenario))
            # Who asks now is served as if nothing had been.
            fleet.client(1)
            heal_s = fleet.come_to_rest(_PATIENCE_S, resumes=options.get("resumes", False))
            fleet.stop()
            evidence = fleet.evidence()
    failed = [f"{job.id}: {job.failure}" for job in evidence.jobs if job.state == "FAILED"]
    found = violations(evidence, rebuilds=bool(options.get("rebuilds")))
    return Outcome(seed, fleet.faults, len(evidence.jobs), failed, heal_s, found)
