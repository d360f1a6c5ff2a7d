"""What every ledger of jobs must do about submissions and their cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.work import Cell, Disposition
from tests.behaviours.given import OnAFarm, given_a_finished_job, given_a_queued_job, given_a_submission
from tests.factories import a_build_spec

if TYPE_CHECKING:
    from farm.domain.work import ModelName
    from farm.services.ports import Database


class SubmissionsBehaviour(OnAFarm):
    """Tests of what `transaction.jobs` knows of submissions.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_a_submission_comes_back_with_its_cells_in_order(
        self, database: Database, name: ModelName
    ) -> None:
        jobs = [given_a_queued_job(database, a_build_spec(salt=str(number))) for number in range(3)]
        cells = [Cell(number, job.spec, Disposition.QUEUED, job.id) for number, job in enumerate(jobs)]
        submission = given_a_submission(
            database, name, list(reversed(cells)), user="ada", tags={"team": "vision"}
        )
        assert submission.cells == tuple(cells)
        assert (submission.user, submission.tags) == ("ada", {"team": "vision"})
        assert (submission.model_name, submission.model_version) == (name.name, name.version)
        with database.reading() as transaction:
            assert transaction.jobs.submission(submission.id) == submission
            assert transaction.jobs.submission(submission.id[:8]) == submission

    def test_a_cell_may_be_answered_by_a_filed_engine(self, database: Database, name: ModelName) -> None:
        job, engine_id = given_a_finished_job(database)
        cell = Cell(0, job.spec, Disposition.BUILT, job.id, engine_id)
        assert given_a_submission(database, name, [cell]).cells == (cell,)

    def test_the_newest_submissions_come_first(self, database: Database, name: ModelName) -> None:
        ids = [given_a_submission(database, name, []).id for _ in range(3)]
        with database.reading() as transaction:
            assert [submission.id for submission in transaction.jobs.submissions(2)] == ids[:0:-1]

    def test_an_unknown_submission_is_not_found(self, database: Database) -> None:
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.jobs.submission("s-nothing")

    def test_a_beginning_that_several_submissions_share_is_refused(
        self, database: Database, name: ModelName
    ) -> None:
        given_a_submission(database, name, [])
        given_a_submission(database, name, [])
        with database.reading() as transaction, pytest.raises(InvalidRequestError):
            transaction.jobs.submission("s-")

    def test_the_submissions_that_wait_for_a_job_are_known(self, database: Database, name: ModelName) -> None:
        job, other = (given_a_queued_job(database, a_build_spec(salt=salt)) for salt in "ab")
        cells = [
            Cell(0, job.spec, Disposition.QUEUED, job.id),
            Cell(1, other.spec, Disposition.QUEUED, other.id),
        ]
        both, one = given_a_submission(database, name, cells), given_a_submission(database, name, cells[:1])
        with database.reading() as transaction:
            assert transaction.jobs.interested(job.id) == {both.id, one.id}
            assert transaction.jobs.interested(other.id) == {both.id}
            assert transaction.jobs.interested("j-nothing") == set()

        with database.transaction() as transaction:
            transaction.jobs.withdraw(both.id)
        with database.reading() as transaction:
            assert transaction.jobs.interested(job.id) == {one.id}
            assert transaction.jobs.interested(other.id) == set()
