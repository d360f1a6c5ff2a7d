"""A profile is asked for with a benchmark job that is shared, and refused where nothing could run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import InvalidRequestError
from farm.domain.jobs import JobKind, JobState
from farm.domain.targets import DeviceKind
from farm.domain.work import Disposition
from farm.services.profiling import queue_profile
from tests.behaviours.given import given_a_farm, given_a_finished_job
from tests.factories import a_build_spec, a_device_type, a_target, an_outcome
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from farm.domain.filing import Engine

PROFILE = BenchmarkSpec((8,), profile=True)


@pytest.fixture
def database() -> InMemoryDatabase:
    database = InMemoryDatabase()
    given_a_farm(database)
    return database


@pytest.fixture
def engine(database: InMemoryDatabase) -> Engine:
    _, number = given_a_finished_job(database, outcome=an_outcome())
    with database.reading() as transaction:
        return transaction.engines.get(number)


def test_a_benchmark_of_the_engine_is_queued_and_can_be_waited_for(
    database: InMemoryDatabase, engine: Engine
) -> None:
    submission = queue_profile(database, engine, PROFILE, "ada")
    (cell,) = submission.cells
    assert (cell.spec, cell.engine_id, cell.disposition) == (engine.spec, engine.id, Disposition.QUEUED)
    with database.reading() as transaction:
        job = transaction.jobs.get(cell.job_id)
    assert (job.state, job.user) == (JobState.QUEUED, "ada")
    assert (job.request.kind, job.request.benchmark) == (JobKind.BENCHMARK, PROFILE)


def test_whoever_asks_for_the_same_shares_the_job(database: InMemoryDatabase, engine: Engine) -> None:
    first = queue_profile(database, engine, PROFILE, "ada")
    second = queue_profile(database, engine, PROFILE, "bob")
    assert second.cells[0].job_id == first.cells[0].job_id
    assert second.cells[0].disposition is Disposition.SHARED
    other = queue_profile(database, engine, replace(PROFILE, batches=(1,)), "bob")
    assert other.cells[0].job_id != first.cells[0].job_id


def test_a_retired_engine_has_no_bytes_to_profile(database: InMemoryDatabase, engine: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="retired"):
        queue_profile(database, replace(engine, retired_at=engine.created_at), PROFILE, "ada")


def test_an_engine_that_was_run_can_be_profiled_though_nothing_verified_it(
    database: InMemoryDatabase, engine: Engine
) -> None:
    ahead = a_build_spec(target=a_target(device_type=a_device_type(DeviceKind.COMPUTE_CAPABILITY)))
    unverified = replace(engine, spec=ahead, unverified_reason="nothing to compare with")
    assert unverified.runs
    assert queue_profile(database, unverified, PROFILE, "ada").cells


def test_an_engine_that_nothing_can_run_as_it_is_is_refused(
    database: InMemoryDatabase, engine: Engine
) -> None:
    stripped = a_build_spec(builder_config={"strip_plan": True})
    with pytest.raises(InvalidRequestError, match="its weights must be put back"):
        queue_profile(database, replace(engine, spec=stripped), PROFILE, "ada")


def test_an_engine_that_was_built_ahead_of_time_and_never_run_is_refused(
    database: InMemoryDatabase, engine: Engine
) -> None:
    ahead = a_build_spec(target=a_target(device_type=a_device_type(DeviceKind.COMPUTE_CAPABILITY)))
    never_run = replace(engine, spec=ahead, unverified_reason="no such GPU here", runs=())
    with pytest.raises(InvalidRequestError, match="no such GPU here"):
        queue_profile(database, never_run, PROFILE, "ada")
