"""Statements that commit by themselves, heartbeats that do not wait for the disk, connections that were cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from farm.storage.database import SqlDatabase
from farm.storage.schema import upgrade
from tests.behaviours.given import given_a_farm, given_a_running_job
from tests.factories import a_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.storage.database import SqlTransaction


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[SqlDatabase]:
    """A farm on PostgreSQL."""
    database = SqlDatabase(postgres_url)
    upgrade(database)
    given_a_farm(database)
    yield database
    database.close()


def waits_for_the_disk(transaction: SqlTransaction) -> bool:
    """What PostgreSQL would do at the commit of this transaction."""
    shown = transaction.jobs._connection.execute(text("SHOW synchronous_commit"))
    return str(shown.scalar_one()) == "on"


def test_a_statement_counts_though_a_later_one_fails(postgres: SqlDatabase) -> None:
    with pytest.raises(RuntimeError, match="later"), postgres.autocommit() as transaction:
        transaction.models.add(a_model("another"))
        raise RuntimeError("later")
    with postgres.reading() as transaction:
        assert transaction.models.get(a_model("another").digest.sha256)


def test_a_heartbeat_in_a_transaction_leaves_the_rest_of_it_durable(postgres: SqlDatabase) -> None:
    _, attempt = given_a_running_job(postgres)
    with postgres.transaction() as transaction:
        transaction.jobs.heartbeat(attempt, 60.0)
        transaction.fleet.beat(attempt.worker_id)
        assert waits_for_the_disk(transaction)


def test_a_heartbeat_by_itself_speaks_for_nothing_that_follows(postgres: SqlDatabase) -> None:
    _, attempt = given_a_running_job(postgres)
    with postgres.autocommit() as transaction:
        assert transaction.jobs.heartbeat(attempt, 60.0) is False
        assert transaction.fleet.beat(attempt.worker_id) == ""
        assert waits_for_the_disk(transaction)


def test_a_resting_connection_that_its_server_cut_is_replaced(postgres: SqlDatabase) -> None:
    def backend() -> int:
        with postgres.reading() as transaction:
            return int(transaction.jobs._connection.execute(text("SELECT pg_backend_pid()")).scalar_one())

    cut = backend()
    other = SqlDatabase(postgres.url)
    with other.transaction() as transaction:
        transaction.jobs._connection.execute(text(f"SELECT pg_terminate_backend({cut}, 5000)"))
    other.close()
    assert backend() != cut
