"""Workers without a toolchain, many to a process: they claim, send heartbeats, and file what they made.

    python -m benchmarks.simulated_worker '{"mode": "steady", "database_url": …, "first": 0, "count": 250, …}'

Started by benchmarks/scale.py, which tells it what to do by lines on its standard input (`work`, `rest`, `report`)
and ends it by closing that. It answers `ready`, and every `report` with one line of JSON.

A thousand threads would measure Python's scheduler. So a few threads of a process lend themselves to many workers,
each with an identity, a device, and a timetable of its own; at the loads that the benchmark asks for they rest most
of the time, and `late_ms` says how far behind the timetable they are.
"""

from __future__ import annotations

import heapq
import json
import logging
import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
from workers.lease import HEARTBEAT_S
from workers.queues import TASK, new_celery_app

#: A lease as long as a fleet's.
LEASE_S = 30.0
_OUTCOME = AttemptOutcome(
    engine=None,
    build={"layers": 1},
    accuracy=None,
    unverified_reason="simulated",
    measurements=(),
    samples=None,
    timing_cache=None,
    seconds={"build": 1.0},
    environment={},
)


def settings_for(ask: dict[str, Any]) -> Settings:
    """Settings of a fleet on the benchmark's servers."""
    home = Path(ask["home"])
    return replace(read_settings(home, {}), database_url=ask["database_url"], broker_url=ask["broker_url"])


def celery_app_for(ask: dict[str, Any]) -> Any:
    """The farm's own Celery app; for a comparison with results kept in Redis."""
    app = new_celery_app(settings_for(ask))
    if ask.get("keeps_results"):
        app.conf.update(result_backend=ask["broker_url"], task_ignore_result=False)
    return app


class Figures:
    """What was measured since the last report; times in milliseconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, list[float]] = {}
        self._errors: list[str] = []

    def note(self, name: str, began: float) -> None:
        """How long something took that began at a moment of `time.perf_counter`."""
        took = 1000 * (time.perf_counter() - began)
        with self._lock:
            self._values.setdefault(name, []).append(took)

    def note_error(self, error: Exception) -> None:
        """Something that a worker would have to try again."""
        with self._lock:
            self._errors.append(str(error))

    def take(self) -> dict[str, Any]:
        """Everything, which is then forgotten."""
        with self._lock:
            taken = {**self._values, "errors": self._errors}
            self._values, self._errors = {}, []
        return taken


@dataclass
class SimulatedWorker:
    """What a worker does to the database, each step in the transactions of the real one.

    Attributes:
        number: of the worker; its id, host and device follow from it.
        database: the truth.
        figures: where times are noted.
        task: the job and the attempt at hand.
        ends_at: when they are finished.
    """

    number: int
    database: SqlDatabase
    figures: Figures
    task: Any = None
    ends_at: float = 0.0
    id: str = field(init=False)
    device: Any = field(init=False)

    def __post_init__(self) -> None:
        """A device of its own, eight to a host."""
        host, index = divmod(self.number, 8)
        self.id = f"w-{self.number:05d}"
        self.device = replace(a_device(), uuid=f"GPU-{self.number:05d}", host=f"host-{host:04d}", index=index)

    def register(self) -> None:
        """Files itself."""
        me = a_worker(id=self.id, name=f"worker-{self.number:05d}", host=self.device.host, device=self.device)
        with self.database.transaction() as transaction:
            transaction.fleet.register(me)

    def claim(self) -> bool:
        """Takes the next job, if there is one."""
        began = time.perf_counter()
        with self.database.autocommit() as transaction:
            self.task = transaction.jobs.claim_next(worker_id=self.id, device=self.device, lease_s=LEASE_S)
        self.figures.note("claims_ms" if self.task else "looks_ms", began)
        return self.task is not None

    def beat(self) -> None:
        """Renews the lease, and says that the worker lives."""
        began = time.perf_counter()
        with self.database.autocommit() as transaction:
            if self.task:
                transaction.jobs.heartbeat(self.task[1], LEASE_S)
            transaction.fleet.beat(self.id)
        self.figures.note("beats_ms", began)

    def finish(self) -> None:
        """Files an engine and ends the attempt."""
        began = time.perf_counter()
        (job, attempt), self.task = self.task, None
        # Bytes of its own: on the same ones, those who file them would wait for each other.
        outcome = replace(_OUTCOME, engine=a_digest(f"engine of {job.id}"))
        finish_attempt(self.database, job, attempt, outcome, a_digest(f"log of {job.id}"))
        self.figures.note("finishes_ms", began)


class Steady:
    """Many workers on a few threads, whose jobs all take the same time.

    Args:
        ask: the document of the command line.
    """

    def __init__(self, ask: dict[str, Any]) -> None:
        self._job_s = float(ask["job_s"])
        self._figures = Figures()
        self._work_since: float | None = None
        database = SqlDatabase(ask["database_url"])
        first, count = int(ask["first"]), int(ask["count"])
        self._workers = [
            SimulatedWorker(number, database, self._figures) for number in range(first, first + count)
        ]
        for worker in self._workers:
            worker.register()
        for lane in range(int(ask["threads"])):
            share = self._workers[lane :: int(ask["threads"])]
            threading.Thread(target=self._drive, args=(share,), daemon=True).start()

    def obey(self, word: str) -> dict[str, Any] | None:
        """Does as it is told; what was measured if that was asked for."""
        if word == "work":
            self._figures.take()
            self._work_since = time.monotonic()
        elif word == "rest":
            self._work_since = None
        elif word == "report":
            while any(worker.task for worker in self._workers):
                time.sleep(0.05)
            return self._figures.take()
        return None

    def _drive(self, workers: list[SimulatedWorker]) -> None:
        """The timetable of some workers."""
        begin = time.monotonic()
        due = [(begin + HEARTBEAT_S * at / len(workers), at) for at in range(len(workers))]
        heapq.heapify(due)
        while True:
            when, at = heapq.heappop(due)
            # Woken up early to see whether it is to work; not later than on the second.
            left = when - time.monotonic()
            if left > 0:
                time.sleep(left)
            else:
                self._figures.note("late_ms", time.perf_counter() + left)
            try:
                heapq.heappush(due, (self._act(workers[at], at / len(workers)), at))
            except FarmError as error:
                self._figures.note_error(error)
                heapq.heappush(due, (time.monotonic() + 1.0, at))

    def _act(self, worker: SimulatedWorker, place: float) -> float:
        """The next step of a worker; when the one after it is due."""
        since = self._work_since
        now = time.monotonic()
        if worker.task and (since is None or worker.ends_at <= now):
            worker.finish()
        may_claim = since is not None and now >= since + place * self._job_s
        if worker.task is None and may_claim and worker.claim():
            worker.ends_at = time.monotonic() + self._job_s
            return min(time.monotonic() + HEARTBEAT_S, worker.ends_at)
        worker.beat()
        following = time.monotonic() + HEARTBEAT_S
        if worker.task:
            return min(following, worker.ends_at)
        # Not all begin at once: their jobs end one after the other as well.
        starts = since + place * self._job_s if since is not None else following
        return starts if now < starts < following else following


class Consumer:
    """One worker that Celery wakes, as the farm's are; or Celery alone, with a task that does nothing.

    Args:
        ask: the document of the command line.
    """

    def __init__(self, ask: dict[str, Any]) -> None:
        self._figures = Figures()
        self._done: dict[str, float] = {}
        self._beats = bool(ask.get("beats"))
        self._worker: SimulatedWorker | None = None
        if ask["mode"] == "farm":
            self._worker = SimulatedWorker(int(ask["first"]), SqlDatabase(ask["database_url"]), self._figures)
            self._worker.register()
        app = celery_app_for(ask)
        app.task(name=TASK, shared=False)(self._wake if self._worker else self._do_nothing)
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
        while not self._listens(controller):
            time.sleep(0.01)

    def obey(self, _word: str) -> dict[str, Any]:
        """What was done, and when."""
        return {**self._figures.take(), "done": self._done}

    def _listens(self, controller: Any) -> bool:
        inner = getattr(controller, "consumer", None)
        return inner is not None and inner.blueprint.started == len(inner.steps)

    def _do_nothing(self, job_id: str = "") -> None:
        # Celery may deliver twice; the last time counts.
        self._done[job_id] = time.time()

    def _wake(self, _job_id: str = "") -> None:
        worker = self._worker
        assert worker is not None
        with suppress(FarmError):
            while worker.claim():
                job_id = worker.task[0].id
                if self._beats:
                    worker.beat()
                worker.finish()
                self._done[job_id] = time.time()


def main() -> None:
    """Obeys until nobody speaks any more."""
    ask = json.loads(sys.argv[1])
    simulated: Any = Steady(ask) if ask["mode"] == "steady" else Consumer(ask)
    print("ready", flush=True)
    for line in sys.stdin:
        answer = simulated.obey(line.strip())
        if answer is not None:
            print(json.dumps(answer), flush=True)
    # Celery's threads are in the way of an orderly end, and there is nothing left to do.
    os._exit(0)


if __name__ == "__main__":
    main()
