"""Leases and times are by the database's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import StatementError

from farm.storage import tables
from tests.behaviours.given import (
    HOUR_S,
    given_a_farm,
    given_a_running_job,
)

if TYPE_CHECKING:
    from farm.storage.database import SqlDatabase


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


# What the tests start from.


def raw(database: SqlDatabase) -> Any:
    """A transaction on the bare tables."""
    return database.engine.begin()


def wait_for_the_clock(database: SqlDatabase) -> None:
    """Returns when the database's clock has gone on."""
    with database.reading() as transaction:
        begun = transaction.now()
        while transaction.now() <= begun:
            pass
