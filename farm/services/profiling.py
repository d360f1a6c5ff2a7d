"""Ask for the times of a filed engine's layers: a benchmark that profiles, shared like any other job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.jobs import JobKind
from farm.domain.option_rules import why_never_run
from farm.domain.profiles import profile_at_batch
from farm.domain.shapes import DYNAMIC
from farm.domain.targets import DeviceKind
from farm.domain.work import Cell, Disposition, JobRequest
from farm.services.looking_again import until_filed
from farm.services.model_names import newest_names

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
    batch = batch or _tuned_batch(model, engine)
    profile_at_batch(model, engine.spec.profiles, batch)
    if nsys:
        # A report of a second holds thousands of launches, all alike.
        return BenchmarkSpec((batch,), warmup_ms=50, duration_ms=200, min_iterations=10, nsys=True)
    return BenchmarkSpec((batch,), profile=True)


def _tuned_batch(model: Model, engine: Engine) -> int:
    """The batch that an engine is tuned for, one that was measured if it can be."""
    measured = engine.measured_batches()
    tuned = {
        profile[tensor.name].opt[0]
        for profile in engine.spec.profiles
        for tensor in model.inputs
        if tensor.name in profile and tensor.shape[:1] == (DYNAMIC,)
    }
    return max((tuned & measured) or tuned or measured or {1})


def queue_profile(database: Database, engine: Engine, benchmark: BenchmarkSpec, user: str) -> Submission:
    """Queues a benchmark of a filed engine that profiles, or shares the one that is at it; a submission to wait for.

    Raises:
        InvalidRequestError: nothing can run the engine, or its bytes are gone.
        DatabaseUnavailableError: nothing was queued.
    """
    if engine.retired_at is not None:
        raise InvalidRequestError(
            f"engine {engine.id} is retired: its bytes are gone",
            hint="Submit the model again: it is built anew.",
        )
    is_ahead = engine.spec.target.device_type.kind is DeviceKind.COMPUTE_CAPABILITY
    can_not = why_never_run(engine.spec.builder_config)
    if can_not or (is_ahead and not engine.was_run):
        raise InvalidRequestError(
            f"engine {engine.id} was never run, so its layers can not be timed: {can_not or engine.unverified_reason}",
            hint="" if can_not else "A worker on such a GPU runs it when the model is submitted there.",
        )
    # Its inputs are those that it was verified with, since some models' time depends on their data.
    newest = engine.latest_run
    request = JobRequest(kind=JobKind.BENCHMARK, benchmark=benchmark)
    verification = replace(request.verification, inputs_sha256=newest.inputs_sha256 if newest else "")
    request = replace(request, verification=verification)
    return until_filed(lambda: _queue(database, engine, request, user))


def _queue(database: Database, engine: Engine, request: JobRequest, user: str) -> Submission:
    with database.transaction() as transaction:
        name = newest_names(transaction).get(engine.spec.model_sha256)
        if name is None:
            raise NotFoundError(f"the model of engine {engine.id} has no name")
        job = transaction.jobs.active(engine.spec, request)
        disposition = Disposition.SHARED if job else Disposition.QUEUED
        if job is None:
            job = transaction.jobs.add(engine.spec, request, user=user)
        elif job.cancel_requested:
            # Whoever asked it to stop is not the only one any more.
            transaction.jobs.want_again([job.id])
        return transaction.jobs.add_submission(
            name=name,
            user=user,
            tags={},
            cells=[Cell(0, engine.spec, disposition, job.id, engine.id)],
            request={
                "model": str(name),
                "profile": engine.id,
                "batches": list(request.benchmark.batches),
                "inputs_sha256": request.verification.inputs_sha256,
            },
        )
