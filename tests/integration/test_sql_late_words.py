"""Histories, tainted or not; late words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from farm.domain.jobs import AttemptState, JobState
from farm.storage import tables
from tests.behaviours.given import (
    given_a_farm,
    given_a_finished_job,
    given_a_running_job,
)
from tests.factories import (
    a_digest,
    an_outcome,
)

if TYPE_CHECKING:
    from farm.storage.database import SqlDatabase


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


# What the tests start from.


def raw(database: SqlDatabase) -> Any:
    """A transaction on the bare tables."""
    return database.engine.begin()
