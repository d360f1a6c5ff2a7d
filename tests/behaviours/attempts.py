"""What every ledger of jobs must do about attempts: the claim, the lease, the log, the end, the fence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import AttemptSupersededError, IllegalTransitionError
from farm.domain.jobs import AttemptState, JobState, Phase
from tests.behaviours.given import (
    ENDS,
    HOUR_S,
    OVER_S,
    OnAFarm,
    attempts_of,
    claim,
    fail,
    get_job,
    given_a_queued_job,
    given_a_running_job,
    given_a_second_device,
)
from tests.factories import a_build_spec, a_crash, a_device, a_digest, a_failure

if TYPE_CHECKING:
    from farm.domain.work import Attempt, Job
    from farm.services.ports import Database


class AttemptsBehaviour(OnAFarm):
    """Tests of what `transaction.jobs` does for attempts.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    # The claim.

    def test_a_claim_begins_the_first_attempt(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        assert (job.state, job.attempts, job.worker_id) == (JobState.RUNNING, 1, "w-1")
        assert job.lease_until is not None
        assert job.lease_until > attempt.claimed_at
        device = a_device()
        assert (attempt.number, attempt.state, attempt.job_id) == (1, AttemptState.RUNNING, job.id)
        assert (attempt.worker_id, attempt.host, attempt.device_uuid) == ("w-1", device.host, device.uuid)
        assert attempt.driver_version == device.driver_version
        assert (attempt.finished_at, attempt.failure, attempt.log) == (None, None, None)
        assert attempts_of(database, job) == [attempt]
        assert get_job(database, job) == job

    def test_a_claimed_job_can_not_be_claimed(self, database: Database) -> None:
        job, _ = given_a_running_job(database)
        assert try_to_claim(database, job) is None
        assert len(attempts_of(database, job)) == 1

    @pytest.mark.parametrize(("attempt_state", "job_state"), ENDS)
    def test_a_job_that_has_ended_can_not_be_claimed(
        self, database: Database, attempt_state: AttemptState, job_state: JobState
    ) -> None:
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.jobs.close(attempt, attempt_state, job_state)
        assert (try_to_claim(database, job) is None) == job_state.is_terminal

    def test_a_job_that_is_not_due_can_not_be_claimed(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.QUEUED, retry_in_s=HOUR_S)
        assert try_to_claim(database, job) is None

    def test_an_unknown_job_can_not_be_claimed(self, database: Database) -> None:
        with database.transaction() as transaction:
            assert transaction.jobs.claim("j-nothing", worker_id="w-1", device=a_device(), lease_s=1) is None

    def test_every_claim_has_the_next_number(self, database: Database) -> None:
        job = given_a_queued_job(database)
        other = given_a_second_device(database)
        for number in (1, 2, 3):
            running, attempt = claim(database, job, worker_id="w-2", device=other)
            assert (running.attempts, attempt.number) == (number, number)
            fail(database, attempt, JobState.QUEUED)
        assert [attempt.number for attempt in attempts_of(database, job)] == [1, 2, 3]

    # The lease.

    def test_a_lease_that_is_over_is_found(self, database: Database) -> None:
        given_a_running_job(database, a_build_spec(salt="alive"))
        job, attempt = given_a_running_job(database, a_build_spec(salt="silent"), lease_s=OVER_S)
        with database.reading() as transaction:
            assert transaction.jobs.expired() == [(job, attempt)]

    def test_a_heartbeat_renews_the_lease(self, database: Database) -> None:
        _, attempt = given_a_running_job(database, lease_s=OVER_S)
        with database.transaction() as transaction:
            assert not transaction.jobs.heartbeat(attempt, HOUR_S)
        with database.reading() as transaction:
            assert transaction.jobs.expired() == []

    def test_a_heartbeat_hears_that_somebody_wants_it_to_stop(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.jobs.request_cancel(job.id)
        with database.transaction() as transaction:
            assert transaction.jobs.heartbeat(attempt, HOUR_S)

    # Progress and log.

    def test_progress_is_noted_on_the_attempt(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.jobs.report(attempt, Phase.BUILD, 0.25, "tactic 7 of 28")
        (found,) = attempts_of(database, job)
        assert (found.phase, found.fraction, found.message) == ("build", 0.25, "tactic 7 of 28")

    @pytest.mark.parametrize("phase", Phase)
    def test_every_phase_can_be_reported_again_and_again(self, database: Database, phase: Phase) -> None:
        job, attempt = given_a_running_job(database)
        for message in ("begins", "goes on"):
            with database.transaction() as transaction:
                transaction.jobs.report(attempt, phase, None, message)
        (found,) = attempts_of(database, job)
        assert (found.phase, found.fraction, found.message) == (phase.value, None, "goes on")

    def test_a_long_message_is_cut(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.jobs.report(attempt, Phase.BUILD, None, "x" * 10_000)
        assert attempts_of(database, job)[0].message == "x" * 500

    def test_the_live_log_is_what_was_appended(self, database: Database) -> None:
        _, attempt = given_a_running_job(database)
        for text in ("one\n", "two", "\0\n"):
            with database.transaction() as transaction:
                transaction.jobs.append_log(attempt, text)
        with database.reading() as transaction:
            assert transaction.jobs.live_log(attempt) == "one\ntwo\n"

    def test_the_live_log_ends_where_the_whole_is_kept(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.jobs.append_log(attempt, "one\n")
            transaction.jobs.close(attempt, AttemptState.SUCCEEDED, JobState.SUCCEEDED, log=a_digest("one\n"))
        with database.reading() as transaction:
            assert transaction.jobs.live_log(attempt) == ""
        assert attempts_of(database, job)[0].log == a_digest("one\n")

    def test_the_live_log_of_a_lost_attempt_is_its_evidence(self, database: Database) -> None:
        _, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.jobs.append_log(attempt, "one\n")
            transaction.jobs.close(attempt, AttemptState.LOST, JobState.QUEUED)
        with database.reading() as transaction:
            assert transaction.jobs.live_log(attempt) == "one\n"

    # The end of an attempt.

    @pytest.mark.parametrize(("attempt_state", "job_state"), ENDS)
    def test_closing_ends_the_attempt_and_moves_the_job(
        self, database: Database, attempt_state: AttemptState, job_state: JobState
    ) -> None:
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.jobs.close(
                attempt, attempt_state, job_state, log=a_digest("log"), seconds={"build": 1.5}
            )
        moved, (closed,) = get_job(database, job), attempts_of(database, job)
        assert (moved.state, moved.lease_until) == (job_state, None)
        assert (moved.finished_at is not None) == job_state.is_terminal
        assert closed.state is attempt_state
        assert closed.finished_at is not None
        assert (closed.log, closed.seconds) == (a_digest("log"), {"build": 1.5})

    @pytest.mark.parametrize(
        ("attempt_state", "job_state"),
        [(AttemptState.RUNNING, JobState.QUEUED), (AttemptState.FAILED, JobState.RUNNING)],
    )
    def test_closing_can_not_leave_anything_running(
        self, database: Database, attempt_state: AttemptState, job_state: JobState
    ) -> None:
        job, attempt = given_a_running_job(database)
        with pytest.raises(IllegalTransitionError), database.transaction() as transaction:
            transaction.jobs.close(attempt, attempt_state, job_state)
        assert get_job(database, job) == job

    def test_a_failure_is_recorded_on_attempt_and_job(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.FAILED, failure=a_failure())
        assert get_job(database, job).failure == a_failure()
        assert attempts_of(database, job)[0].failure == a_failure()

    def test_success_clears_the_failure_of_the_job_and_keeps_that_of_the_attempt(
        self, database: Database
    ) -> None:
        job, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.QUEUED)
        _, second = claim(database, job)
        with database.transaction() as transaction:
            transaction.jobs.close(second, AttemptState.SUCCEEDED, JobState.SUCCEEDED)
        assert get_job(database, job).failure is None
        assert [attempt.failure for attempt in attempts_of(database, job)] == [a_failure(), None]

    def test_crashes_are_counted_over_all_attempts(self, database: Database) -> None:
        job = given_a_queued_job(database)
        for failure in (a_crash(), a_failure(), a_crash()):
            _, attempt = claim(database, job)
            fail(database, attempt, JobState.QUEUED, failure=failure)
        with database.reading() as transaction:
            assert transaction.jobs.crashes(job.id) == 2

    # The fence.

    def test_a_superseded_attempt_changes_nothing(self, database: Database) -> None:
        job, old = given_a_running_job(database, lease_s=OVER_S)
        fail(database, old, JobState.QUEUED, state=AttemptState.LOST)
        running, _ = claim(database, job, worker_id="w-2", device=given_a_second_device(database))
        before = attempts_of(database, job)
        for state, job_state in ENDS:
            with pytest.raises(AttemptSupersededError), database.transaction() as transaction:
                transaction.jobs.close(old, state, job_state, log=a_digest("log"))
        with pytest.raises(AttemptSupersededError), database.transaction() as transaction:
            transaction.jobs.heartbeat(old, HOUR_S)
        with pytest.raises(AttemptSupersededError), database.transaction() as transaction:
            transaction.jobs.report(old, Phase.BUILD, 0.5, "still here")
        assert get_job(database, job) == running
        assert attempts_of(database, job) == before

    def test_an_attempt_is_closed_once(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.FAILED)
        ended = get_job(database, job)
        with pytest.raises(AttemptSupersededError), database.transaction() as transaction:
            transaction.jobs.close(attempt, AttemptState.SUCCEEDED, JobState.SUCCEEDED)
        assert get_job(database, job) == ended

    def test_a_lost_attempt_can_not_beat_although_nobody_took_over(self, database: Database) -> None:
        _, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.QUEUED, state=AttemptState.LOST)
        with pytest.raises(AttemptSupersededError), database.transaction() as transaction:
            transaction.jobs.heartbeat(attempt, HOUR_S)


def try_to_claim(database: Database, job: Job) -> tuple[Job, Attempt] | None:
    """Takes a job if it is there to be taken."""
    with database.transaction() as transaction:
        return transaction.jobs.claim(job.id, worker_id="w-1", device=a_device(), lease_s=HOUR_S)
