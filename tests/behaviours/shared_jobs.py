"""What every ledger of jobs must do about many jobs at once, and about those that several people want."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import ConflictError
from farm.domain.jobs import JobState
from farm.domain.work import Cell, Disposition, FollowUp, WantedJob
from tests.behaviours.given import (
    OnAFarm,
    attempts_of,
    claim,
    fail,
    get_job,
    given_a_failed_job,
    given_a_finished_job,
    given_a_queued_job,
    given_a_running_job,
    given_a_submission,
    later,
)
from tests.factories import a_benchmark_request, a_build_spec, a_job_request

if TYPE_CHECKING:
    from farm.domain.work import Job, ModelName, Submission
    from farm.services.ports import Database

SPECS = [a_build_spec(salt=salt) for salt in "abc"]


class SharedJobsBehaviour(OnAFarm):
    """Tests of `transaction.jobs` and of `transaction.engines.find_all`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    # Many at once.

    def test_jobs_added_together_are_as_those_added_one_by_one(self, database: Database) -> None:
        wanted = [
            WantedJob(spec, a_job_request(priority=at, queue_timeout_s=60), at, "ada")
            for at, spec in enumerate(SPECS)
        ]
        with database.transaction() as transaction:
            added = transaction.jobs.add_all(wanted)
        assert [(job.spec, job.request, job.user) for job in added] == [
            (job.spec, job.request, job.user) for job in wanted
        ]
        assert len({job.created_at for job in added}) == 1
        assert [get_job(database, job) for job in added] == added

    def test_of_jobs_added_together_one_that_is_there_already_stops_all(self, database: Database) -> None:
        given_a_queued_job(database, SPECS[1])
        with pytest.raises(ConflictError), database.transaction() as transaction:
            transaction.jobs.add_all([WantedJob(spec, a_job_request()) for spec in SPECS])
        with database.reading() as transaction:
            assert [job.spec for job in transaction.jobs.jobs()] == [SPECS[1]]

    def test_nothing_can_be_added_widened_and_looked_for(self, database: Database) -> None:
        with database.transaction() as transaction:
            assert transaction.jobs.add_all([]) == []
            transaction.jobs.widen_all([])
            assert transaction.jobs.active_all([], a_job_request()) == {}
            assert transaction.jobs.get_all([]) == {}
            assert transaction.jobs.newest_attempts([]) == {}
            assert transaction.engines.find_all([]) == {}
            assert transaction.jobs.request_cancel_all([]) == []

    def test_those_of_many_specs_that_wait_or_run_are_found(self, database: Database) -> None:
        waits = given_a_queued_job(database, SPECS[0])
        runs, _ = given_a_running_job(database, SPECS[1])
        given_a_failed_job(database, SPECS[2])
        with database.transaction() as transaction:
            found = transaction.jobs.active_all(SPECS, a_job_request())
            assert transaction.jobs.active_all(SPECS, a_benchmark_request()) == {}
        assert found == {SPECS[0].digest.sha256: waits, SPECS[1].digest.sha256: runs}

    def test_only_those_that_wait_are_widened(self, database: Database) -> None:
        waits = given_a_queued_job(database, SPECS[0])
        runs, _ = given_a_running_job(database, SPECS[1])
        wider = a_job_request(batches=(1, 2, 4), priority=3, queue_timeout_s=60)
        with database.transaction() as transaction:
            transaction.jobs.widen_all([(waits, wider, "grace"), (runs, wider, "grace")])
        widened = get_job(database, waits)
        assert (widened.request, widened.user) == (wider, "grace")
        assert widened.queue_deadline_at is not None
        assert get_job(database, runs) == runs

    def test_jobs_are_found_by_their_ids_in_that_order(self, database: Database) -> None:
        one, two = (given_a_queued_job(database, spec) for spec in SPECS[:2])
        with database.reading() as transaction:
            found = transaction.jobs.get_all([two.id, "j-nothing", one.id])
        assert list(found.items()) == [(two.id, two), (one.id, one)]

    def test_of_every_job_the_newest_attempt_is_found(self, database: Database) -> None:
        waits = given_a_queued_job(database, SPECS[0])
        job, first = given_a_running_job(database, SPECS[1])
        fail(database, first, JobState.QUEUED)
        later()
        claim(database, job)
        with database.reading() as transaction:
            found = transaction.jobs.newest_attempts([waits.id, job.id])
        assert found == {job.id: attempts_of(database, job)[-1]}
        assert found[job.id].number == 2

    def test_engines_of_many_specs_are_found_by_their_keys(self, database: Database) -> None:
        _, engine_id = given_a_finished_job(database, SPECS[0])
        with database.reading() as transaction:
            found = transaction.engines.find_all(SPECS)
            assert found == {SPECS[0].digest.sha256: transaction.engines.get(engine_id)}

    def test_jobs_are_cancelled_together(self, database: Database) -> None:
        waits = given_a_queued_job(database, SPECS[0])
        runs, _ = given_a_running_job(database, SPECS[1])
        failed = given_a_failed_job(database, SPECS[2])
        with database.transaction() as transaction:
            asked = transaction.jobs.request_cancel_all([runs.id, failed.id, waits.id])
        assert [(job.id, job.state, job.cancel_requested) for job in asked] == [
            (runs.id, JobState.RUNNING, True),
            (failed.id, JobState.FAILED, False),
            (waits.id, JobState.CANCELLED, True),
        ]

    # Those that several people want.

    def test_a_running_job_that_was_asked_to_stop_can_be_wanted_again(self, database: Database) -> None:
        waits = given_a_queued_job(database, SPECS[0])
        runs, _ = given_a_running_job(database, SPECS[1])
        with database.transaction() as transaction:
            transaction.jobs.request_cancel_all([waits.id, runs.id])
        with database.transaction() as transaction:
            transaction.jobs.want_again([waits.id, runs.id])
        assert not get_job(database, runs).cancel_requested
        assert get_job(database, waits).state is JobState.CANCELLED

    def test_everybody_who_waits_for_a_job_is_known(self, database: Database, name: ModelName) -> None:
        shared, other = (given_a_queued_job(database, spec) for spec in SPECS[:2])
        ada = submitted(database, name, shared, other, user="ada")
        grace = submitted(database, name, shared, user="grace")
        withdrawn = submitted(database, name, shared, user="joan")
        with database.transaction() as transaction:
            transaction.jobs.withdraw(withdrawn.id)
        with database.reading() as transaction:
            found = transaction.jobs.interests([shared.id, other.id])
            assert transaction.jobs.submission(withdrawn.id).is_withdrawn
            assert not transaction.jobs.submission(grace.id).is_withdrawn
        assert found == {shared.id: {ada.id: "ada", grace.id: "grace"}, other.id: {ada.id: "ada"}}

    def test_another_user_can_be_made_to_pay(self, database: Database) -> None:
        job = given_a_queued_job(database)
        with database.transaction() as transaction:
            transaction.jobs.charge_to(job.id, "grace")
        assert get_job(database, job).user == "grace"

    # What is wanted beyond a build.

    def test_what_is_wanted_beyond_a_build_is_taken_out_once(
        self, database: Database, name: ModelName
    ) -> None:
        job, _ = given_a_running_job(database, SPECS[0])
        wanted = beyond(database, submitted(database, name, job, user="grace"), job)
        with database.reading() as transaction:
            assert transaction.jobs.follow_ups([wanted.submission_id]) == [wanted]
        with database.transaction() as transaction:
            assert transaction.jobs.take_follow_ups(job.id) == [wanted]
            assert transaction.jobs.take_follow_ups(job.id) == []
            assert transaction.jobs.follow_ups([wanted.submission_id]) == []

    def test_what_was_withdrawn_is_not_wanted_any_more(self, database: Database, name: ModelName) -> None:
        job, _ = given_a_running_job(database, SPECS[0])
        gone = beyond(database, submitted(database, name, job, user="joan"), job)
        stays = beyond(database, submitted(database, name, job, user="grace"), job)
        with database.transaction() as transaction:
            transaction.jobs.withdraw(gone.submission_id)
        with database.transaction() as transaction:
            assert transaction.jobs.take_follow_ups(job.id) == [stays]

    def test_what_is_wanted_goes_along_when_a_job_is_tried_again(
        self, database: Database, name: ModelName
    ) -> None:
        job, attempt = given_a_running_job(database, SPECS[0])
        wanted = beyond(database, submitted(database, name, job, user="grace"), job)
        fail(database, attempt, JobState.FAILED)
        with database.transaction() as transaction:
            again = transaction.jobs.requeue(job.id)
            (moved,) = transaction.jobs.follow_ups([wanted.submission_id])
        assert moved.job_id == again.id

    def test_a_cell_can_be_answered_by_another_job(self, database: Database, name: ModelName) -> None:
        one, two = (given_a_queued_job(database, spec) for spec in SPECS[:2])
        submission = submitted(database, name, one, one)
        with database.transaction() as transaction:
            transaction.jobs.point(submission.id, 1, two.id)
        with database.reading() as transaction:
            cells = transaction.jobs.submission(submission.id).cells
        assert [cell.job_id for cell in cells] == [one.id, two.id]


def submitted(database: Database, name: ModelName, *jobs: Job, user: str = "ada") -> Submission:
    """A submission with a cell for each of some jobs."""
    cells = [Cell(at, job.spec, Disposition.SHARED, job.id) for at, job in enumerate(jobs)]
    return given_a_submission(database, name, cells, user=user)


def beyond(database: Database, submission: Submission, job: Job) -> FollowUp:
    """What the first cell of a submission wants beyond a build."""
    wanted = FollowUp(submission.id, 0, job.id, a_benchmark_request(batches=(64,)), submission.user)
    with database.transaction() as transaction:
        transaction.jobs.add_follow_ups([wanted])
    return wanted
