"""How the queue grows: submit rate, claim latency, heartbeats and sweeper from 1,000 to 100,000 waiting jobs.

    python benchmarks/scale.py                                    # 1,000 simulated workers; several minutes
    python benchmarks/scale.py --backlogs 1000 --seconds 10       # a look

Real PostgreSQL and Redis of its own (from PATH or from wheels), durable as in production (fsync on). Workers
are threads that claim, send heartbeats and finish; they build nothing. Three parts:

- growth: for every backlog the rate at which it is submitted, then a while of 1,000 workers whose jobs take
  `--job-s`, with the latency of their claims, the load of their heartbeats, and what a round of the sweeper takes;
- matrix: how long one submission of 1,000 cells takes;
- overhead: jobs of no length through the farm (submitted, woken by Celery, claimed, beaten for, finished with an
  engine filed) against as many no-op tasks through bare Celery and Redis with the same number of worker
  processes, in turn and several times in the same run. The ratio counts; absolute figures are this machine's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.simulated_worker import settings_for  # noqa: E402
from farm.domain.work import JobRequest  # noqa: E402
from farm.services.plan import Plan, PlannedCell  # noqa: E402
from farm.services.submit import SubmitOrder, submit_plan  # noqa: E402
from farm.services.sweep import announce_due  # noqa: E402
from farm.storage.database import SqlDatabase  # noqa: E402
from farm.storage.schema import upgrade  # noqa: E402
from tests.factories import a_build_spec, a_model, a_target, a_worker  # noqa: E402
from tests.services import PostgresServer, RedisServer  # noqa: E402
from workers.queues import TASK, CeleryQueue, new_celery_app  # noqa: E402
from workers.sweeper import Sweeper  # noqa: E402

CELLS = 1000
USERS = 10


class DurablePostgres(PostgresServer):
    """As in production: what was acknowledged survives a power cut."""

    def _command(self) -> list[str]:
        settings = {
            "fsync": "on",
            "full_page_writes": "on",
            "autovacuum": "on",
            "shared_buffers": "512MB",
            "max_connections": "300",
        }
        return [
            *super()._command(),
            *[word for name, value in settings.items() for word in ("-c", f"{name}={value}")],
        ]


def main() -> None:
    """Measures and prints."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--backlogs", default="1000,10000,100000")
    ask.add_argument("--workers", type=int, default=1000)
    ask.add_argument("--processes", type=int, default=4)
    ask.add_argument("--job-s", type=float, default=30.0)
    ask.add_argument("--seconds", type=float, default=60.0)
    ask.add_argument("--overhead-jobs", type=int, default=3000)
    ask.add_argument("--overhead-workers", type=int, default=2)
    ask.add_argument("--repeat", type=int, default=3)
    ask.add_argument("--only", choices=["growth", "matrix", "overhead"])
    ask.add_argument("--json", type=Path, help="also write the figures here")
    args = ask.parse_args()
    result: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "command": "python benchmarks/scale.py " + " ".join(sys.argv[1:]),
    }
    with ExitStack() as stack:
        postgres, redis = DurablePostgres(), RedisServer()
        for server in (postgres, redis):
            server.start()
            stack.callback(server.close)
        fleet = Fleet(postgres, redis, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(fleet.kill)
        if args.only in (None, "growth"):
            result["growth"] = [measure_growth(fleet, args, int(size)) for size in args.backlogs.split(",")]
        if args.only in (None, "matrix"):
            result["matrix"] = measure_matrix(fleet)
        if args.only in (None, "overhead"):
            result["overhead"] = measure_overhead(fleet, args)
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


class Fleet:
    """Servers, and empty farms on them."""

    def __init__(self, postgres: PostgresServer, redis: RedisServer, folder: Path) -> None:
        self._postgres = postgres
        self.redis = redis
        self.folder = folder
        self._processes: list[subprocess.Popen[str]] = []

    def kill(self) -> None:
        """Ends every process that was started."""
        for process in self._processes:
            process.kill()

    def new_farm(self) -> tuple[SqlDatabase, dict[str, Any]]:
        """A database with a model and a target, and what simulated workers are told of it."""
        url = self._postgres.createdb()
        database = SqlDatabase(url)
        upgrade(database)
        with database.transaction() as transaction:
            transaction.fleet.describe(a_worker().device_types, a_worker().toolchains)
        return database, {"database_url": url, "broker_url": self.redis.url, "home": str(self.folder)}

    def start(self, ask: dict[str, Any]) -> tuple[subprocess.Popen[str], Path]:
        """A process of simulated workers."""
        out = self.folder / f"{time.monotonic_ns()}.json"
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.simulated_worker", json.dumps({**ask, "out": str(out)})],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process, out


def submit(database: SqlDatabase, count: int, user: str, salt: str) -> float:
    """Files jobs as users do, a matrix of at most 1,000 cells at a time; the seconds it took."""
    begin = time.perf_counter()
    for first in range(0, count, CELLS):
        cells = tuple(
            PlannedCell("nvidia-h200", a_build_spec(salt=f"{salt}-{number}"), has_live_worker=True)
            for number in range(first, min(first + CELLS, count))
        )
        order = SubmitOrder("resnet", user, {}, JobRequest())
        submit_plan(database, a_model(), Plan(cells, (), (1,), ()), order)
    return time.perf_counter() - begin


def measure_growth(fleet: Fleet, args: argparse.Namespace, backlog: int) -> dict[str, Any]:
    """One backlog, by ten users, and a while of many workers on it."""
    database, ask = fleet.new_farm()
    took_s = sum(submit(database, backlog // USERS, f"user-{user}", f"u{user}") for user in range(USERS))
    with database.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        connection.commit()
    share = args.workers // args.processes
    common = {**ask, "mode": "steady", "job_s": args.job_s, "seconds": args.seconds, "count": share}
    processes = [fleet.start({**common, "first": number * share}) for number in range(args.processes)]
    sweeper = Sweeper(
        _FarmOf(database, settings_for(ask)),  # type: ignore[arg-type]
        CeleryQueue(new_celery_app(settings_for(ask)), fleet.redis.url),
        "sweeper",
    )
    sweeps_ms = []
    end = time.monotonic() + args.seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        sweeper._next_duty = 0.0
        sweeper.once()
        sweeps_ms.append(1000 * (time.perf_counter() - begin))
        time.sleep(1.0)
    for process, _ in processes:
        process.wait(120)
    reports = [json.loads(out.read_text()) for _, out in processes]
    claims = [value for report in reports for value in report["claims_ms"]]
    beats = [value for report in reports for value in report["beats_ms"]]
    finished = sum(len(report["finishes_ms"]) for report in reports)
    result = {
        "backlog": backlog,
        "submit_per_s": round(backlog / took_s),
        "workers": share * args.processes,
        "claims": len(claims),
        "claim_p50_ms": quantile(claims, 0.5),
        "claim_p99_ms": quantile(claims, 0.99),
        "heartbeats_per_s": round(len(beats) / args.seconds, 1),
        "heartbeat_p50_ms": quantile(beats, 0.5),
        "heartbeat_p99_ms": quantile(beats, 0.99),
        "finished": finished,
        "sweep_p50_ms": quantile(sweeps_ms, 0.5),
        "sweep_max_ms": round(max(sweeps_ms), 1),
        "errors": sum(report["error_count"] for report in reports),
    }
    database.close()
    print(
        f"backlog {backlog:7,}   submitted {result['submit_per_s']:6,}/s   claim p50 {result['claim_p50_ms']:6.1f} ms "
        f"p99 {result['claim_p99_ms']:6.1f} ms   {result['heartbeats_per_s']:6.1f} heartbeats/s p50 "
        f"{result['heartbeat_p50_ms']:.1f} ms   sweep p50 {result['sweep_p50_ms']:.1f} ms   finished {finished}   "
        f"errors {result['errors']}",
        flush=True,
    )
    return result


class _FarmOf:
    """As much of a farm as the sweeper needs."""

    def __init__(self, database: SqlDatabase, settings: Any) -> None:
        self.database = database
        self.settings = settings


def measure_matrix(fleet: Fleet) -> dict[str, Any]:
    """One submission of 1,000 cells, several times; the second of each is answered by what the first queued."""
    database, _ = fleet.new_farm()
    submit(database, 10, "warm", "warm")
    fresh = [submit(database, CELLS, "user", f"m{turn}") for turn in range(3)]
    again = [submit(database, CELLS, "other", f"m{turn}") for turn in range(3)]
    database.close()
    result = {
        "cells": CELLS,
        "new_s": round(statistics.median(fresh), 3),
        "shared_s": round(statistics.median(again), 3),
    }
    print(f"a matrix of {CELLS} cells: {result['new_s']} s new, {result['shared_s']} s shared", flush=True)
    return result


def measure_overhead(fleet: Fleet, args: argparse.Namespace) -> dict[str, Any]:
    """Bare Celery and the farm in turn."""
    bare, farm = [], []
    for _ in range(args.repeat):
        bare.append(args.overhead_jobs / bare_seconds(fleet, args))
        farm.append(args.overhead_jobs / farm_seconds(fleet, args))
    result = {
        "jobs": args.overhead_jobs,
        "worker_processes": args.overhead_workers,
        "bare_per_s": round(statistics.median(bare)),
        "farm_per_s": round(statistics.median(farm)),
        "ratio": round(statistics.median(f / b for f, b in zip(farm, bare, strict=True)), 2),
        "ratios": [round(f / b, 2) for f, b in zip(farm, bare, strict=True)],
    }
    print(
        f"{args.overhead_workers} worker process(es): bare Celery {result['bare_per_s']}/s   farm {result['farm_per_s']}/s   "
        f"ratio {result['ratio']} (of {result['ratios']})",
        flush=True,
    )
    return result


def bare_seconds(fleet: Fleet, args: argparse.Namespace) -> float:
    """From the first message to the end of the last task."""
    database, ask = fleet.new_farm()
    consumers = start_consumers(fleet, args, {**ask, "mode": "bare"})
    app = new_celery_app(settings_for(ask))
    begin = time.time()
    for number in range(args.overhead_jobs):
        app.send_task(TASK, args=[f"j-{number}"], queue=a_target().queue)
    deadline = time.monotonic() + 300
    import redis

    client = redis.Redis.from_url(fleet.redis.url)
    while client.llen(f"farm:{a_target().queue}") and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    reports = stop_consumers(consumers)
    database.close()
    assert sum(report["done"] for report in reports) == args.overhead_jobs, reports
    return float(max(report["last"] for report in reports) - begin)


def farm_seconds(fleet: Fleet, args: argparse.Namespace) -> float:
    """From the first submission to the end of the last job."""
    database, ask = fleet.new_farm()
    consumers = start_consumers(fleet, args, {**ask, "mode": "farm"})
    queue = CeleryQueue(new_celery_app(settings_for(ask)), fleet.redis.url)
    begin = time.time()
    for first in range(0, args.overhead_jobs, CELLS):
        submit(database, min(CELLS, args.overhead_jobs - first), "user", f"o{first}")
        announce_due(database, queue)
    while left(database):
        time.sleep(0.02)
        announce_due(database, queue)
    reports = stop_consumers(consumers)
    database.close()
    assert sum(len(report["finishes_ms"]) for report in reports) == args.overhead_jobs
    assert not any(report["errors"] for report in reports), reports
    return float(max(report["last_finish"] for report in reports) - begin)


def left(database: SqlDatabase) -> int:
    """How many jobs have not ended."""
    with database.engine.connect() as connection:
        query = "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE state IN ('QUEUED', 'RUNNING') LIMIT 1) AS one_of_them"
        return int(connection.exec_driver_sql(query).scalar_one())


def start_consumers(
    fleet: Fleet, args: argparse.Namespace, ask: dict[str, Any]
) -> list[tuple[subprocess.Popen[str], Path]]:
    """Worker processes that listen."""
    consumers = [fleet.start({**ask, "job_s": 0, "first": number}) for number in range(args.overhead_workers)]
    for process, _ in consumers:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
    time.sleep(2)
    return consumers


def stop_consumers(consumers: list[tuple[subprocess.Popen[str], Path]]) -> list[dict[str, Any]]:
    """Their reports."""
    for process, _ in consumers:
        process.send_signal(signal.SIGTERM)
    for process, _ in consumers:
        process.wait(60)
    return [json.loads(out.read_text()) for _, out in consumers]


def quantile(values: list[float], share: float) -> float:
    """A quantile of measured values, rounded."""
    ordered = sorted(values)
    return round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 2) if ordered else 0.0


if __name__ == "__main__":
    main()
