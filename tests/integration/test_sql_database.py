"""The database over SQLite and over PostgreSQL: the ports' behaviours, races, clocks, odd text, refusals."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from farm.domain.errors import AttemptSupersededError, InvalidRequestError, NotFoundError
from farm.domain.jobs import AttemptState, JobState, Phase
from farm.domain.targets import Target
from farm.domain.timing_caches import CacheKey
from farm.domain.work import Cell, Disposition
from farm.services.attempts import rescue_expired
from farm.services.cancel import cancel_submission
from farm.services.plan import Plan, PlannedCell
from farm.services.submit import SubmitOrder, submit_plan
from farm.storage import tables
from farm.storage.database import SqlDatabase
from farm.storage.fleet_rows import WORKER_SILENCE_S
from farm.storage.schema import upgrade
from tests.behaviours.engine_files import EngineFilesBehaviour
from tests.behaviours.given import (
    HOUR_S,
    OVER_S,
    attempts_of,
    claim,
    fail,
    get_job,
    given_a_farm,
    given_a_finished_job,
    given_a_model,
    given_a_queued_job,
    given_a_running_job,
)
from tests.behaviours.job_ledger import JobLedgerBehaviour
from tests.behaviours.job_turns import JobTurnsBehaviour
from tests.behaviours.model_catalog import ModelCatalogBehaviour
from tests.behaviours.shared_jobs import SharedJobsBehaviour
from tests.behaviours.signing_keys import SigningKeysBehaviour
from tests.behaviours.timing_caches import TimingCachesBehaviour
from tests.factories import (
    a_build_spec,
    a_cpu_toolchain,
    a_device,
    a_device_type,
    a_digest,
    a_failure,
    a_job_request,
    a_model,
    a_target,
    a_toolchain,
    a_worker,
    an_outcome,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Job, Submission
    from tests.services import PostgresServer

THREADS = 8
#: What a log of a crashed builder or a sloppy exporter may hold: NUL, half a surrogate pair, emoji, much of it.
ODD = "a\0b \udcff \N{ROCKET} ünï\u2028" + "long" * 20_000
#: What becomes of it: what no database can hold is replaced, nothing else changes.
ODD_AS_KEPT = ODD.replace("\0", "\ufffd").replace("\udcff", "?")


@pytest.fixture(scope="module")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "farm.db"
    database = SqlDatabase(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture(scope="module")
def postgres_database(postgres_server: PostgresServer) -> Iterator[SqlDatabase]:
    """A database with the schema, to be emptied before every test."""
    url = postgres_server.createdb()
    database = SqlDatabase(url)
    upgrade(database)
    yield database
    database.close()
    postgres_server.dropdb(url)


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Iterator[SqlDatabase]:
    """A farm of this test's alone."""
    shutil.copy(sqlite_template, tmp_path / "farm.db")
    database = SqlDatabase(f"sqlite:///{tmp_path / 'farm.db'}")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> SqlDatabase:
    """An empty database with its schema in place."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_database")  # type: ignore[no-any-return]
    found: SqlDatabase = request.getfixturevalue("postgres_database")
    empty(found)
    return found


def empty(database: SqlDatabase) -> None:
    """Removes every row, which is faster than to truncate tables of a few rows."""
    statements = "; ".join(f"DELETE FROM {table.name}" for table in reversed(tables.metadata.sorted_tables))  # noqa: S608
    with database.engine.begin() as connection:
        connection.execute(text(statements))


class TestModelCatalog(ModelCatalogBehaviour):
    """`SqlModelCatalog`."""


class TestJobLedger(JobLedgerBehaviour):
    """`SqlJobLedger`."""


class TestSharedJobs(SharedJobsBehaviour):
    """`SqlManyJobs` and `SqlFollowUps`."""


class TestJobTurns(JobTurnsBehaviour):
    """`SqlJobLedger`."""


class TestEngineFiles(EngineFilesBehaviour):
    """`SqlEngineFiles`."""


class TestSigningKeys(SigningKeysBehaviour):
    """`SqlSigningKeys`, and the engines that they signed."""


class TestTimingCaches(TimingCachesBehaviour):
    """`SqlTimingCaches`."""


# Races.


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
    empty(database)
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
    empty(database)
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


# The clock.


def test_a_lease_counts_from_the_databases_clock(database: SqlDatabase) -> None:
    given_a_farm(database)
    with database.reading() as transaction:
        before = transaction.now()
    job, attempt = given_a_running_job(database, lease_s=60)
    with database.reading() as transaction:
        after = transaction.now()
    assert job.lease_until is not None
    assert before <= attempt.claimed_at <= after
    assert before <= job.lease_until - timedelta(seconds=60) <= after


def test_a_lease_that_is_over_by_the_databases_clock_is_expired(database: SqlDatabase) -> None:
    given_a_farm(database)
    job, attempt = given_a_running_job(database, lease_s=HOUR_S)
    with database.reading() as transaction:
        assert transaction.jobs.expired() == []
    with database.transaction() as transaction:
        transaction.jobs.heartbeat(attempt, 0.0)
    with database.transaction() as transaction:
        wait_for_the_clock(database)
        ((expired, last),) = transaction.jobs.expired()
    assert (expired.id, last.number) == (job.id, 1)


def test_the_clock_goes_on_within_a_transaction(database: SqlDatabase) -> None:
    with database.transaction() as transaction:
        before = transaction.now()
        wait_for_the_clock(database)
        assert transaction.now() > before
        assert before.tzinfo is UTC


def test_a_time_without_a_zone_is_refused(database: SqlDatabase) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the point of the test
    with pytest.raises(StatementError, match="without a zone"), raw(database) as connection:
        connection.execute(update(tables.workers).values(heartbeat_at=naive))


def test_a_time_of_another_zone_comes_back_as_the_same_moment(database: SqlDatabase) -> None:
    given_a_farm(database)
    moment = datetime(2026, 1, 1, 1, 30, 0, 123000, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    with raw(database) as connection:
        connection.execute(update(tables.workers).values(heartbeat_at=moment))
        found = connection.execute(select(tables.workers.c.heartbeat_at)).scalar_one()
    assert found == moment
    assert found.utcoffset() == timedelta(0)


# The fleet.


def test_a_second_product_of_the_same_name_gets_a_longer_slug_and_a_third_a_longer_one_yet(
    database: SqlDatabase,
) -> None:
    products = [
        a_device_type(),
        a_device_type(memory_gib=96),
        a_device_type(memory_gib=96, compute_capability="9.1"),
        a_device_type(memory_gib=96, product_name="NVIDIA  H200"),
    ]
    with database.transaction() as transaction:
        slugs = transaction.fleet.register(a_worker(device_types=tuple(products)))
        again = transaction.fleet.register(a_worker(id="w-2", device_types=tuple(reversed(products))))
    assert again == slugs
    assert len(set(slugs.values())) == 4
    assert sorted(slugs.values(), key=len)[:1] == ["nvidia-h200"]
    assert "nvidia-h200-132sm-96gib" in slugs.values()
    with database.reading() as transaction:
        assert {slug: type_ for type_, slug in slugs.items()} == transaction.fleet.device_types()


def test_a_worker_comes_back_as_it_registered(database: SqlDatabase) -> None:
    given_a_farm(database)
    with database.reading() as transaction:
        (worker,) = transaction.fleet.workers()
        assert transaction.fleet.devices() == [a_device()]
        assert transaction.fleet.toolchains() == [a_toolchain()]
        assert transaction.fleet.known_targets() == {(a_device_type(), a_toolchain().id)}
    assert (worker.id, worker.host, worker.pid, worker.device) == ("w-1", "host-a", 100, a_device())
    assert worker.targets == (a_target(),)
    assert worker.toolchains == (a_toolchain().id,)
    assert worker.is_live


def test_registering_again_is_no_error_since_the_first_time_may_have_been_lost_on_the_way(
    database: SqlDatabase,
) -> None:
    twice = a_worker(device_types=(a_device_type(), a_device_type()))
    for _ in range(2):
        with database.transaction() as transaction:
            assert transaction.fleet.register(twice) == {a_device_type(): "nvidia-h200"}
    with database.reading() as transaction:
        assert [worker.targets for worker in transaction.fleet.workers()] == [(a_target(),)]


def test_a_worker_is_live_until_it_falls_silent_or_leaves_and_again_when_it_beats(
    database: SqlDatabase,
) -> None:
    given_a_farm(database)
    job = given_a_queued_job(database)
    claim(database, job)
    assert live_workers(database) == {"w-1": job.id}
    with database.transaction() as transaction:
        silent_since = transaction.now() - timedelta(seconds=WORKER_SILENCE_S)
    with raw(database) as connection:
        connection.execute(update(tables.workers).values(heartbeat_at=silent_since))
    assert live_workers(database) == {}
    with database.transaction() as transaction:
        transaction.fleet.beat("w-1")
    assert live_workers(database) == {"w-1": job.id}
    with database.transaction() as transaction:
        transaction.fleet.stop("w-1")
    assert live_workers(database) == {}
    with database.transaction() as transaction:
        transaction.fleet.beat("w-1")
    assert live_workers(database) == {"w-1": job.id}


def test_live_workers_come_first(database: SqlDatabase) -> None:
    with database.transaction() as transaction:
        for number in range(3):
            transaction.fleet.register(a_worker(id=f"w-{number}"))
        transaction.fleet.stop("w-0")
    with database.reading() as transaction:
        assert [worker.id for worker in transaction.fleet.workers()][-1] == "w-0"


def test_what_is_known_of_a_device_and_a_toolchain_is_the_newest(database: SqlDatabase) -> None:
    given_a_farm(database)
    moved = a_device(host="host-b", driver_version="600.1", index=3)
    richer = a_toolchain(max_opset=25)
    with database.transaction() as transaction:
        transaction.fleet.register(a_worker(id="w-2", device=moved, toolchains=(richer,)))
    with database.reading() as transaction:
        assert transaction.fleet.devices() == [moved]
        assert transaction.fleet.toolchains() == [richer]


def test_a_machine_is_described_without_a_worker(database: SqlDatabase) -> None:
    with database.transaction() as transaction:
        transaction.fleet.describe([a_device_type()], [a_toolchain(), a_cpu_toolchain()])
    with database.reading() as transaction:
        assert transaction.fleet.workers() == []
        assert transaction.fleet.known_targets() == {(a_device_type(), a_toolchain().id)}
        assert len(transaction.fleet.toolchains()) == 2


# Odd text and documents.


def test_odd_text_of_a_child_is_kept_as_far_as_a_database_can(database: SqlDatabase) -> None:
    given_a_farm(database)
    job, attempt = given_a_running_job(database)
    with database.transaction() as transaction:
        transaction.jobs.report(attempt, Phase.BUILD, 0.5, ODD)
        transaction.jobs.append_log(attempt, ODD)
    with database.reading() as transaction:
        assert transaction.jobs.live_log(attempt) == ODD.replace("\0", "").replace("\udcff", "?")
    assert attempts_of(database, job)[0].message == ODD_AS_KEPT[:500]
    failure = a_failure(code=ODD, message=ODD, hint=ODD)
    with database.transaction() as transaction:
        transaction.jobs.close(
            attempt,
            AttemptState.FAILED,
            JobState.FAILED,
            failure=failure,
            environment={ODD: [ODD, {"a": ODD}]},
        )
    kept = replace(failure, code=ODD_AS_KEPT, message=ODD_AS_KEPT, hint=ODD_AS_KEPT)
    assert get_job(database, job).failure == kept
    assert attempts_of(database, job)[0].failure == kept
    with raw(database) as connection:
        environment = connection.execute(select(tables.attempts.c.environment)).scalar_one()
    assert environment == {ODD_AS_KEPT: [ODD_AS_KEPT, {"a": ODD_AS_KEPT}]}


def test_odd_text_of_a_user_and_a_machine_is_kept_as_far_as_a_database_can(database: SqlDatabase) -> None:
    odd = ODD[:300]
    device = a_device(
        a_device_type(product_name="\N{ROCKET}" * 300, variant="v" * 300), host=odd, driver_version=odd
    )
    with database.transaction() as transaction:
        transaction.fleet.register(
            a_worker(id="w" * 200, host=odd, device=device, device_types=(a_device_type(),), version=odd)
        )
    name = given_a_model(database, a_model(producer=odd), odd[:200])
    with database.transaction() as transaction:
        filed = transaction.jobs.add_submission(
            name=name, user=odd, tags={odd: odd}, cells=[], request={"model": odd}
        )
        job = transaction.jobs.add(a_build_spec(), a_job_request())
        taken = transaction.jobs.claim(job.id, worker_id="w" * 200, device=device, lease_s=HOUR_S)
    assert taken is not None
    kept = odd.replace("\0", "\ufffd").replace("\udcff", "?")
    assert (filed.user, filed.tags, filed.model_name) == (kept, {kept: kept}, kept[:200])
    assert (taken[1].host, taken[1].driver_version) == (kept, kept)
    with database.reading() as transaction:
        assert transaction.models.named(odd[:200]) == name
        assert transaction.fleet.workers()[0].current_job == job.id
        for reference in ("\udcff\0", "%", "'; DROP TABLE jobs; --"):
            with pytest.raises(NotFoundError):
                transaction.models.named(reference)
            with pytest.raises(NotFoundError):
                transaction.jobs.get(reference)


def test_a_spec_that_would_come_back_as_another_is_refused(database: SqlDatabase) -> None:
    given_a_farm(database)
    with pytest.raises(InvalidRequestError, match="NUL"):
        given_a_queued_job(database, a_build_spec(salt="a\0b"))
    assert read_jobs(database) == []


def test_specs_keep_their_keys_whatever_text_they_hold(database: SqlDatabase) -> None:
    given_a_farm(database)
    odd = a_build_spec(
        salt="ünï \N{ROCKET} \u2028\\u0000 'quoted\" \x01",
        builder_config={"z": 2**62, "a": True, "m": ["+B", "-A"], "nested.name": "4"},
    )
    job = given_a_queued_job(database, odd)
    assert get_job(database, job).spec == odd
    assert get_job(database, job).spec.digest == odd.digest


def test_figures_that_json_has_no_word_for_become_null(database: SqlDatabase) -> None:
    given_a_farm(database)
    _, attempt = given_a_running_job(database)
    with database.transaction() as transaction:
        transaction.jobs.close(
            attempt,
            AttemptState.SUCCEEDED,
            JobState.SUCCEEDED,
            seconds={"build": 1e-9, "verify": 1.0},
            environment={"nan": float("nan"), "all": [float("inf"), -2.5e10, 0.1]},
        )
    with raw(database) as connection:
        row = connection.execute(select(tables.attempts.c.environment, tables.attempts.c.seconds)).one()
    assert row.environment == {"nan": None, "all": [None, -2.5e10, 0.1]}
    assert row.seconds == {"build": 1e-9, "verify": 1.0}


def test_a_run_without_accuracy_has_the_databases_own_null(database: SqlDatabase) -> None:
    given_a_farm(database)
    given_a_finished_job(database, outcome=an_outcome(accuracy=None))
    with raw(database) as connection:
        assert connection.execute(text("SELECT count(*) FROM runs WHERE accuracy IS NULL")).scalar_one() == 1


def test_a_name_that_is_too_long_is_refused_in_words(database: SqlDatabase) -> None:
    with pytest.raises(InvalidRequestError, match="201 characters"):
        given_a_model(database, a_model(), "n" * 201)
    assert given_a_model(database, a_model(), "n" * 200).version == 1


def test_a_version_of_any_length_is_just_not_there(database: SqlDatabase) -> None:
    given_a_model(database, a_model(), "resnet")
    with database.reading() as transaction, pytest.raises(NotFoundError):
        transaction.models.named("resnet@" + "9" * 40)


# Histories, tainted or not, and late words.


def test_tainted_runs_are_in_the_history_only_when_asked_for(database: SqlDatabase) -> None:
    given_a_farm(database)
    given_a_finished_job(database, outcome=an_outcome(batches=(1, 8)))
    with raw(database) as connection:
        connection.execute(update(tables.runs).values(taints=["the GPU was throttled"]))
    with database.reading() as transaction:
        assert transaction.engines.history(name="resnet", since=None, include_tainted=False) == []
        found = transaction.engines.history(name="resnet", since=None, include_tainted=True)
    assert [entry.measurement.batch for entry in found] == [1, 8]
    assert found[0].run.taints == ("the GPU was throttled",)


def test_a_late_line_of_an_attempt_that_has_ended_is_not_added_to_its_log(database: SqlDatabase) -> None:
    given_a_farm(database)
    _, attempt = given_a_running_job(database)
    with database.transaction() as transaction:
        transaction.jobs.append_log(attempt, "in time")
    with database.transaction() as transaction:
        transaction.jobs.close(attempt, AttemptState.SUCCEEDED, JobState.SUCCEEDED, log=a_digest("log"))
    with database.transaction() as transaction:
        transaction.jobs.append_log(attempt, "too late")
    with database.reading() as transaction:
        assert transaction.jobs.live_log(attempt) == ""


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


# What the schema refuses, whatever the code does.

FORBIDDEN = {
    "a job in an unknown state": "UPDATE jobs SET state = 'LOST', lease_until = NULL",
    "a running job without a lease": "UPDATE jobs SET lease_until = NULL",
    "a waiting job with a lease": "UPDATE jobs SET state = 'QUEUED'",
    "an ended job without its end": "UPDATE jobs SET state = 'FAILED', lease_until = NULL",
    "a job of an unknown kind": "UPDATE jobs SET kind = 'test'",
    "a job of an unknown model": "UPDATE jobs SET model_sha256 = 'nothing'",
    "an unknown failure": "UPDATE jobs SET failure_class = 'odd'",
    "an attempt zero": "UPDATE attempts SET number = 0",
    "an ended attempt without its end": "UPDATE attempts SET state = 'LOST'",
    "an attempt of no job": "UPDATE attempts SET job_id = 'j-nothing'",
    "a version zero": "UPDATE model_names SET version = 0",
    "an artifact of less than nothing": "UPDATE artifacts SET size_bytes = -1",
    "a device of an unknown kind": "UPDATE device_types SET kind = 'tpu'",
    "an artifact that is gone": "DELETE FROM artifacts",
}


@pytest.mark.parametrize("statement", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_the_schema_refuses(database: SqlDatabase, statement: str) -> None:
    given_a_farm(database)
    given_a_finished_job(database, a_build_spec(salt="done"))
    with database.transaction() as transaction:
        transaction.fleet.beat("w-1")
    job, _ = given_a_running_job(database)
    if statement.startswith("UPDATE jobs") or statement.startswith("UPDATE attempts"):
        column = "id" if statement.startswith("UPDATE jobs") else "job_id"
        statement += f" WHERE {column} = '{job.id}'"
    with pytest.raises(IntegrityError), raw(database) as connection:
        connection.execute(text(statement))


def test_the_schema_refuses_a_second_live_job_of_one_key(database: SqlDatabase) -> None:
    given_a_farm(database)
    job = given_a_queued_job(database)
    with raw(database) as connection:
        row = dict(connection.execute(select(tables.jobs)).one()._mapping)
    with pytest.raises(IntegrityError), raw(database) as connection:
        connection.execute(insert(tables.jobs).values({**row, "id": "j-second"}))
    _, attempt = claim(database, job)
    fail(database, attempt, JobState.FAILED)
    with raw(database) as connection:
        connection.execute(insert(tables.jobs).values({**row, "id": "j-second"}))


def test_the_schema_refuses_a_second_engine_of_one_key(database: SqlDatabase) -> None:
    given_a_farm(database)
    given_a_finished_job(database)
    with raw(database) as connection:
        row = dict(connection.execute(select(tables.engines)).one()._mapping)
    with pytest.raises(IntegrityError), raw(database) as connection:
        connection.execute(insert(tables.engines).values({**row, "id": row["id"] + 1}))


# What the tests start from.


def raw(database: SqlDatabase) -> Any:
    """A transaction on the bare tables."""
    return database.engine.begin()


def read_jobs(database: SqlDatabase) -> list[str]:
    """The ids of all jobs."""
    with database.reading() as transaction:
        return [job.id for job in transaction.jobs.jobs()]


def live_workers(database: SqlDatabase) -> dict[str, str]:
    """The live workers with the job that each is at."""
    with database.reading() as transaction:
        return {worker.id: worker.current_job for worker in transaction.fleet.workers() if worker.is_live}


def wait_for_the_clock(database: SqlDatabase) -> None:
    """Returns when the database's clock has gone on."""
    with database.reading() as transaction:
        begun = transaction.now()
        while transaction.now() <= begun:
            pass


def a_plan(specs: Sequence[BuildSpec], batches: tuple[int, ...] = (1, 8)) -> Plan:
    """A plan of these cells."""
    return Plan(tuple(PlannedCell("nvidia-h200", spec, True) for spec in specs), (), batches, ())


def an_order() -> SubmitOrder:
    """An order under the default name."""
    return SubmitOrder("resnet", "ada", {}, a_job_request())
