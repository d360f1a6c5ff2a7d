"""What every ledger must say of an attempt that was given back: it is no failure, and nobody was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import JobState
from farm.services.attempts import release_attempt
from tests.behaviours.given import OnAFarm, attempts_of, fail, given_a_running_job

if TYPE_CHECKING:
    from farm.services.ports import Database


class AttemptsGivenBackBehaviour(OnAFarm):
    """Tests of `transaction.jobs.failures` and `transaction.metrics`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_what_was_given_back_is_among_no_failures(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        release_attempt(database, attempt, "the worker was told to stop", None)
        with database.reading() as transaction:
            assert transaction.jobs.failures() == []
        assert attempts_of(database, job)[0].state_text == "given back"

    def test_what_was_given_back_is_counted_as_that_alone(self, database: Database) -> None:
        _, attempt = given_a_running_job(database)
        release_attempt(database, attempt, "the worker was told to stop", None)
        with database.reading() as transaction:
            figures = transaction.metrics.figures()
        assert dict(figures.attempts) == {"RELEASED": 1}
        assert dict(figures.failures) == {}

    def test_a_failure_is_counted_beside_it(self, database: Database) -> None:
        _, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.FAILED)
        with database.reading() as transaction:
            figures = transaction.metrics.figures()
            (group,) = transaction.jobs.failures()
        assert dict(figures.attempts) == {"FAILED": 1}
        assert sum(figures.failures.values()) == group.attempts == 1
