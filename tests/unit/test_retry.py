"""What is tried again is wanted again, with the limits that somebody names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.jobs import JobState, Phase
from farm.domain.work import Cell, Disposition
from farm.services.cancel import cancel_submission
from farm.services.retry import retry_failed, retry_job
from tests.behaviours.given import (
    fail,
    given_a_failed_job,
    given_a_farm,
    given_a_queued_job,
    given_a_running_job,
    given_a_submission,
)
from tests.factories import a_build_spec
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from farm.domain.work import Job, JobRequest, ModelName, Submission


@pytest.fixture
def database() -> InMemoryDatabase:
    return InMemoryDatabase()


@pytest.fixture
def name(database: InMemoryDatabase) -> ModelName:
    """Of a model, with a worker beside it."""
    return given_a_farm(database)


def asked(database: InMemoryDatabase, name: ModelName, job: Job) -> Submission:
    """A submission of one cell."""
    return given_a_submission(database, name, [Cell(0, job.spec, Disposition.QUEUED, job.id)])


def as_before(request: JobRequest) -> JobRequest:
    return request


def twice_as_long(request: JobRequest) -> JobRequest:
    return replace(request, deadline_s=2 * request.deadline_s, phase_deadlines={Phase.BUILD: 60})


def test_a_submission_that_was_withdrawn_is_waited_for_again_when_its_job_is_tried_again(
    database: InMemoryDatabase, name: ModelName
) -> None:
    job = given_a_queued_job(database)
    submission = asked(database, name, job)
    with database.transaction() as transaction:
        cancel_submission(transaction, submission.id)
        fresh = retry_job(transaction, job.id, as_before)
        assert fresh.state is JobState.QUEUED
        assert transaction.jobs.interested(fresh.id) == {submission.id}
        assert not transaction.jobs.submission(submission.id).is_withdrawn


def test_who_withdrew_is_not_drawn_in_again_while_somebody_else_waits(
    database: InMemoryDatabase, name: ModelName
) -> None:
    job, attempt = given_a_running_job(database)
    mine, theirs = asked(database, name, job), asked(database, name, job)
    with database.transaction() as transaction:
        cancel_submission(transaction, mine.id)
    fail(database, attempt, JobState.FAILED)
    with database.transaction() as transaction:
        fresh = retry_job(transaction, job.id, as_before)
        assert transaction.jobs.interested(fresh.id) == {theirs.id}


def test_the_failed_cells_of_a_withdrawn_submission_are_waited_for_again(
    database: InMemoryDatabase, name: ModelName
) -> None:
    job = given_a_failed_job(database)
    submission = asked(database, name, job)
    with database.transaction() as transaction:
        cancel_submission(transaction, submission.id)
        (fresh,) = retry_failed(transaction, submission.id, as_before).values()
        assert transaction.jobs.interested(fresh.id) == {submission.id}


def test_other_limits_hold_for_what_is_tried_again(database: InMemoryDatabase, name: ModelName) -> None:
    job = given_a_failed_job(database)
    other = given_a_failed_job(database, a_build_spec(salt="other"))
    submission = asked(database, name, other)
    with database.transaction() as transaction:
        one = retry_job(transaction, job.id, twice_as_long)
        (cell,) = retry_failed(transaction, submission.id, twice_as_long).values()
    for fresh in (one, cell):
        assert fresh.request == twice_as_long(job.request)
