"""What the farm's queue costs beside bare Celery and Redis; the third part of benchmarks/scale.py.

As many jobs of no length as tasks that do nothing, with as many worker processes, through the farm's own Celery
app: the same settings, messages acknowledged late, one at a time. In turn and several times:

- bare: send, receive, acknowledge. Nobody learns whether a task was done.
- kept: the same with Celery's results kept in Redis, which is how a user of bare Celery learns an outcome.
- farm: submitted, woken, claimed, finished with an engine filed. No heartbeat: a real worker's first comes after 5 s.
- beaten: the same with a heartbeat for every job.

Submission (as matrices of 250 cells), or sending, is in the time. On a machine whose processors are full a ratio is that of processor time, so
that is measured as well: milliseconds for a job or task, of every process that takes part.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.simulated_worker import celery_app_for
from farm.services.sweep import announce_due
from tests.factories import a_target
from workers.queues import TASK

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from benchmarks.scale_fleet import Fleet, Simulation

_PATIENCE_S = 300.0
#: Cells of a submission: workers begin as soon as the first is filed.
_MATRIX = 250
#: How often it is looked whether all is done, and idle workers are told what is due.
_LOOK_S = 0.5


@dataclass(frozen=True)
class Turn:
    """One measurement.

    Attributes:
        per_s: jobs or tasks a second.
        cpu_ms: milliseconds of processors for one, by who took them.
    """

    per_s: float
    cpu_ms: dict[str, float]

    @property
    def total_cpu_ms(self) -> float:
        """Of all together."""
        return sum(self.cpu_ms.values())

    def as_json(self) -> dict[str, Any]:
        """Rounded."""
        parts = {name: round(value, 3) for name, value in self.cpu_ms.items()}
        return {"per_s": round(self.per_s), "cpu_ms": {**parts, "all": round(self.total_cpu_ms, 3)}}


def measure_overhead(
    fleet: Fleet, args: argparse.Namespace, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """For each number of worker processes."""
    return [_measure(fleet, args, int(workers), say) for workers in args.overhead_workers.split(",")]


def _measure(
    fleet: Fleet, args: argparse.Namespace, workers: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """All four in turn; ratios are of one turn each, and the medians of those."""
    jobs = args.overhead_jobs
    kinds: dict[str, Callable[[], Turn]] = {
        "bare": lambda: bare_turn(fleet, jobs, workers, keeps_results=False),
        "kept": lambda: bare_turn(fleet, jobs, workers, keeps_results=True),
        "farm": lambda: farm_turn(fleet, jobs, workers, beats=False),
        "beaten": lambda: farm_turn(fleet, jobs, workers, beats=True),
    }
    turns: dict[str, list[Turn]] = {kind: [] for kind in kinds}
    for number in range(args.repeat):
        for kind, take in kinds.items():
            turns[kind].append(take())
        last = {kind: taken[-1] for kind, taken in turns.items()}
        speeds = ", ".join(
            f"{kind} {turn.per_s:.0f}/s ({turn.total_cpu_ms:.2f} ms)" for kind, turn in last.items()
        )
        say(f"{number + 1} of {args.repeat}: {speeds}")
    ratios = _ratios(turns["farm"], turns["bare"])
    result: dict[str, Any] = {
        "jobs": jobs,
        "worker_processes": workers,
        **{
            f"{kind}_per_s": round(statistics.median(t.per_s for t in taken)) for kind, taken in turns.items()
        },
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "ratio_with_a_heartbeat": round(statistics.median(_ratios(turns["beaten"], turns["bare"])), 2),
        "ratio_to_kept_results": round(statistics.median(_ratios(turns["farm"], turns["kept"])), 2),
        "ratio_of_cpu": round(
            statistics.median(
                bare.total_cpu_ms / farm.total_cpu_ms
                for bare, farm in zip(turns["bare"], turns["farm"], strict=True)
            ),
            2,
        ),
        "turns": {kind: [turn.as_json() for turn in taken] for kind, taken in turns.items()},
    }
    say(
        f"{workers} worker processes: bare Celery {result['bare_per_s']}/s   farm "
        f"{result['farm_per_s']}/s   ratio {result['ratio']} (of {result['ratios']}), of processor time "
        f"{result['ratio_of_cpu']}; with a heartbeat for every job {result['ratio_with_a_heartbeat']}; to Celery that "
        f"keeps results ({result['kept_per_s']}/s) {result['ratio_to_kept_results']}"
    )
    return result


def bare_turn(fleet: Fleet, jobs: int, workers: int, *, keeps_results: bool) -> Turn:
    """From the first message to the end of the last task."""
    ask = {
        "broker_url": fleet.redis.url,
        "database_url": "",
        "home": fleet.folder.name,
        "mode": "bare",
        "keeps_results": keeps_results,
    }
    started = _consumers(fleet, workers, ask)
    app = celery_app_for(ask)
    before, begin = fleet.cpu_s(), time.time()
    for number in range(jobs):
        app.send_task(TASK, args=[f"j-{number}"], queue=a_target().queue)
    done: dict[str, float] = {}
    while len(done) < jobs:
        _check_patience(begin)
        time.sleep(_LOOK_S)
        done |= _done(started)
    turn = _turn(fleet, jobs, before, max(done.values()) - begin)
    app.close()
    return turn


def farm_turn(fleet: Fleet, jobs: int, workers: int, *, beats: bool) -> Turn:
    """From the first submission to the end of the last job."""
    farm = fleet.new_farm()
    started = _consumers(fleet, workers, {**farm.ask, "mode": "farm", "beats": beats})
    before, begin = fleet.cpu_s(), time.time()
    for first in range(0, jobs, _MATRIX):
        farm.submit(min(_MATRIX, jobs - first), "user")
        announce_due(farm.database, farm.queue)
    while farm.count("QUEUED", "RUNNING"):
        _check_patience(begin)
        time.sleep(_LOOK_S)
        announce_due(farm.database, farm.queue)
    done = _done(started)
    assert len(done) == jobs == farm.count("SUCCEEDED")
    turn = _turn(fleet, jobs, before, max(done.values()) - begin)
    farm.close()
    return turn


def _consumers(fleet: Fleet, workers: int, ask: dict[str, Any]) -> list[Simulation]:
    """Worker processes that listen to an empty queue."""
    fleet.dismiss()
    return fleet.start([{**ask, "first": number} for number in range(workers)])


def _done(started: list[Simulation]) -> dict[str, float]:
    return {job: when for each in started for job, when in each.report()["done"].items()}


def _turn(fleet: Fleet, jobs: int, before: dict[str, float], took_s: float) -> Turn:
    taken = {part: 1000 * (spent - before[part]) / jobs for part, spent in fleet.cpu_s().items()}
    return Turn(jobs / took_s, taken)


def _ratios(ours: list[Turn], theirs: list[Turn]) -> list[float]:
    return [mine.per_s / other.per_s for mine, other in zip(ours, theirs, strict=True)]


def _check_patience(begin: float) -> None:
    """Gives up on what hangs."""
    if time.time() - begin > _PATIENCE_S:
        raise TimeoutError(f"not done after {_PATIENCE_S:.0f} s")
