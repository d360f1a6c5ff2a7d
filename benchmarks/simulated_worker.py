"""Workers without a toolchain, many to a process: they claim, live for a while, and file what they made.

    python benchmarks/simulated_worker.py '{"database_url": …, "broker_url": …, "first": 0, "count": 250, …}'

Started by benchmarks/scale.py. Every worker is a thread with an identity of its own; a process has one pool
of connections. Prints one JSON document at the end.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from celery.worker import WorkController
from kombu.entity import Queue

from farm.domain.errors import FarmError
from farm.domain.work import AttemptOutcome
from farm.services.attempts import finish_attempt
from farm.settings import Settings, read_settings
from farm.storage.database import SqlDatabase
from tests.factories import a_device, a_digest, a_target, a_worker
from workers.consumer import _Pool
from workers.queues import TASK, new_celery_app

#: A lease as long as a fleet's.
LEASE_S = 30.0
HEARTBEAT_S = 5.0


def settings_for(ask: dict[str, Any]) -> Settings:
    """Settings of a fleet on the benchmark's servers."""
    home = Path(ask["home"])
    return replace(read_settings(home, {}), database_url=ask["database_url"], broker_url=ask["broker_url"])


def register(database: SqlDatabase, number: int) -> tuple[str, Any]:
    """A worker with a device of its own; its id and device."""
    device = replace(a_device(), uuid=f"GPU-{number:05d}", host=f"host-{number // 8:04d}", index=number % 8)
    worker_id = f"w-{number:05d}"
    with database.transaction() as transaction:
        transaction.fleet.register(
            a_worker(id=worker_id, name=f"worker-{number:05d}", host=device.host, device=device)
        )
    return worker_id, device


class SimulatedWorkers:
    """Threads that do what workers do to the database.

    Args:
        ask: the document of the command line.
    """

    def __init__(self, ask: dict[str, Any]) -> None:
        self.database = SqlDatabase(ask["database_url"])
        self.job_s = float(ask["job_s"])
        self.stop = threading.Event()
        self.claims_ms: list[float] = []
        self.finishes_ms: list[float] = []
        self.beats = 0
        self.beats_ms: list[float] = []
        self.errors: list[str] = []
        self.last_finish = 0.0
        self._outcome = AttemptOutcome(
            engine=a_digest("engine"),
            build={"layers": 1},
            accuracy=None,
            unverified_reason="simulated",
            measurements=(),
            samples=None,
            timing_cache=None,
            seconds={"build": 1.0},
            environment={},
        )
        self._log = a_digest("log")

    def work_once(self, worker_id: str, device: Any) -> bool:
        """One job, if there is one."""
        begin = time.perf_counter()
        with self.database.transaction() as transaction:
            got = transaction.jobs.claim_next(worker_id=worker_id, device=device, lease_s=LEASE_S)
        self.claims_ms.append(1000 * (time.perf_counter() - begin))
        if got is None:
            return False
        job, attempt = got
        end = time.monotonic() + self.job_s
        while True:
            begin = time.perf_counter()
            with self.database.transaction() as transaction:
                transaction.jobs.heartbeat(attempt, LEASE_S)
                transaction.fleet.beat(worker_id)
            self.beats_ms.append(1000 * (time.perf_counter() - begin))
            left = end - time.monotonic()
            if left <= 0 or self.stop.wait(min(left, HEARTBEAT_S)):
                break
        begin = time.perf_counter()
        finish_attempt(self.database, job, attempt, self._outcome, self._log)
        self.finishes_ms.append(1000 * (time.perf_counter() - begin))
        self.last_finish = time.time()
        return True

    def live(self, number: int) -> None:
        """A worker's life until it is told to stop: it looks for work, and rests when there is none."""
        worker_id, device = register(self.database, number)
        # Not all at the same moment.
        self.stop.wait((number % 97) / 97 * min(self.job_s, 5.0))
        while not self.stop.is_set():
            try:
                if not self.work_once(worker_id, device):
                    self.stop.wait(1.0)
            except FarmError as error:
                self.errors.append(str(error))
                self.stop.wait(0.5)

    def report(self) -> dict[str, Any]:
        """What was measured."""
        return {
            "claims_ms": self.claims_ms,
            "finishes_ms": self.finishes_ms,
            "beats_ms": self.beats_ms,
            "errors": self.errors[:5],
            "error_count": len(self.errors),
            "last_finish": self.last_finish,
        }


def run_steady(ask: dict[str, Any]) -> dict[str, Any]:
    """As many workers as asked for, for a while."""
    workers = SimulatedWorkers(ask)
    first = int(ask["first"])
    threads = [
        threading.Thread(target=workers.live, args=(number,), daemon=True)
        for number in range(first, first + int(ask["count"]))
    ]
    for thread in threads:
        thread.start()
    time.sleep(float(ask["seconds"]))
    workers.stop.set()
    for thread in threads:
        thread.join(timeout=30)
    return workers.report()


def run_consumer(ask: dict[str, Any]) -> dict[str, Any]:
    """One worker woken by Celery, as the farm's are, or Celery alone with a task that does nothing."""
    bare = ask["mode"] == "bare"
    app = new_celery_app(settings_for(ask))
    workers = SimulatedWorkers(ask)
    identity = None if bare else register(workers.database, int(ask["first"]))
    done = [0, 0.0]

    def wake(_job_id: str = "") -> None:
        if identity is None:
            done[:] = [done[0] + 1, time.time()]
            return
        with suppress(FarmError):
            while workers.work_once(*identity):
                pass

    app.task(name=TASK, shared=False)(wake)
    app.conf.task_queues = [Queue(a_target().queue)]  # type: ignore[no-untyped-call]
    controller = WorkController(
        app=app,
        hostname=f"simulated-{ask['first']}",
        pool_cls=_Pool,
        concurrency=1,
        loglevel=logging.ERROR,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    threading.Thread(target=controller.start, daemon=True).start()
    print("ready", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    return {"done": done[0], "last": done[1]} if bare else workers.report()


def main() -> None:
    """Does what the document says."""
    ask = json.loads(sys.argv[1])
    result = run_steady(ask) if ask["mode"] == "steady" else run_consumer(ask)
    Path(ask["out"]).write_text(json.dumps(result))
    # Celery's threads are in the way of an orderly end, and there is nothing left to do.
    sys.stdout.flush()
    signal.raise_signal(signal.SIGKILL)


if __name__ == "__main__":
    main()
