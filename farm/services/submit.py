"""Submit a plan: the same spec is built once, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidRequestError
from farm.domain.jobs import JobKind, JobState
from farm.domain.work import Cell, Disposition, FollowUp, JobRequest, WantedJob
from farm.services.filed_answers import needs_measuring, needs_rebuilding
from farm.services.looking_again import until_filed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from farm.domain.filing import Engine
    from farm.domain.models import Model
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job, ModelName, Submission
    from farm.services.plan import Plan
    from farm.services.ports import ArtifactStore, Database, Transaction


@dataclass(frozen=True)
class SubmitOrder:
    """Everything about a submission that is not in the plan.

    Attributes:
        name: what the model is called from now on.
        user: who asks.
        tags: words of the user's own.
        job: how the jobs are to measure and verify, and how often they may be tried.
        samples: how samples were made of images and files, for the record; by `inputs` and `calibration`.
    """

    name: str
    user: str
    tags: dict[str, str]
    job: JobRequest
    samples: Mapping[str, Any] = field(default_factory=dict)


def keep_model(
    store: ArtifactStore,
    model: Model,
    folder: Path,
    progress: Callable[[str], None],
    *,
    graph: Path | None = None,
) -> None:
    """Copies a model's files into the store, except those that are there.

    Args:
        store: that takes them.
        model: whose they are.
        folder: where they are.
        progress: told of every file.
        graph: where the graph is, if it is not in the folder.

    Raises:
        StoreUnavailableError: the store is missing, full, or can not be written.
        InvalidRequestError: a file changed since it was read.
    """
    for file in model.files:
        # Also tells garbage collection that somebody is about to refer to it.
        if store.touch(file.digest):
            continue
        progress(f"storing {file.name}")
        place = graph if graph is not None and file is model.files[0] else folder / file.name
        if store.put_file(place) != file.digest:
            raise InvalidRequestError(f"{file.name} changed while it was read", hint="Submit it again.")


def submit_plan(database: Database, model: Model, plan: Plan, order: SubmitOrder) -> Submission:
    """Files the submission; when this returns, nothing of it can get lost.

    Every cell is answered by a filed engine, shares the job that is already at it, or gets a new one.

    Raises:
        DatabaseUnavailableError: nothing was filed.
    """
    return until_filed(lambda: _submit(database, model, plan, order))


def _submit(database: Database, model: Model, plan: Plan, order: SubmitOrder) -> Submission:
    with database.transaction() as transaction:
        transaction.models.add(model)
        name = transaction.models.name(order.name, model.digest.sha256)
        request = _measuring(order.job, plan)
        answers = _answer(transaction, [cell.spec for cell in plan.cells], request, order.user)
        submission = transaction.jobs.add_submission(
            name=name,
            user=order.user,
            tags=order.tags,
            cells=[answer.cell for answer in answers],
            request=_summary(name, plan, request)
            | ({"samples": dict(order.samples)} if order.samples else {}),
        )
        transaction.jobs.add_follow_ups(
            [
                FollowUp(submission.id, answer.cell.position, answer.cell.job_id, answer.beyond, order.user)
                for answer in answers
                if answer.beyond is not None
            ]
        )
        return submission


def foresee(transaction: Transaction, plan: Plan, job: JobRequest) -> list[tuple[Disposition, Engine | None]]:
    """What submitting a plan would lead to now, cell by cell, with the engine where there is one."""
    request = _measuring(job, plan)
    found: list[tuple[Disposition, Engine | None]] = []
    for look in _look(transaction, [cell.spec for cell in plan.cells], request, user=""):
        if look.is_answered:
            found.append((Disposition.BUILT, look.engine))
        else:
            found.append((Disposition.SHARED if look.job else Disposition.QUEUED, look.engine))
    return found


def _measuring(job: JobRequest, plan: Plan) -> JobRequest:
    """The request with the batch sizes of the plan."""
    return replace(job, benchmark=replace(job.benchmark, batches=plan.batches))


def _measuring_alone(request: JobRequest) -> JobRequest:
    """The same request of an engine that is filed and stays."""
    return replace(request, kind=JobKind.BENCHMARK, rebuild_by="", builds=1)


@dataclass(frozen=True)
class _Look:
    """What is there for a cell.

    Attributes:
        engine: that is filed.
        job: that is at it.
        request: what is asked for: a build, or a benchmark of the engine.
    """

    engine: Engine | None
    job: Job | None
    request: JobRequest

    @property
    def is_answered(self) -> bool:
        """Whether the engine has all that is asked for."""
        return (
            self.engine is not None
            and self.request.kind is JobKind.BENCHMARK
            and not needs_measuring(self.engine, self.request)
        )


@dataclass(frozen=True)
class _Answer:
    """A cell, and what it wants beyond the build that it shares."""

    cell: Cell
    beyond: JobRequest | None = None


def _look(
    transaction: Transaction, specs: Sequence[BuildSpec], request: JobRequest, user: str
) -> list[_Look]:
    """What is there for every cell.

    Raises:
        InvalidRequestError: an engine that is pinned would have to give way to a new one.
    """
    # The jobs before the engines: one that ends between the two looks has filed its engine by the second.
    building = transaction.jobs.active_all(specs, request)
    # What is not signed nobody would hand out, so it is built anew and signed by a key that counts.
    found = transaction.engines.find_all(specs)
    engines = {key: engine for key, engine in found.items() if engine.is_signed}
    measuring = _measuring_alone(request)
    filed = [spec for spec in specs if spec.digest.sha256 in engines]
    measured = transaction.jobs.active_all(filed, measuring)
    looks = []
    for spec in specs:
        key = spec.digest.sha256
        if key in engines and needs_rebuilding(engines[key], request):
            asked = request if request.is_rebuild else replace(request, rebuild_by=user)
            looks.append(_Look(engines[key], building.get(key), asked))
        elif key in engines:
            looks.append(_Look(engines[key], measured.get(key), measuring))
        else:
            looks.append(_Look(None, building.get(key), request))
    return looks


def _answer(
    transaction: Transaction, specs: Sequence[BuildSpec], request: JobRequest, user: str
) -> list[_Answer]:
    looks = _look(transaction, specs, request, user)
    does = _share(transaction, [look for look in looks if look.job and not look.is_answered], user)
    # The first cell of a spec queues it; another one, if somebody names a target twice, shares it.
    wanted: dict[str, WantedJob] = {}
    for at, (spec, look) in enumerate(zip(specs, looks, strict=True)):
        if look.job is None and not look.is_answered:
            wanted.setdefault(spec.digest.sha256, WantedJob(spec, look.request, at, user))
    queued = dict(zip(wanted, transaction.jobs.add_all(list(wanted.values())), strict=True))
    answers = []
    for at, (spec, look) in enumerate(zip(specs, looks, strict=True)):
        engine_id = look.engine.id if look.engine else None
        if look.engine is not None and look.is_answered:
            answers.append(_Answer(Cell(at, spec, Disposition.BUILT, look.engine.job_id, engine_id)))
        elif look.job is not None:
            cell = Cell(at, spec, Disposition.SHARED, look.job.id, engine_id)
            asks_more = look.request.kind is JobKind.BUILD and _asks_more(does[look.job.id], look.request)
            answers.append(_Answer(cell, _measuring_alone(look.request) if asks_more else None))
        else:
            key = spec.digest.sha256
            how = Disposition.QUEUED if wanted[key].position == at else Disposition.SHARED
            answers.append(_Answer(Cell(at, spec, how, queued[key].id, engine_id)))
    return answers


def _share(transaction: Transaction, looks: Sequence[_Look], user: str) -> dict[str, JobRequest]:
    """Lets jobs that wait do what both want; a running one does what it was given.

    Returns:
        What each job does now, by its id.
    """
    shared = {look.job.id: (look.job, look.request) for look in looks if look.job}
    shares = transaction.jobs.shares({user, *(job.user for job, _ in shared.values())})
    does, changes = {}, []
    for job, request in shared.values():
        does[job.id] = job.request
        if job.state is not JobState.QUEUED:
            continue
        # It is as near as the nearer of the two would have it.
        payer = min((job.user, user), key=lambda name: shares[name].weight if name in shares else 0.0)
        does[job.id] = _for_both(job.request, request)
        if (does[job.id], payer) != (job.request, job.user):
            changes.append((job, does[job.id], payer))
    transaction.jobs.widen_all(changes)
    # Whoever asked it to stop is not the only one any more.
    transaction.jobs.want_again([job.id for job, _ in shared.values() if job.cancel_requested])
    return does


def _for_both(job: JobRequest, other: JobRequest) -> JobRequest:
    """What a waiting job is to do so that two who share it get what they asked for."""
    timeouts = (job.queue_timeout_s, other.queue_timeout_s)
    batches = tuple(sorted({*job.benchmark.batches, *other.benchmark.batches}))
    limits = job.phase_deadlines
    return replace(
        job,
        benchmark=replace(job.benchmark, batches=batches),
        priority=max(job.priority, other.priority),
        queue_timeout_s=None if None in timeouts else max(filter(None, timeouts)),
        max_attempts=max(job.max_attempts, other.max_attempts),
        rebuild_by=job.rebuild_by or other.rebuild_by,
        builds=max(job.builds, other.builds),
        deadline_s=max(job.deadline_s, other.deadline_s),
        # A phase that one of them does not limit has no limit.
        phase_deadlines={
            phase: max(limit, other.phase_deadlines[phase])
            for phase, limit in limits.items()
            if phase in other.phase_deadlines
        },
    )


def _asks_more(does: JobRequest, asked: JobRequest) -> bool:
    """Whether a build leaves out something that is asked for; its figures say in the end whether that matters."""
    wants, checks = asked.verification, does.verification
    return (
        bool(set(asked.benchmark.batches) - set(does.benchmark.batches))
        or bool(set(asked.benchmark.methods) - set(does.benchmark.methods))
        or wants.inputs_sha256 not in ("", checks.inputs_sha256)
        or wants.thresholds != checks.thresholds
        or (bool(wants.beyond_inputs) and wants.beyond_inputs != checks.beyond_inputs)
    )


def _summary(name: ModelName, plan: Plan, request: JobRequest) -> dict[str, object]:
    return {
        "model": str(name),
        "cells": [cell.label for cell in plan.cells],
        "refused": [list(pair) for pair in plan.refused],
        "batches": list(plan.batches),
        "inputs_sha256": request.verification.inputs_sha256,
        **({"builds": request.builds} if request.builds > 1 else {}),
        **({"rebuild_by": request.rebuild_by} if request.is_rebuild else {}),
    }
