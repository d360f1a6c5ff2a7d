"""How the queue grows: submissions, claims, heartbeats and the sweeper from 1,000 to 100,000 waiting jobs.

    python benchmarks/scale.py                                    # 1,000 simulated workers; some minutes
    python benchmarks/scale.py --backlogs 1000 --seconds 20       # a look

Real PostgreSQL and Redis of its own (from PATH or from wheels), durable as in production (fsync on). Workers
are simulated (benchmarks/simulated_worker.py): they build nothing. Three parts:

- growth: 1,000 live workers all the time. For every backlog: how fast it is submitted, what a round of the sweeper
  takes while all workers are idle, then a while in which they work on jobs of `--job-s`. Latencies are those of a
  worker's thread: from asking for a connection to the end of the commit, Python included.
- matrix: how long one submission of 1,000 cells takes.
- overhead: jobs of no length through the farm against as many no-op tasks through bare Celery and Redis
  (benchmarks/scale_overhead.py). The ratio counts; absolute figures are this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.provenance import provenance
from benchmarks.scale_fleet import CELLS, Fleet
from benchmarks.scale_overhead import measure_overhead
from workers.sweeper import Sweeper

USERS = 10
#: Threads of a process of simulated workers: as many as its pool keeps connections.
THREADS = 5
_PACKAGES = ("sqlalchemy", "psycopg", "celery", "kombu", "redis")


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--backlogs", default="1000,10000,100000", help="jobs that wait, lowest first")
    ask.add_argument("--workers", type=int, default=1000)
    ask.add_argument("--processes", type=int, default=4, help="that the workers of `growth` are spread over")
    ask.add_argument("--job-s", type=float, default=20.0)
    ask.add_argument("--seconds", type=float, default=40.0, help="of work at every backlog")
    ask.add_argument("--overhead-jobs", type=int, default=5000)
    ask.add_argument("--overhead-workers", default="2,4", help="numbers of worker processes")
    ask.add_argument("--repeat", type=int, default=3)
    ask.add_argument("--only", choices=["growth", "matrix", "overhead"])
    ask.add_argument("--json", type=Path, help="also write the figures here")
    args = ask.parse_args()
    result = provenance("python benchmarks/scale.py", _PACKAGES, "--json")
    parts = {
        "growth": measure_growth,
        "matrix": measure_matrix,
        "overhead": lambda fleet, args: measure_overhead(fleet, args, say),
    }
    with Fleet() as fleet:
        result["versions"] |= fleet.versions()
        for name, measure in parts.items():
            if args.only in (None, name):
                began = time.monotonic()
                result[name] = measure(fleet, args)
                fleet.dismiss()
                say(f"({name}: {time.monotonic() - began:.0f} s)")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


def say(text: str) -> None:
    """A line at once."""
    print(text, flush=True)


def measure_growth(fleet: Fleet, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One farm whose backlog grows, with as many workers all the time."""
    farm = fleet.new_farm()
    share = args.workers // args.processes
    common = {**farm.ask, "mode": "steady", "job_s": args.job_s, "threads": THREADS, "count": share}
    simulations = fleet.start([{**common, "first": number * share} for number in range(args.processes)])
    say(f"{share * args.processes} workers live in {args.processes} processes")
    sweeper = Sweeper(farm, farm.queue, "the sweeper")  # type: ignore[arg-type]
    found = []
    for backlog in map(int, args.backlogs.split(",")):
        # What the workers take while they are watched comes on top, so that never fewer wait.
        taken = round(share * args.processes * (1 + args.seconds / args.job_s))
        wanted = backlog + taken - farm.count("QUEUED")
        took_s = sum(farm.submit(wanted // USERS, f"user-{user}") for user in range(USERS))
        say(f"backlog {backlog:,}: {wanted:,} jobs submitted in {took_s:.1f} s")
        with farm.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM ANALYZE")
        idle = [sweep(sweeper) for _ in range(20)]
        for simulation in simulations:
            simulation.tell("work")
        before, end = fleet.cpu_s(), time.monotonic() + args.seconds
        busy = []
        while time.monotonic() < end:
            busy.append(sweep(sweeper))
            time.sleep(0.5)
        cores = {part: (spent - before[part]) / args.seconds for part, spent in fleet.cpu_s().items()}
        waiting = farm.count("QUEUED")
        for simulation in simulations:
            simulation.tell("rest")
        reports = [simulation.report() for simulation in simulations]
        claims, beats, finishes, late = (
            [value for report in reports for value in report.get(name, [])]
            for name in ("claims_ms", "beats_ms", "finishes_ms", "late_ms")
        )
        row = {
            "backlog": backlog,
            "waiting_at_the_end": waiting,
            "submitted": wanted,
            "submit_per_s": round(wanted / took_s),
            "workers": share * args.processes,
            "claims": len(claims),
            "claim_p50_ms": quantile(claims, 0.5),
            "claim_p99_ms": quantile(claims, 0.99),
            "heartbeats_per_s": round(len(beats) / args.seconds, 1),
            "heartbeat_p50_ms": quantile(beats, 0.5),
            "heartbeat_p99_ms": quantile(beats, 0.99),
            "finished": len(finishes),
            "finish_p50_ms": quantile(finishes, 0.5),
            "finish_p99_ms": quantile(finishes, 0.99),
            "sweep_idle_first_ms": round(idle[0], 1),
            "sweep_idle_p50_ms": quantile(idle[1:], 0.5),
            "sweep_busy_p50_ms": quantile(busy, 0.5),
            "sweep_busy_max_ms": round(max(busy), 1),
            "late_p99_ms": quantile(late, 0.99),
            "postgresql_cores": round(cores["postgresql"], 2),
            "simulation_cores": round(cores["workers"], 2),
            # Of the whole machine, whoever computes on it: with as many as it has cores latencies are its own.
            "load_average": round(os.getloadavg()[0], 1),
            "errors": sum(len(report["errors"]) for report in reports),
        }
        found.append(row)
        say(
            f"backlog {backlog:7,}: submit {row['submit_per_s']:,}/s | claim p50 {row['claim_p50_ms']} ms p99 "
            f"{row['claim_p99_ms']} ms | {row['heartbeats_per_s']} heartbeats/s p50 {row['heartbeat_p50_ms']} ms "
            f"p99 {row['heartbeat_p99_ms']} ms | finish p50 {row['finish_p50_ms']} ms | sweep p50 "
            f"{row['sweep_idle_p50_ms']} ms idle, {row['sweep_busy_p50_ms']} ms busy | late p99 {row['late_p99_ms']} ms | "
            f"{row['postgresql_cores']} cores of PostgreSQL, {row['simulation_cores']} of workers | "
            f"errors {row['errors']}"
        )
    if len(found) > 1:
        for name in ("claim_p50_ms", "claim_p99_ms", "heartbeat_p50_ms", "sweep_busy_p50_ms"):
            say(f"{name}: last / first backlog = {found[-1][name] / found[0][name]:.2f}")
    farm.close()
    return found


def sweep(sweeper: Sweeper) -> float:
    """A whole round of the sweeper, that of every two seconds; how many milliseconds it took."""
    began = time.perf_counter()
    sweeper._next_duty = 0.0
    sweeper.once()
    return 1000 * (time.perf_counter() - began)


def measure_matrix(fleet: Fleet, _args: argparse.Namespace) -> dict[str, Any]:
    """One submission of 1,000 cells, several times; the second of each shares what the first queued."""
    farm = fleet.new_farm()
    farm.submit(10, "warm")
    fresh = [farm.submit(CELLS, "user") for _ in range(3)]
    again = [farm.submit_range(10 + turn * CELLS, 10 + (turn + 1) * CELLS, "other") for turn in range(3)]
    farm.close()
    result = {
        "cells": CELLS,
        "new_s": round(statistics.median(fresh), 3),
        "shared_s": round(statistics.median(again), 3),
    }
    say(f"a matrix of {CELLS} cells: {result['new_s']} s new, {result['shared_s']} s shared")
    return result


def quantile(values: list[float], share: float) -> float:
    """A quantile of measured values, rounded."""
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2) if ordered else 0.0


if __name__ == "__main__":
    main()
