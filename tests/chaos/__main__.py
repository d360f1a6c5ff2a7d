# ruff: noqa: T201 - a program that prints its report
"""`python -m tests.chaos --runs N`: every scenario with N seeds; prints the table of docs/reliability.md.

::

    python -m tests.chaos --runs 20 --write docs/reliability.md
    python -m tests.chaos --only "Redis killed" --seed 17 --keep
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.checker import BROKEN, Violation
from tests.chaos.ordeal import Outcome, Scenario, undergo
from tests.chaos.report import table, write_into
from tests.chaos.scenarios import SCENARIOS
from tests.services import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="seeds for every scenario")
    parser.add_argument("--size", type=int, default=20, help="submissions of a history, more or less")
    parser.add_argument("--seed", type=int, help="of the first run; those after it count on from there")
    parser.add_argument("--only", default="", help="scenarios whose name holds this text")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no run begins")
    parser.add_argument(
        "--at-once", type=int, default=1, help="ordeals at the same time, each with its own servers"
    )
    parser.add_argument("--write", type=Path, help="a document whose table is replaced")
    parser.add_argument("--keep", action="store_true", help="keep the folders of runs that went wrong")
    return parser.parse_args()


def _run(scenario: Scenario, seed: int, postgres: PostgresServer, size: int, *, keep: bool) -> Outcome:
    print(f"{scenario.name}, seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="farm-chaos-"))
    try:
        outcome = undergo(scenario, seed, postgres, folder, size=size)
    except Exception as error:  # noqa: BLE001 - a fleet that does not even start is no reason to leave out the rest
        traceback.print_exc()
        postgres.restart()
        broken = Violation(BROKEN, f"it could not be played to its end: {error!r}")
        outcome = Outcome(seed, [], 0, [], 0.0, [broken])
    for text in [*map(str, outcome.violations), *outcome.failed]:
        print(f"  {scenario.name}, seed {seed}: {text}", flush=True)
    if outcome.violations and keep:
        print(f"  kept: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _work(ordeals: Iterable[tuple[Scenario, int]], given: argparse.Namespace) -> list[tuple[str, Outcome]]:
    """Takes one ordeal after the other, on a PostgreSQL of its own, until none or no time is left."""
    found = []
    with PostgresServer() as postgres:
        for scenario, seed in ordeals:
            found.append((scenario.name, _run(scenario, seed, postgres, given.size, keep=given.keep)))
    return found


def main() -> int:
    """Plays everything, seed by seed, so that a limit of time cuts all scenarios alike; 1 if a promise was broken."""
    given = _arguments()
    first = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    chosen = [scenario for scenario in SCENARIOS if given.only in scenario.name]
    skipped = {scenario.name: why for scenario in chosen if (why := scenario.needs())}
    outcomes: dict[str, list[Outcome]] = {scenario.name: [] for scenario in chosen}
    end = time.monotonic() + given.limit
    waiting = deque(
        (scenario, seed)
        for seed in range(first, first + given.runs)
        for scenario in chosen
        if scenario.name not in skipped
    )

    def ordeals() -> Iterator[tuple[Scenario, int]]:
        while waiting and time.monotonic() < end:
            with suppress(IndexError):
                yield waiting.popleft()

    with ThreadPoolExecutor(given.at_once) as pool:
        for part in [pool.submit(_work, ordeals(), given) for _ in range(given.at_once)]:
            for name, outcome in part.result():
                outcomes[name].append(outcome)
    lines = table(outcomes, skipped, at_once=given.at_once, size=given.size)
    print("\n".join(lines))
    if given.write:
        write_into(given.write, lines)
    return int(any(outcome.violations for found in outcomes.values() for outcome in found))


if __name__ == "__main__":
    sys.exit(main())
