"""Submit a plan: the same spec is built once, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from farm.domain.errors import AccuracyError, ConflictError, InvalidRequestError
from farm.domain.jobs import JobKind
from farm.domain.work import Cell, Disposition, JobRequest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farm.domain.filing import Engine, Run
    from farm.domain.models import Model
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job, ModelName, Submission
    from farm.services.plan import Plan
    from farm.services.ports import ArtifactStore, Database, Transaction

_MOST_LOOKS = 5


@dataclass(frozen=True)
class SubmitOrder:
    """Everything about a submission that is not in the plan.

    Attributes:
        name: what the model is called from now on.
        user: who asks.
        tags: words of the user's own.
        job: how the jobs are to measure and verify, and how often they may be tried.
    """

    name: str
    user: str
    tags: dict[str, str]
    job: JobRequest


def keep_model(store: ArtifactStore, model: Model, folder: Path, progress: Callable[[str], None]) -> None:
    """Copies a model's files into the store, except those that are there.

    Raises:
        StoreUnavailableError: the store is missing, full, or can not be written.
        InvalidRequestError: a file changed since it was read.
    """
    for file in model.files:
        # Also tells garbage collection that somebody is about to refer to it.
        if store.touch(file.digest):
            continue
        progress(f"storing {file.name}")
        if store.put_file(folder / file.name) != file.digest:
            raise InvalidRequestError(f"{file.name} changed while it was read", hint="Submit it again.")


def submit_plan(database: Database, model: Model, plan: Plan, order: SubmitOrder) -> Submission:
    """Files the submission; when this returns, nothing of it can get lost.

    Every cell is answered by a filed engine, shares the job that is already at it, or gets a new one.

    Raises:
        DatabaseUnavailableError: nothing was filed.
    """
    with database.transaction() as transaction:
        transaction.models.add(model)
        name = transaction.models.name(order.name, model.digest.sha256)
        request = replace(order.job, benchmark=replace(order.job.benchmark, batches=plan.batches))
        # In the order of the keys: two submissions wait for each other's rows, but never in a circle.
        order_of_keys = sorted(range(len(plan.cells)), key=lambda at: plan.cells[at].spec.digest)
        answers = {
            at: _cell(transaction, at, plan.cells[at].spec, request, order.user) for at in order_of_keys
        }
        cells = [answers[at] for at in range(len(plan.cells))]
        return transaction.jobs.add_submission(
            name=name, user=order.user, tags=order.tags, cells=cells, request=_summary(name, plan, request)
        )


def _cell(transaction: Transaction, position: int, spec: BuildSpec, request: JobRequest, user: str) -> Cell:
    # Between looking and queueing somebody else may queue the same; then theirs is there to be shared, unless
    # it has ended by then too.
    for _ in range(_MOST_LOOKS):
        try:
            return _answer(transaction, position, spec, request, user)
        except ConflictError:
            continue
    return _answer(transaction, position, spec, request, user)


def foresee(transaction: Transaction, plan: Plan, job: JobRequest) -> list[tuple[Disposition, Engine | None]]:
    """What submitting a plan would lead to now, cell by cell, with the engine where there is one."""
    request = replace(job, benchmark=replace(job.benchmark, batches=plan.batches))
    found: list[tuple[Disposition, Engine | None]] = []
    for cell in plan.cells:
        engine, active, _ = _look(transaction, cell.spec, request)
        if engine is not None and not needs_measuring(engine, request):
            found.append((Disposition.BUILT, engine))
        else:
            found.append((Disposition.SHARED if active else Disposition.QUEUED, engine))
    return found


def _look(
    transaction: Transaction, spec: BuildSpec, request: JobRequest
) -> tuple[Engine | None, Job | None, JobRequest]:
    """The engine that is there, the job that is at it, and the job that is asked for: a build or a benchmark."""
    # The job before the engine: one that ends between the two looks has filed its engine by the second.
    job = transaction.jobs.active(spec, request)
    engine = transaction.engines.find(spec)
    if engine is not None and not engine.is_signed:
        # Nobody would hand it out, so it is built anew and signed by a key that counts.
        engine = None
    if engine is not None:
        request = replace(request, kind=JobKind.BENCHMARK)
        job = transaction.jobs.active(spec, request)
    return engine, job, request


def _answer(transaction: Transaction, position: int, spec: BuildSpec, request: JobRequest, user: str) -> Cell:
    engine, job, request = _look(transaction, spec, request)
    if engine is not None and not needs_measuring(engine, request):
        return Cell(position, spec, Disposition.BUILT, engine.job_id, engine.id)
    if job is not None:
        _share(transaction, job, request, user)
        return Cell(position, spec, Disposition.SHARED, job.id, engine.id if engine else None)
    job = transaction.jobs.add(spec, request, position, user)
    return Cell(position, spec, Disposition.QUEUED, job.id, engine.id if engine else None)


def _share(transaction: Transaction, job: Job, request: JobRequest, user: str) -> None:
    """Lets a job that waits do what both want; a running one does what it was given."""
    both = _for_both(job.request, request)
    payer = job.user
    if user != job.user:
        # It is as near as the nearer of the two would have it.
        shares = transaction.jobs.shares({user, job.user})
        payer = min((job.user, user), key=lambda name: shares[name].weight if name in shares else 0.0)
    if both != job.request or payer != job.user:
        transaction.jobs.widen(job, both, payer)


def _for_both(job: JobRequest, other: JobRequest) -> JobRequest:
    """What a waiting job is to do so that two who share it get what they asked for."""
    timeouts = (job.queue_timeout_s, other.queue_timeout_s)
    batches = tuple(sorted({*job.benchmark.batches, *other.benchmark.batches}))
    return replace(
        job,
        benchmark=replace(job.benchmark, batches=batches),
        priority=max(job.priority, other.priority),
        queue_timeout_s=None if None in timeouts else max(filter(None, timeouts)),
        max_attempts=max(job.max_attempts, other.max_attempts),
        deadline_s=max(job.deadline_s, other.deadline_s),
    )


def needs_measuring(engine: Engine, request: JobRequest) -> bool:
    """Whether a filed engine lacks figures that the request asks for."""
    if not engine.is_verified:
        # Nothing here can run it, so there is nothing to measure with.
        return False
    if set(request.benchmark.batches) - engine.measured_batches():
        return True
    wanted = request.verification.inputs_sha256
    runs = [run for run in engine.runs if run.accuracy is not None and wanted in ("", run.inputs_sha256)]
    # The newest on these inputs; another limit than it was built with is checked by verifying once more.
    return not (runs and _passes(runs[-1], request))


def _passes(run: Run, request: JobRequest) -> bool:
    assert run.accuracy is not None  # noqa: S101 - chosen by it
    try:
        request.verification.thresholds.check(run.accuracy)
    except AccuracyError:
        return False
    return True


def _summary(name: ModelName, plan: Plan, request: JobRequest) -> dict[str, object]:
    return {
        "model": f"{name.name}@{name.version}",
        "cells": [
            f"{cell.slug} · {cell.spec.target.toolchain} · {cell.spec.precision}" for cell in plan.cells
        ],
        "refused": [list(pair) for pair in plan.refused],
        "batches": list(plan.batches),
        "inputs_sha256": request.verification.inputs_sha256,
    }
