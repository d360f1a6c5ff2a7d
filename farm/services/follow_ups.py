"""Measure what cells want beyond the builds that they shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import ConflictError
from farm.services.filed_answers import needs_measuring

if TYPE_CHECKING:
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job, JobRequest
    from farm.services.ports import Transaction


def follow_up(transaction: Transaction, job: Job, engine_id: int) -> list[Job]:
    """Queues what the cells that share a build want beyond it, in the transaction that files its engine.

    A cell whose wish the build's figures answer already stays as it is; every other one is pointed to the
    benchmark, which cells that want the same share.

    Returns:
        The benchmarks.
    """
    waiting = transaction.jobs.take_follow_ups(job.id)
    if not waiting:
        return []
    engine, measuring = transaction.engines.get(engine_id), {}
    for one in waiting:
        if needs_measuring(engine, one.request):
            benchmark = _benchmark(transaction, job.spec, one.request, one.user)
            transaction.jobs.point(one.submission_id, one.position, benchmark.id)
            measuring[benchmark.id] = benchmark
    return list(measuring.values())


def _benchmark(transaction: Transaction, spec: BuildSpec, request: JobRequest, user: str) -> Job:
    found = transaction.jobs.active(spec, request)
    if found is not None:
        return found
    try:
        return transaction.jobs.add(spec, request, user=user)
    except ConflictError:
        # Somebody queued the same at this moment, and has committed by now.
        found = transaction.jobs.active(spec, request)
        if found is None:
            raise
        return found
