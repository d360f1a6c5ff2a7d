"""Asking for an engine that is filed to be built anew, or to be chosen from more builds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidRequestError, UnsupportedTargetError
from farm.domain.jobs import JobKind
from farm.domain.work import Disposition
from farm.services.filed_answers import needs_rebuilding
from farm.services.submit import foresee
from farm.storage.job_rows import request_as_json, request_from_json
from tests.behaviours.given import claim
from tests.factories import a_job_request, a_toolchain, a_worker, an_outcome
from tests.fakes import InMemoryDatabase
from tests.unit.test_submit import build, jobs, only_cell, submit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from farm.domain.filing import Engine
    from farm.domain.work import Cell


@pytest.fixture
def database() -> InMemoryDatabase:
    """A farm with one H200 and TensorRT, and one engine filed."""
    database = InMemoryDatabase()
    with database.transaction() as transaction:
        transaction.fleet.register(a_worker())
    build(database, only_cell(submit(database)))
    return database


def anew(**changes: Any) -> Any:
    return a_job_request(rebuild_by="grace", **changes)


def filed(database: InMemoryDatabase, cell: Cell) -> Engine:
    with database.reading() as transaction:
        engine = transaction.engines.find(cell.spec)
    assert engine is not None
    return engine


def test_a_rebuild_queues_a_build_although_the_engine_is_filed(database: InMemoryDatabase) -> None:
    cell = only_cell(submit(database, job=anew(), user="grace"))
    assert cell.disposition is Disposition.QUEUED
    assert cell.engine_id is not None
    job = jobs(database)[0]
    assert (job.id, job.request.kind, job.request.rebuild_by) == (cell.job_id, JobKind.BUILD, "grace")


def test_until_then_the_old_engine_answers_others_from_the_store(database: InMemoryDatabase) -> None:
    cell = only_cell(submit(database, job=anew()))
    before = filed(database, cell)
    assert only_cell(submit(database)).disposition is Disposition.BUILT
    build(database, cell, an_outcome(engine="new plan"))
    after = filed(database, cell)
    assert (after.id, after.digest != before.digest) == (before.id, True)
    assert only_cell(submit(database)).disposition is Disposition.BUILT


def test_two_who_ask_for_a_rebuild_at_once_share_it(database: InMemoryDatabase) -> None:
    first = only_cell(submit(database, job=anew()))
    second = only_cell(submit(database, job=anew(), user="alan"))
    assert (second.disposition, second.job_id) == (Disposition.SHARED, first.job_id)


def test_a_waiting_build_becomes_a_rebuild_for_who_asks(database: InMemoryDatabase) -> None:
    waiting = only_cell(submit(database, precisions=("fp32",)))
    submit(database, precisions=("fp32",), job=anew(builds=3))
    (job,) = [job for job in jobs(database) if job.id == waiting.job_id]
    assert (job.request.rebuild_by, job.request.builds) == ("grace", 3)


def test_a_dry_run_foresees_the_rebuild(database: InMemoryDatabase) -> None:
    from farm.services.plan import BuildRequest, plan_builds
    from tests.factories import a_model

    cell = only_cell(submit(database))
    with database.reading() as transaction:
        shapes = ({"input": (8, 3, 8, 8)},)
        plan = plan_builds(transaction, a_model(), BuildRequest(precisions=("fp16",), opt_shapes=shapes))
        plan = replace(plan, cells=tuple(replace(planned, spec=cell.spec) for planned in plan.cells))
        ((disposition, engine),) = foresee(transaction, plan, anew())
    assert disposition is Disposition.QUEUED
    assert engine is not None


def test_more_builds_than_an_engine_was_chosen_from_are_a_rebuild(database: InMemoryDatabase) -> None:
    cell = only_cell(submit(database, job=a_job_request(builds=3), user="alan"))
    assert cell.disposition is Disposition.QUEUED
    assert jobs(database)[0].request.rebuild_by == "alan"
    build(database, cell, of_builds(3))
    for builds, disposition in [(2, Disposition.BUILT), (3, Disposition.BUILT), (4, Disposition.QUEUED)]:
        again = only_cell(submit(database, job=a_job_request(builds=builds)))
        assert again.disposition is disposition, builds


def test_a_pinned_engine_is_not_built_anew(database: InMemoryDatabase) -> None:
    engine = filed(database, only_cell(submit(database)))
    pinned = replace(engine, pinned_at=engine.created_at, pin_reason="in the field")
    with pytest.raises(InvalidRequestError, match=r"engine 1 is pinned \(in the field\)") as refused:
        needs_rebuilding(pinned, anew())
    assert "farm unpin" in (refused.value.hint or "")
    assert not needs_rebuilding(pinned, a_job_request())
    assert needs_rebuilding(engine, anew())


def test_further_batches_of_a_rebuild_are_measured_on_the_new_engine(database: InMemoryDatabase) -> None:
    cell = only_cell(submit(database, job=anew()))
    with database.reading() as transaction:
        claim(database, transaction.jobs.get(cell.job_id))
    submit(database, job=anew(), batches=(1, 8, 16), user="alan")
    with database.reading() as transaction:
        (follow_up,) = transaction.jobs.follow_ups([row.id for row in transaction.jobs.submissions(1)])
    assert (follow_up.request.kind, follow_up.request.is_rebuild) == (JobKind.BENCHMARK, False)


def test_several_builds_are_refused_where_every_build_gives_the_same_bytes() -> None:
    database = InMemoryDatabase()
    with database.transaction() as transaction:
        transaction.fleet.register(a_worker(toolchains=(replace(a_toolchain(), is_deterministic=True),)))
    with pytest.raises(UnsupportedTargetError, match="every build of tensorrt gives the same engine"):
        submit(database, builds=3)
    assert only_cell(submit(database, builds=1)).disposition is Disposition.QUEUED


def test_what_nobody_asked_for_is_not_in_the_document_of_a_job() -> None:
    plain = request_as_json(a_job_request())
    assert not {"rebuild_by", "builds"} & set(plain)
    wanted = anew(builds=3)
    assert request_from_json(request_as_json(wanted)) == wanted
    assert request_from_json(plain) == a_job_request()


def of_builds(count: int) -> Any:
    """A build that was chosen from several."""
    builds: list[Mapping[str, Any]] = [{"build": n, "kept": n == 1} for n in range(1, count + 1)]
    outcome = an_outcome(engine="chosen plan")
    return replace(outcome, build={**outcome.build, "details": {"builds": builds}})
