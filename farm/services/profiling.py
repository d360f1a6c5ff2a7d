"""Ask for the times of a filed engine's layers: a benchmark that profiles, shared like any other job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.benchmarks import BenchmarkSpec
from farm.services.benchmarking import BenchmarkOrder, check_batches, queue_benchmarks, tuned_batch

if TYPE_CHECKING:
    from farm.domain.filing import Engine, Run
    from farm.domain.models import Model
    from farm.domain.work import Submission
    from farm.services.ports import Database


def profiled_run(
    engine: Engine, batch: int | None = None, *, nsys: bool = False, after: int = 0
) -> Run | None:
    """The newest run of an engine's very bytes that timed its layers; none if no run did.

    Args:
        engine: whose runs are looked through.
        batch: that must be among those measured; none for any.
        nsys: look for one that Nsight Systems looked at instead.
        after: number of a run; only newer ones count.
    """
    for run in reversed(engine.own_runs):
        batches = {measurement.batch for measurement in run.measurements}
        is_wanted = bool(run.nsys_sha256) if nsys else run.profile is not None
        if is_wanted and run.id > after and (batch is None or batch in batches):
            return run
    return None


def profiling_benchmark(model: Model, engine: Engine, batch: int | None, *, nsys: bool) -> BenchmarkSpec:
    """The benchmark that profiles an engine.

    Args:
        model: of the engine.
        engine: to be profiled.
        batch: at which; none for the one that the engine is tuned for, a fixed model's own.
        nsys: whether Nsight Systems looks on instead.

    Raises:
        InvalidSpecError: the engine does not take such a batch.
    """
    batch = batch or tuned_batch(model, engine)
    check_batches(model, engine, [batch])
    if nsys:
        # A report of a second holds thousands of launches, all alike.
        return BenchmarkSpec((batch,), warmup_ms=50, duration_ms=200, min_iterations=10, nsys=True)
    return BenchmarkSpec((batch,), profile=True)


def queue_profile(database: Database, engine: Engine, benchmark: BenchmarkSpec, user: str) -> Submission:
    """Queues a benchmark of a filed engine that profiles, or shares the one that is at it; a submission to wait for.

    Raises:
        InvalidRequestError: nothing can run the engine, or its bytes are gone.
        DatabaseUnavailableError: nothing was queued.
    """
    return queue_benchmarks(database, [BenchmarkOrder(engine, benchmark)], user, {"profile": engine.id})
