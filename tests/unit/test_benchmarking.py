"""Filed engines are measured again with jobs of their own: on a wanted device, several times, against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import InvalidRequestError, InvalidSpecError, UnsupportedTargetError
from farm.domain.jobs import JobKind
from farm.domain.targets import DeviceKind
from farm.domain.work import Disposition
from farm.services.benchmarking import BenchmarkOrder, queue_benchmarks, usual_batches
from farm.services.comparing import batches_of_both, check_comparable
from farm.services.wanted_device import wanted_device
from tests.behaviours.given import given_a_farm, given_a_finished_job, given_a_second_device
from tests.factories import (
    a_build_spec,
    a_device_type,
    a_measurement,
    a_model,
    a_target,
    a_toolchain_id,
    an_outcome,
)
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.work import Job

QUICK = BenchmarkSpec((8,))


@pytest.fixture
def database() -> InMemoryDatabase:
    database = InMemoryDatabase()
    given_a_farm(database)
    return database


@pytest.fixture
def engine(database: InMemoryDatabase) -> Engine:
    return filed(database, "one")


def filed(database: InMemoryDatabase, salt: str) -> Engine:
    _, number = given_a_finished_job(database, a_build_spec(salt=salt), outcome=an_outcome(engine=salt))
    with database.reading() as transaction:
        return transaction.engines.get(number)


def queued(database: InMemoryDatabase, *orders: BenchmarkOrder) -> list[Job]:
    submission = queue_benchmarks(database, orders, "ada", {"benchmark": True})
    with database.reading() as transaction:
        return [transaction.jobs.get(cell.job_id) for cell in submission.cells]


def test_every_repeat_is_a_job_of_its_own(database: InMemoryDatabase, engine: Engine) -> None:
    jobs = queued(database, BenchmarkOrder(engine, QUICK, repeats=3))
    assert len({job.id for job in jobs}) == 3
    assert {job.request.kind for job in jobs} == {JobKind.BENCHMARK}
    assert [job.request.repeat for job in jobs] == [1, 2, 3]


def test_whoever_asks_for_the_same_shares_the_jobs(database: InMemoryDatabase, engine: Engine) -> None:
    first = queued(database, BenchmarkOrder(engine, QUICK, repeats=2))
    submission = queue_benchmarks(database, [BenchmarkOrder(engine, QUICK, repeats=3)], "bob", {})
    shared = [cell.job_id for cell in submission.cells if cell.disposition is Disposition.SHARED]
    assert shared == [job.id for job in first]


def test_what_is_measured_otherwise_is_another_job(database: InMemoryDatabase, engine: Engine) -> None:
    other = filed(database, "other")
    orders = [
        BenchmarkOrder(engine, QUICK),
        BenchmarkOrder(engine, QUICK, on_device="GPU-0"),
        BenchmarkOrder(engine, QUICK, against=other),
        BenchmarkOrder(engine, replace(QUICK, method="trtexec-11")),
        BenchmarkOrder(engine, replace(QUICK, streams=(1, 4))),
        BenchmarkOrder(other, QUICK),
    ]
    assert len({job.id for order in orders for job in queued(database, order)}) == len(orders)


def test_a_comparison_names_the_other_engine(database: InMemoryDatabase, engine: Engine) -> None:
    other = filed(database, "other")
    (job,) = queued(database, BenchmarkOrder(engine, QUICK, against=other))
    assert job.request.against == other.id


def test_an_engine_without_its_bytes_is_neither_measured_nor_compared_with(
    database: InMemoryDatabase, engine: Engine
) -> None:
    retired = replace(filed(database, "other"), retired_at=engine.created_at)
    for order in (BenchmarkOrder(retired, QUICK), BenchmarkOrder(engine, QUICK, against=retired)):
        with pytest.raises(InvalidRequestError, match="retired"):
            queue_benchmarks(database, [order], "ada", {})


@pytest.mark.parametrize("repeats", [0, 101])
def test_no_device_is_held_for_ever(database: InMemoryDatabase, engine: Engine, repeats: int) -> None:
    with pytest.raises(InvalidRequestError, match="1 to 100 times"):
        queue_benchmarks(database, [BenchmarkOrder(engine, QUICK, repeats=repeats)], "ada", {})


def test_it_is_measured_at_the_batches_that_it_was_measured_at(engine: Engine) -> None:
    assert usual_batches(a_model(), engine) == (1, 8)


# Which device.


@pytest.mark.parametrize("word", ["GPU-1", "host-b", "worker-of-w-2"])
def test_a_device_is_named_by_its_uuid_its_host_or_its_worker(database: InMemoryDatabase, word: str) -> None:
    device = given_a_second_device(database)
    with database.reading() as transaction:
        assert wanted_device(transaction, word, {a_target()}) == device


def test_a_mistyped_device_is_refused(database: InMemoryDatabase) -> None:
    with database.reading() as transaction, pytest.raises(UnsupportedTargetError, match="'host-z'") as caught:
        wanted_device(transaction, "host-z", {a_target()})
    assert "host-a" in caught.value.hint


def test_a_device_that_never_served_the_target_is_refused(database: InMemoryDatabase) -> None:
    elsewhere = a_target(toolchain=a_toolchain_id(version="11.4.0"))
    with database.reading() as transaction, pytest.raises(UnsupportedTargetError, match="never served"):
        wanted_device(transaction, "host-a", {elsewhere})


# Which two.


def test_engines_of_different_devices_are_not_compared(engine: Engine) -> None:
    cpu = replace(engine, spec=a_build_spec(target=a_target(device_type=a_device_type(DeviceKind.CPU))))
    with pytest.raises(InvalidRequestError, match="no device runs both"):
        check_comparable(engine, cpu)


def test_engines_of_different_toolchains_are_not_compared(engine: Engine) -> None:
    newer = replace(engine, spec=a_build_spec(target=a_target(toolchain=a_toolchain_id(version="11.4.0"))))
    with pytest.raises(InvalidRequestError, match=r"8\.6\.0 and engine 1 of tensorrt 11\.4\.0"):
        check_comparable(engine, newer)


def test_they_are_compared_at_what_both_take(engine: Engine) -> None:
    model = a_model()
    small = replace(engine, runs=(replace(engine.runs[0], measurements=(a_measurement(1),)),))
    assert batches_of_both((model, engine), (model, small), ()) == (1, 8)
    assert batches_of_both((model, small), (model, engine), ()) == (1,)
    assert batches_of_both((model, engine), (model, small), (4,)) == (4,)
    with pytest.raises(InvalidSpecError, match="batch 512"):
        batches_of_both((model, engine), (model, small), (512,))
