"""Ask for the times of a filed engine's layers: a benchmark that profiles, shared like any other job."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.jobs import JobKind
from farm.domain.targets import DeviceKind
from farm.domain.work import Cell, Disposition, JobRequest
from farm.services.looking_again import until_filed
from farm.services.model_names import newest_names

if TYPE_CHECKING:
    from farm.domain.benchmarks import BenchmarkSpec
    from farm.domain.filing import Engine, Run
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
    if engine.spec.target.device_type.kind is DeviceKind.COMPUTE_CAPABILITY and not engine.is_verified:
        raise InvalidRequestError(
            f"engine {engine.id} was never run, so its layers can not be timed: {engine.unverified_reason}",
            hint="A worker on such a GPU runs it when the model is submitted there.",
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
