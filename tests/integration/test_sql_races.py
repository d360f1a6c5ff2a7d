"""Who act on one database at once: claims, submissions, ends, rescues and readers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.calibration_caches import CalibrationCacheKey
from farm.domain.errors import AttemptSupersededError
from farm.domain.jobs import AttemptState, JobState
from farm.domain.targets import Target
from farm.domain.timing_caches import CacheKey
from farm.domain.work import Cell, Disposition
from farm.services.attempts import rescue_expired
from farm.services.cancel import cancel_submission
from farm.services.plan import Plan, PlannedCell
from farm.services.submit import SubmitOrder, submit_plan
from tests.behaviours.given import (
    HOUR_S,
    OVER_S,
    attempts_of,
    get_job,
    given_a_farm,
    given_a_model,
    given_a_queued_job,
    given_a_running_job,
)
from tests.factories import (
    a_build_spec,
    a_device,
    a_device_type,
    a_digest,
    a_job_request,
    a_model,
    a_toolchain,
    a_worker,
    an_outcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farm.domain.digests import Digest
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job, Submission
    from farm.storage.database import SqlDatabase

THREADS = 8


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs each call in a thread of its own, all of them let go at the same moment."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        gate.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_each_of_many_jobs_is_claimed_exactly_once_by_many_workers(database: SqlDatabase) -> None:
    given_a_farm(database)
    with database.transaction() as transaction:
        specs = [a_build_spec(salt=str(number)) for number in range(50)]
        jobs = [transaction.jobs.add(spec, a_job_request()).id for spec in specs]

    def claim_what_is_left(worker: int) -> list[str]:
        claimed = []
        for job_id in jobs[worker:] + jobs[:worker]:
            with database.transaction() as transaction:
                taken = transaction.jobs.claim(
                    job_id, worker_id=f"w-{worker}", device=a_device(), lease_s=HOUR_S
                )
            if taken is not None:
                assert (taken[0].worker_id, taken[1].number) == (f"w-{worker}", 1)
                claimed.append(job_id)
        return claimed

    claimed = at_once([partial(claim_what_is_left, worker) for worker in range(THREADS)])
    assert sorted(job_id for ids in claimed for job_id in ids) == sorted(jobs)
    with database.reading() as transaction:
        assert all(len(transaction.jobs.attempts(job_id)) == 1 for job_id in jobs)


def test_who_submit_the_same_at_once_share_its_jobs_whatever_the_order_of_their_cells(
    database: SqlDatabase,
) -> None:
    given_a_farm(database)
    specs = [a_build_spec(salt=str(number)) for number in range(6)]

    def submit(turn: int) -> Submission:
        ordered = specs[turn % 6 :] + specs[: turn % 6]
        return submit_plan(database, a_model(), a_plan(ordered if turn % 2 else ordered[::-1]), an_order())

    submissions = at_once([partial(submit, turn) for turn in range(THREADS)])
    with database.reading() as transaction:
        jobs = {job.spec.salt: job.id for job in transaction.jobs.jobs()}
        assert len(transaction.jobs.jobs()) == len(specs)
    dispositions = []
    for submission in submissions:
        assert {cell.spec.salt: cell.job_id for cell in submission.cells} == jobs
        dispositions += [cell.disposition for cell in submission.cells]
    assert dispositions.count(Disposition.QUEUED) == len(specs)
    assert dispositions.count(Disposition.SHARED) == len(specs) * (THREADS - 1)


def test_who_ask_for_other_batches_at_once_all_get_them(database: SqlDatabase) -> None:
    given_a_farm(database)
    wanted = [(1, turn + 2) for turn in range(THREADS)]
    at_once(
        [
            partial(submit_plan, database, a_model(), a_plan([a_build_spec()], batches), an_order())
            for batches in wanted
        ]
    )
    with database.reading() as transaction:
        (job,) = transaction.jobs.jobs()
    assert job.request.benchmark.batches == tuple(range(1, THREADS + 2))


def test_a_build_that_ends_while_it_is_submitted_again_is_not_built_twice(database: SqlDatabase) -> None:
    given_a_farm(database)
    for turn in range(5):
        spec = a_build_spec(salt=str(turn))
        job, attempt = given_a_running_job(database, spec)

        def finish(job: Any = job, attempt: Any = attempt) -> None:
            with database.transaction() as transaction:
                transaction.jobs.close(attempt, AttemptState.SUCCEEDED, JobState.SUCCEEDED)
                transaction.engines.file(job, attempt, an_outcome())

        def submit(spec: BuildSpec = spec) -> Submission:
            return submit_plan(database, a_model(), a_plan([spec], (1, 8)), an_order())

        _, *submissions = at_once([finish, submit, submit, submit])
        for submission in submissions:
            assert submission.cells[0].job_id == job.id
    with database.reading() as transaction:
        assert len(transaction.jobs.jobs()) == 5


def test_versions_of_a_name_are_numbered_without_gaps_when_many_give_it_at_once(
    database: SqlDatabase,
) -> None:
    names = at_once(
        [
            partial(given_a_model, database, a_model(f"content {turn % 4}"), "resnet")
            for turn in range(THREADS)
        ]
    )
    with database.reading() as transaction:
        listed = transaction.models.names()
    assert [name.version for name in listed] == list(range(1, len(listed) + 1))
    assert 4 <= len(listed) <= THREADS
    for turn, name in enumerate(names):
        assert name in listed
        assert name.model_sha256 == a_digest(f"content {turn % 4}").sha256


def test_workers_that_register_at_once_do_not_get_in_each_others_way(database: SqlDatabase) -> None:
    toolchains = tuple(a_toolchain(version=f"8.6.{number}") for number in range(6))
    types = tuple(a_device_type(memory_gib=140 + number) for number in range(3))

    def register(turn: int) -> None:
        order = slice(None, None, -1 if turn % 2 else 1)
        for again in range(3):
            with database.transaction() as transaction:
                transaction.fleet.register(
                    a_worker(
                        id=f"w-{turn}-{again}",
                        device=a_device(uuid=f"GPU-{turn}"),
                        toolchains=toolchains[order],
                        device_types=(a_device_type(), *types[order]),
                    )
                )

    at_once([partial(register, turn) for turn in range(THREADS)])
    with database.reading() as transaction:
        assert len(transaction.fleet.workers()) == 3 * THREADS
        assert len(transaction.fleet.device_types()) == 3
        assert len(transaction.fleet.toolchains()) == 6


def test_a_silent_workers_job_is_rescued_once_by_many_sweepers(database: SqlDatabase) -> None:
    given_a_farm(database)
    for number in range(10):
        given_a_running_job(database, a_build_spec(salt=str(number)), lease_s=OVER_S)
    rescued = at_once([lambda: rescue_expired(database)] * THREADS)
    ids = [job.id for found in rescued for job, _ in found]
    assert len(ids) == len(set(ids)) == 10


def test_an_attempt_that_ends_while_it_is_rescued_ends_one_way(database: SqlDatabase) -> None:
    given_a_farm(database)
    for number in range(10):
        job, attempt = given_a_running_job(database, a_build_spec(salt=str(number)), lease_s=OVER_S)

        def end(state: AttemptState, job_state: JobState, attempt: Any = attempt) -> str:
            try:
                with database.transaction() as transaction:
                    transaction.jobs.close(attempt, state, job_state)
            except AttemptSupersededError:
                return ""
            return state.value

        ways = at_once(
            [
                lambda: end(AttemptState.SUCCEEDED, JobState.SUCCEEDED),
                lambda: end(AttemptState.LOST, JobState.QUEUED),
            ]
        )
        (won,) = filter(None, ways)
        (kept,) = attempts_of(database, job)
        assert kept.state.value == won
        assert get_job(database, job).state is (JobState.QUEUED if won == "LOST" else JobState.SUCCEEDED)


def test_a_reader_sees_the_state_before_and_does_not_wait_for_a_writer(database: SqlDatabase) -> None:
    given_a_farm(database)
    with database.transaction() as writer:
        writer.jobs.add(a_build_spec(), a_job_request())
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(lambda: read_jobs(database)).result(timeout=5) == []
    assert len(read_jobs(database)) == 1


def test_who_takes_a_job_does_not_wait_for_one_that_somebody_is_at(postgres_database: SqlDatabase) -> None:
    database = postgres_database
    given_a_farm(database)
    held, free = (given_a_queued_job(database, a_build_spec(salt=salt)) for salt in "ab")

    def take() -> str:
        with database.transaction() as transaction:
            got = transaction.jobs.claim_next(worker_id="w-1", device=a_device(), lease_s=60)
        assert got is not None
        return got[0].id

    with database.transaction() as submitting:
        submitting.jobs.active(held.spec, a_job_request())
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(take).result(timeout=5) == free.id
    assert take() == held.id


def test_of_two_who_cancel_what_they_share_at_once_the_second_one_stops_it(
    postgres_database: SqlDatabase,
) -> None:
    database = postgres_database
    name = given_a_farm(database)
    job = given_a_queued_job(database)
    cells = [Cell(0, job.spec, Disposition.QUEUED, job.id)]
    with database.transaction() as transaction:
        first, second = (
            transaction.jobs.add_submission(name=name, user=user, tags={}, cells=cells, request={}).id
            for user in ("ada", "bob")
        )

    def cancel_second() -> tuple[list[Job], list[Job]]:
        with database.transaction() as transaction:
            return cancel_submission(transaction, second)

    with ThreadPoolExecutor(1) as pool:
        with database.transaction() as transaction:
            _, kept = cancel_submission(transaction, first)
            cancelling = pool.submit(cancel_second)
            with pytest.raises(TimeoutError):
                cancelling.result(timeout=0.5)
        cancelled, _ = cancelling.result(timeout=10)
    assert [other.id for other in kept] == [other.id for other in cancelled] == [job.id]
    assert get_job(database, job).state is JobState.CANCELLED


@pytest.mark.parametrize("expected", [None, a_digest("before")], ids=["the first", "a later"])
def test_of_timing_caches_swapped_at_once_one_alone_is_filed(
    database: SqlDatabase, expected: Digest | None
) -> None:
    given_a_farm(database)
    key = CacheKey(Target(a_device_type(), a_toolchain().id), "fp16")
    if expected is not None:
        with database.transaction() as transaction:
            transaction.caches.replace(key, None, expected)
    won = []

    def swap(turn: int) -> None:
        with database.transaction() as transaction:
            if transaction.caches.replace(key, expected, a_digest(str(turn))):
                won.append(turn)

    at_once([partial(swap, turn) for turn in range(THREADS)])
    with database.reading() as transaction:
        assert [transaction.caches.find(key)] == [a_digest(str(turn)) for turn in won]


@pytest.mark.parametrize(
    "expected", [None, a_digest("before")], ids=["the first", "one in place of a lost one"]
)
def test_of_calibration_caches_filed_at_once_one_alone_stays(
    database: SqlDatabase, expected: Digest | None
) -> None:
    name = given_a_farm(database)
    samples = a_digest("samples").sha256
    key = CalibrationCacheKey(name.model_sha256, samples, "ENTROPY_CALIBRATION_2", a_toolchain().id)
    if expected is not None:
        with database.transaction() as transaction:
            transaction.calibration_caches.file(key, expected)
    won = []

    def file(turn: int) -> None:
        with database.transaction() as transaction:
            if transaction.calibration_caches.file(key, a_digest(str(turn)), expected=expected):
                won.append(turn)

    at_once([partial(file, turn) for turn in range(THREADS)])
    with database.reading() as transaction:
        assert [transaction.calibration_caches.find(key)] == [a_digest(str(turn)) for turn in won]


# What the tests start from.


def read_jobs(database: SqlDatabase) -> list[str]:
    """The ids of all jobs."""
    with database.reading() as transaction:
        return [job.id for job in transaction.jobs.jobs()]


def a_plan(specs: Sequence[BuildSpec], batches: tuple[int, ...] = (1, 8)) -> Plan:
    """A plan of these cells."""
    return Plan(tuple(PlannedCell("nvidia-h200", spec, True) for spec in specs), (), batches, ())


def an_order() -> SubmitOrder:
    """An order under the default name."""
    return SubmitOrder("resnet", "ada", {}, a_job_request())
