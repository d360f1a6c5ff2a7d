"""How the queue grows: submissions, claims, heartbeats and the sweeper from 1,000 to 100,000 waiting jobs.

    python benchmarks/scale.py                                    # 1,000 simulated workers; some minutes
    python benchmarks/scale.py --backlogs 1000 --seconds 20       # a look

Real PostgreSQL and Redis of its own (from PATH or from wheels), durable as in production (fsync on). Workers
are simulated (benchmarks/simulated_worker.py): they build nothing. Three parts:

- growth: 1,000 live workers all the time. For every backlog: how fast it is submitted, what a round of the sweeper
  takes while all workers are idle, then a while in which they work on jobs of `--job-s`. Latencies are those of a
  worker's thread: from asking for a connection to the end of the commit, Python included.
- matrix: how long one submission of 1,000 cells takes.
- overhead: jobs of no length through the farm (submitted, woken by Celery, claimed, finished with an engine filed;
  once without a heartbeat, as the real worker, whose first comes after 5 s, and once with one) against as many no-op tasks through bare Celery and Redis, with the settings of the farm's own Celery
  app and the same number of worker processes, in turn and several times. Submission, or sending, is in the time.
  The ratio counts; absolute figures are this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scale_fleet import CELLS, Fleet
from benchmarks.simulated_worker import settings_for
from farm.services.sweep import announce_due
from tests.factories import a_target
from workers.queues import TASK, new_celery_app
from workers.sweeper import Sweeper

USERS = 10
#: Threads of a process of simulated workers: as many as its pool keeps connections.
THREADS = 5
_PATIENCE_S = 300.0


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--backlogs", default="1000,10000,100000", help="jobs that wait, lowest first")
    ask.add_argument("--workers", type=int, default=1000)
    ask.add_argument("--processes", type=int, default=4, help="that the workers of `growth` are spread over")
    ask.add_argument("--job-s", type=float, default=20.0)
    ask.add_argument("--seconds", type=float, default=40.0, help="of work at every backlog")
    ask.add_argument("--overhead-jobs", type=int, default=5000)
    ask.add_argument("--overhead-workers", type=int, default=2, help="worker processes")
    ask.add_argument("--repeat", type=int, default=3)
    ask.add_argument("--only", choices=["growth", "matrix", "overhead"])
    ask.add_argument("--json", type=Path, help="also write the figures here")
    args = ask.parse_args()
    result: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "command": " ".join(["python benchmarks/scale.py", *without_json(sys.argv[1:])]),
    }
    parts = {"growth": measure_growth, "matrix": measure_matrix, "overhead": measure_overhead}
    with Fleet() as fleet:
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
        cores = [(b - a) / args.seconds for a, b in zip(before, fleet.cpu_s(), strict=True)]
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
            "postgresql_cores": round(cores[0], 2),
            "simulation_cores": round(cores[1], 2),
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


def measure_overhead(fleet: Fleet, args: argparse.Namespace) -> dict[str, Any]:
    """Bare Celery and the farm in turn."""
    bare, farm, beaten = [], [], []
    for turn in range(args.repeat):
        bare.append(args.overhead_jobs / bare_seconds(fleet, args))
        farm.append(args.overhead_jobs / farm_seconds(fleet, args, beats=False))
        beaten.append(args.overhead_jobs / farm_seconds(fleet, args, beats=True))
        say(
            f"{turn + 1} of {args.repeat}: bare Celery {bare[-1]:.0f}/s, farm {farm[-1]:.0f}/s, "
            f"with a heartbeat {beaten[-1]:.0f}/s"
        )
    ratios = [ours / theirs for ours, theirs in zip(farm, bare, strict=True)]
    ratios_beaten = [ours / theirs for ours, theirs in zip(beaten, bare, strict=True)]
    result = {
        "jobs": args.overhead_jobs,
        "worker_processes": args.overhead_workers,
        "bare_per_s": round(statistics.median(bare)),
        "farm_per_s": round(statistics.median(farm)),
        "farm_with_a_heartbeat_per_s": round(statistics.median(beaten)),
        "ratio_with_a_heartbeat": round(statistics.median(ratios_beaten), 2),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }
    say(
        f"{args.overhead_workers} worker process(es): bare Celery {result['bare_per_s']}/s   farm "
        f"{result['farm_per_s']}/s   ratio {result['ratio']} (of {result['ratios']}), with a heartbeat for every job "
        f"{result['ratio_with_a_heartbeat']}"
    )
    return result


def consumers(fleet: Fleet, args: argparse.Namespace, ask: dict[str, Any]) -> list[Any]:
    """Worker processes that listen to an empty queue."""
    fleet.dismiss()
    return fleet.start([{**ask, "first": number} for number in range(args.overhead_workers)])


def bare_seconds(fleet: Fleet, args: argparse.Namespace) -> float:
    """From the first message to the end of the last task."""
    ask = {"broker_url": fleet.redis.url, "database_url": "", "home": fleet.folder.name, "mode": "bare"}
    started = consumers(fleet, args, ask)
    app = new_celery_app(settings_for(ask))
    begin = time.time()
    for number in range(args.overhead_jobs):
        app.send_task(TASK, args=[f"j-{number}"], queue=a_target().queue)
    done: dict[str, float] = {}
    while len(done) < args.overhead_jobs:
        check_patience(begin)
        time.sleep(0.25)
        for consumer in started:
            done |= consumer.report()["done"]
    return max(done.values()) - begin


def farm_seconds(fleet: Fleet, args: argparse.Namespace, *, beats: bool) -> float:
    """From the first submission to the end of the last job."""
    farm = fleet.new_farm()
    started = consumers(fleet, args, {**farm.ask, "mode": "farm", "beats": beats})
    begin = time.time()
    for first in range(0, args.overhead_jobs, CELLS):
        farm.submit(min(CELLS, args.overhead_jobs - first), "user")
        announce_due(farm.database, farm.queue)
    while left := farm.count("QUEUED", "RUNNING"):
        check_patience(begin)
        time.sleep(0.25)
        announce_due(farm.database, farm.queue)
    reports = [consumer.report() for consumer in started]
    done = {job: when for report in reports for job, when in report["done"].items()}
    farm.close()
    assert left == 0
    assert len(done) == args.overhead_jobs
    return max(done.values()) - begin


def check_patience(begin: float) -> None:
    """Gives up on what hangs."""
    if time.time() - begin > _PATIENCE_S:
        raise TimeoutError(f"not done after {_PATIENCE_S:.0f} s")


def quantile(values: list[float], share: float) -> float:
    """A quantile of measured values, rounded."""
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2) if ordered else 0.0


def without_json(words: list[str]) -> list[str]:
    """The command line without the name of a file."""
    at = words.index("--json") if "--json" in words else len(words)
    return words[:at] + words[at + 2 :]


if __name__ == "__main__":
    main()
