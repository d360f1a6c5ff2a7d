"""Measure filed engines again, at any time: a new driver, a new season. This is what makes history."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
    from collections.abc import Mapping, Sequence

    from farm.domain.benchmarks import BenchmarkSpec
    from farm.domain.filing import Engine
    from farm.domain.models import Model
    from farm.domain.work import Job, Submission
    from farm.services.ports import Database, Transaction

#: More of them say no more of the spread, and hold a device for long.
MOST_REPEATS = 100


@dataclass(frozen=True)
class BenchmarkOrder:
    """A benchmark of a filed engine that somebody wants.

    Attributes:
        engine: to be measured.
        benchmark: how.
        on_device: UUID of the only device that may measure it; any of its target's if empty.
        repeats: how often, each a job and a run of its own.
        against: the engine that it is held against, block by block; none to measure it alone.
    """

    engine: Engine
    benchmark: BenchmarkSpec
    on_device: str = ""
    repeats: int = 1
    against: Engine | None = None


def why_not_run(engine: Engine) -> InvalidRequestError | None:
    """Why nothing can time an engine; none if something can."""
    if engine.retired_at is not None:
        return InvalidRequestError(
            f"engine {engine.id} is retired: its bytes are gone",
            hint="Submit the model again: it is built anew.",
        )
    is_ahead = engine.spec.target.device_type.kind is DeviceKind.COMPUTE_CAPABILITY
    can_not = why_never_run(engine.spec.builder_config)
    if can_not or (is_ahead and not engine.was_run):
        return InvalidRequestError(
            f"engine {engine.id} was never run, so nothing can time it: {can_not or engine.unverified_reason}",
            hint="" if can_not else "A worker on such a GPU runs it when the model is submitted there.",
        )
    return None


def usual_batches(model: Model, engine: Engine) -> tuple[int, ...]:
    """The batches that an engine was measured at, else the one that it is tuned for."""
    return tuple(sorted(engine.measured_batches())) or (tuned_batch(model, engine),)


def tuned_batch(model: Model, engine: Engine) -> int:
    """The batch that an engine is tuned for, one that was measured if it can be."""
    measured = engine.measured_batches()
    tuned = {
        profile[tensor.name].opt[0]
        for profile in engine.spec.profiles
        for tensor in model.inputs
        if tensor.name in profile and tensor.shape[:1] == (DYNAMIC,)
    }
    return max((tuned & measured) or tuned or measured or {1})


def check_batches(model: Model, engine: Engine, batches: Sequence[int]) -> None:
    """Refuses batches that an engine does not take.

    Raises:
        InvalidSpecError: it does not take one of them.
    """
    for batch in batches:
        profile_at_batch(model, engine.spec.profiles, batch)


def queue_benchmarks(
    database: Database, orders: Sequence[BenchmarkOrder], user: str, wish: Mapping[str, Any]
) -> Submission:
    """Queues benchmarks of filed engines of one model, or shares those that are queued; a submission to wait for.

    The cells are in the order of the orders, those of one order side by side.

    Args:
        database: of the farm.
        orders: at least one.
        user: who asks.
        wish: what is noted in the submission beside the batches.

    Raises:
        InvalidRequestError: nothing can run one of the engines, or its bytes are gone.
        DatabaseUnavailableError: nothing was queued.
    """
    for order in orders:
        for engine in filter(None, [order.engine, order.against]):
            refusal = why_not_run(engine)
            if refusal is not None:
                raise refusal
        if not 1 <= order.repeats <= MOST_REPEATS:
            raise InvalidRequestError(f"an engine is measured 1 to {MOST_REPEATS} times, not {order.repeats}")
    return until_filed(lambda: _queue(database, orders, user, wish))


def _queue(
    database: Database, orders: Sequence[BenchmarkOrder], user: str, wish: Mapping[str, Any]
) -> Submission:
    first = orders[0].engine
    with database.transaction() as transaction:
        name = newest_names(transaction).get(first.spec.model_sha256)
        if name is None:
            raise NotFoundError(f"the model of engine {first.id} has no name")
        cells: list[Cell] = []
        for order in orders:
            request = _request_of(transaction, order)
            for number in range(1, order.repeats + 1):
                job, disposition = _shared_or_new(
                    transaction, order.engine, replace(request, repeat=number), len(cells), user
                )
                cells.append(Cell(len(cells), order.engine.spec, disposition, job.id, order.engine.id))
        return transaction.jobs.add_submission(
            name=name,
            user=user,
            tags={},
            cells=cells,
            request={
                "model": str(name),
                **wish,
                "batches": sorted({batch for order in orders for batch in order.benchmark.batches}),
                "inputs_sha256": _request_of(transaction, orders[0]).verification.inputs_sha256,
            },
        )


def _request_of(transaction: Transaction, order: BenchmarkOrder) -> JobRequest:
    # Its inputs are those that it was verified with, since some models' time depends on their data.
    newest = order.engine.latest_run
    request = JobRequest(
        kind=JobKind.BENCHMARK,
        benchmark=order.benchmark,
        on_device=order.on_device,
        against=order.against.id if order.against else 0,
    )
    built = transaction.jobs.get(order.engine.job_id).request.verification
    verification = replace(
        request.verification,
        inputs_sha256=newest.inputs_sha256 if newest else "",
        # Of the random ones, where there are none.
        seed=built.seed,
        input_ranges=built.input_ranges,
        vocabularies=built.vocabularies,
    )
    return replace(request, verification=verification)


def _shared_or_new(
    transaction: Transaction, engine: Engine, request: JobRequest, position: int, user: str
) -> tuple[Job, Disposition]:
    job = transaction.jobs.active(engine.spec, request)
    if job is None:
        return transaction.jobs.add(engine.spec, request, position, user=user), Disposition.QUEUED
    if job.cancel_requested:
        # Whoever asked it to stop is not the only one any more.
        transaction.jobs.want_again([job.id])
    return job, Disposition.SHARED
