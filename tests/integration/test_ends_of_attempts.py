"""Ends and heartbeats of attempts on PostgreSQL: what comes at that very moment, and what they write."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect, text

from farm.domain.jobs import JobKind, JobState
from farm.domain.work import Cell, Disposition, FollowUp
from farm.services.attempts import finish_attempt
from farm.storage.database import SqlDatabase
from farm.storage.schema import upgrade
from tests.behaviours.given import given_a_farm, given_a_running_job
from tests.factories import a_benchmark_request, a_digest, an_outcome

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[SqlDatabase]:
    """A farm on PostgreSQL."""
    database = SqlDatabase(postgres_url)
    upgrade(database)
    yield database
    database.close()


def wait_until_somebody_waits_for_a_row(database: SqlDatabase) -> None:
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with database.engine.connect() as connection:
            if connection.execute(query).scalar_one():
                return
        time.sleep(0.01)
    raise TimeoutError("nobody waits")


def test_a_wish_that_is_filed_while_the_build_ends_is_followed_up(postgres: SqlDatabase) -> None:
    name = given_a_farm(postgres)
    job, attempt = given_a_running_job(postgres)
    more = a_benchmark_request(batches=(64,))
    with ThreadPoolExecutor(1) as pool:
        with postgres.transaction() as transaction:
            transaction.jobs.active_all([job.spec], job.request)
            end = pool.submit(finish_attempt, postgres, job, attempt, an_outcome(), a_digest("log"))
            # It has looked at the database by now, and waits for the row of the job.
            wait_until_somebody_waits_for_a_row(postgres)
            cell = Cell(0, job.spec, Disposition.SHARED, job.id)
            submission = transaction.jobs.add_submission(
                name=name, user="grace", tags={}, cells=[cell], request={}
            )
            transaction.jobs.add_follow_ups([FollowUp(submission.id, 0, job.id, more)])
        end.result(timeout=30)
    with postgres.reading() as transaction:
        (queued,) = transaction.jobs.jobs(states=[JobState.QUEUED])
        assert (queued.request.kind, queued.request.benchmark.batches) == (JobKind.BENCHMARK, (64,))
        assert transaction.jobs.get(job.id).state is JobState.SUCCEEDED
        assert transaction.jobs.follow_ups([submission.id]) == []


def test_a_heartbeat_changes_no_column_that_an_index_has_or_depends_on(postgres: SqlDatabase) -> None:
    """PostgreSQL writes a row in place only then (HOT)."""
    for table, column in (("jobs", "lease_until"), ("workers", "heartbeat_at")):
        for index in inspect(postgres.engine).get_indexes(table):
            assert column not in index["column_names"]
            assert column not in index.get("dialect_options", {}).get("postgresql_where", "")


def test_heartbeats_are_written_in_place(postgres: SqlDatabase) -> None:
    given_a_farm(postgres)
    _, attempt = given_a_running_job(postgres)
    for _ in range(20):
        with postgres.autocommit() as transaction:
            transaction.jobs.heartbeat(attempt, 60.0)
    with postgres.engine.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        connection.commit()
        query = text("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'jobs'")
        updates, in_place = connection.execute(query).one()
    # One update was the claim, which no index lets pass unnoticed.
    assert updates - in_place == 1
