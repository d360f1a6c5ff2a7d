"""What a submission, a claim, a heartbeat and an end cost in processor time: of the farm's Python and of PostgreSQL.

    python -m benchmarks.queue_cost --json queue_cost.json

One thread, one simulated worker, one user, PostgreSQL with fsync. Processor time hardly depends on who else computes
on the machine, so this tells what a change of a statement is worth. Also: how many updates PostgreSQL wrote in place.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scale_fleet import Fleet
from benchmarks.simulated_worker import Figures, SimulatedWorker

if TYPE_CHECKING:
    from collections.abc import Callable

_UPDATES = "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname IN ('jobs', 'attempts', 'workers')"


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--jobs", type=int, default=2000)
    ask.add_argument("--repeat", type=int, default=3)
    ask.add_argument("--json", type=Path, help="also write the figures here")
    args = ask.parse_args()
    with Fleet() as fleet:
        turns = [measure(fleet, args.jobs) for _ in range(args.repeat)]
    found: dict[str, Any] = {
        step: {
            figure: round(statistics.median(turn[step][figure] for turn in turns))
            for figure in turns[0][step]
        }
        for step in turns[0]
    }
    for step, figures in found.items():
        print(step, ", ".join(f"{figure} {value}" for figure, value in figures.items()))
    if args.json:
        command = f"python -m benchmarks.queue_cost --jobs {args.jobs} --repeat {args.repeat}"
        args.json.write_text(json.dumps({"command": command, **found}, indent=2) + "\n")


def measure(fleet: Fleet, jobs: int) -> dict[str, dict[str, float]]:
    """Microseconds of each step for one job, by who took them; and updates by table."""
    farm = fleet.new_farm()
    worker = SimulatedWorker(0, farm.database, Figures())
    worker.register()
    tasks: list[Any] = []

    def claim() -> None:
        for _ in range(jobs):
            assert worker.claim()
            tasks.append(worker.task)

    def with_each(act: Callable[[], None]) -> None:
        for task in tasks:
            worker.task = task
            act()

    # What is done for the first time is prepared, compiled and cached.
    farm.submit(jobs, "user")
    while worker.claim():
        worker.beat()
        worker.finish()
    steps: dict[str, Callable[[], Any]] = {
        "submission": lambda: farm.submit(jobs, "user"),
        "claim": claim,
        "heartbeat": lambda: with_each(worker.beat),
        "end": lambda: with_each(worker.finish),
    }
    found: dict[str, dict[str, float]] = {}
    for step, act in steps.items():
        # Autovacuum does it within a minute; until then the plans are those for tables that were almost empty.
        with farm.database.engine.connect() as connection:
            connection.exec_driver_sql("ANALYZE")
            connection.commit()
        before, own = fleet.cpu_s()["postgresql"], time.process_time()
        act()
        found[step] = {
            "python_us": 1e6 * (time.process_time() - own) / jobs,
            "postgresql_us": 1e6 * (fleet.cpu_s()["postgresql"] - before) / jobs,
        }
    # A connection of PostgreSQL hands its statistics in when it ends.
    farm.database.close()
    with farm.database.engine.connect() as connection:
        for table, updates, in_place in connection.exec_driver_sql(_UPDATES):
            found[f"updates of {table}"] = {"all": updates, "in_place": in_place}
    farm.close()
    return found


if __name__ == "__main__":
    main()
