"""What the schema refuses, whatever the code does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from farm.domain.jobs import JobState
from farm.storage import tables
from tests.behaviours.given import (
    claim,
    fail,
    given_a_farm,
    given_a_finished_job,
    given_a_queued_job,
    given_a_running_job,
)
from tests.factories import (
    a_build_spec,
)

if TYPE_CHECKING:
    from farm.storage.database import SqlDatabase

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
