"""What every ledger of jobs must do about jobs: sharing, finding, cancelling, trying again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import ConflictError, InvalidRequestError, NotFoundError
from farm.domain.jobs import AttemptState, JobState
from farm.domain.thresholds import Thresholds
from farm.domain.verification import VerificationSpec
from farm.domain.work import Cell, Disposition
from tests.behaviours.given import (
    ENDS,
    HOUR_S,
    OnAFarm,
    attempts_of,
    claim,
    get_job,
    given_a_failed_job,
    given_a_finished_job,
    given_a_queued_job,
    given_a_running_job,
    given_a_submission,
)
from tests.factories import a_benchmark_request, a_build_spec, a_device, a_digest, a_job_request

if TYPE_CHECKING:
    from farm.domain.work import Attempt, Job, ModelName
    from farm.services.ports import Database


class JobLedgerBehaviour(OnAFarm):
    """Tests of `transaction.jobs`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    # Adding and sharing.

    def test_a_new_job_waits_and_is_due(self, database: Database) -> None:
        job = given_a_queued_job(database)
        assert (job.state, job.attempts, job.worker_id) == (JobState.QUEUED, 0, "")
        assert (job.failure, job.finished_at, job.lease_until) == (None, None, None)
        assert not job.cancel_requested
        with database.reading() as transaction:
            assert [wake_up.job_id for wake_up in transaction.jobs.wake_ups()] == [job.id]

    def test_spec_and_request_come_back_as_they_were_given(self, database: Database) -> None:
        request = a_job_request(
            benchmark=BenchmarkSpec(
                batches=(4, 2), warmup_ms=1, duration_ms=2, min_iterations=3, max_iterations=4
            ),
            verification=VerificationSpec(a_digest("inputs").sha256, 7, Thresholds(0.5, 20.0, None, 0.75)),
            max_attempts=5,
            deadline_s=60,
        )
        job = given_a_queued_job(database, a_build_spec(salt="again"), request)
        with database.reading() as transaction:
            found = transaction.jobs.get(job.id)
        assert found == job
        assert (found.spec, found.request) == (a_build_spec(salt="again"), request)
        assert found.spec.digest == a_build_spec(salt="again").digest

    def test_the_same_build_can_not_be_queued_twice(self, database: Database) -> None:
        given_a_queued_job(database)
        with pytest.raises(ConflictError):
            given_a_queued_job(database)

    def test_a_build_that_waits_or_runs_is_there_to_be_shared(self, database: Database) -> None:
        job = given_a_queued_job(database)
        assert active(database) == job
        running, _ = claim(database, job)
        assert active(database) == running

    @pytest.mark.parametrize(("attempt_state", "job_state"), ENDS)
    def test_a_job_that_has_ended_is_not_shared(
        self, database: Database, attempt_state: AttemptState, job_state: JobState
    ) -> None:
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.jobs.close(attempt, attempt_state, job_state)
        assert (active(database) is None) == job_state.is_terminal
        if job_state.is_terminal:
            assert given_a_queued_job(database).id != job.id

    def test_builds_that_measure_other_batches_are_one_job(self, database: Database) -> None:
        job = given_a_queued_job(database, request=a_job_request(batches=(1,)))
        with database.reading() as transaction:
            assert transaction.jobs.active(a_build_spec(), a_job_request(batches=(2, 4))) == job

    def test_builds_under_other_keys_are_other_jobs(self, database: Database) -> None:
        given_a_queued_job(database)
        with database.reading() as transaction:
            assert transaction.jobs.active(a_build_spec(salt="other"), a_job_request()) is None

    def test_a_benchmark_is_another_job_than_the_build(self, database: Database) -> None:
        given_a_queued_job(database)
        with database.reading() as transaction:
            assert transaction.jobs.active(a_build_spec(), a_benchmark_request()) is None

    def test_benchmarks_are_one_job_if_they_measure_the_same(self, database: Database) -> None:
        job = given_a_queued_job(database, request=a_benchmark_request(batches=(1, 8)))
        inputs = a_benchmark_request(verification=VerificationSpec(a_digest("inputs").sha256))
        with database.reading() as transaction:
            assert transaction.jobs.active(a_build_spec(), a_benchmark_request(batches=(8, 1))) == job
            assert transaction.jobs.active(a_build_spec(), a_benchmark_request(batches=(1, 2))) is None
            assert transaction.jobs.active(a_build_spec(), inputs) is None

    def test_a_waiting_job_can_be_widened(self, database: Database) -> None:
        job = given_a_queued_job(database, request=a_job_request(batches=(1,)))
        with database.transaction() as transaction:
            transaction.jobs.widen_all([(job, a_job_request(batches=(1, 2)), "ada")])
        assert get_job(database, job).request == a_job_request(batches=(1, 2))

    def test_a_running_job_can_not_be_widened(self, database: Database) -> None:
        job, _ = given_a_running_job(database, request=a_job_request(batches=(1,)))
        with database.transaction() as transaction:
            transaction.jobs.widen_all([(job, a_job_request(batches=(1, 2)), "ada")])
        assert get_job(database, job).request == a_job_request(batches=(1,))

    # Finding.

    def test_a_job_is_found_by_the_beginning_of_its_id(self, database: Database) -> None:
        job = given_a_queued_job(database)
        with database.reading() as transaction:
            assert transaction.jobs.get(job.id[:8]) == job

    def test_an_unknown_job_is_not_found(self, database: Database) -> None:
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.jobs.get("j-nothing")

    def test_a_beginning_that_several_jobs_share_is_refused(self, database: Database) -> None:
        given_a_queued_job(database)
        given_a_queued_job(database, a_build_spec(salt="other"))
        with database.reading() as transaction, pytest.raises(InvalidRequestError):
            transaction.jobs.get("j-")

    def test_jobs_are_listed_by_state_newest_first(self, database: Database) -> None:
        failed = given_a_failed_job(database)
        running, _ = given_a_running_job(database)
        waiting = [given_a_queued_job(database, a_build_spec(salt=str(number))) for number in range(2)]
        with database.reading() as transaction:
            assert transaction.jobs.jobs() == [*reversed(waiting), running, failed]
            assert transaction.jobs.jobs(states=[JobState.FAILED, JobState.RUNNING]) == [running, failed]
            assert transaction.jobs.jobs(limit=1) == [waiting[1]]
            assert transaction.jobs.jobs(states=[JobState.CANCELLED]) == []

    # Cancelling and trying again.

    def test_a_waiting_job_is_cancelled_at_once(self, database: Database) -> None:
        job = given_a_queued_job(database)
        with database.transaction() as transaction:
            cancelled = transaction.jobs.request_cancel(job.id)
        assert cancelled.state is JobState.CANCELLED
        assert cancelled.finished_at is not None
        assert try_to_claim(database, job) is None

    def test_a_running_job_is_asked_to_stop(self, database: Database) -> None:
        job, _ = given_a_running_job(database)
        with database.transaction() as transaction:
            asked = transaction.jobs.request_cancel(job.id[:8])
        assert asked.state is JobState.RUNNING
        assert asked.cancel_requested

    def test_a_job_that_has_ended_can_not_be_cancelled(self, database: Database) -> None:
        job = given_a_failed_job(database)
        with pytest.raises(ConflictError), database.transaction() as transaction:
            transaction.jobs.request_cancel(job.id)

    def test_an_unknown_job_can_not_be_cancelled(self, database: Database) -> None:
        with pytest.raises(NotFoundError), database.transaction() as transaction:
            transaction.jobs.request_cancel("j-nothing")

    def test_a_failed_job_is_tried_again_as_a_new_one_in_every_cell(
        self, database: Database, name: ModelName
    ) -> None:
        old = given_a_failed_job(database)
        ids = [
            given_a_submission(database, name, [Cell(0, old.spec, Disposition.QUEUED, old.id)]).id
            for _ in range(2)
        ]
        with database.transaction() as transaction:
            new = transaction.jobs.requeue(old.id)
        assert (new.state, new.attempts) == (JobState.QUEUED, 0)
        assert (new.spec, new.request) == (old.spec, old.request)
        assert new.id != old.id
        assert get_job(database, old) == old
        with database.reading() as transaction:
            cells = [transaction.jobs.submission(submission_id).cells[0] for submission_id in ids]
        assert [cell.job_id for cell in cells] == [new.id, new.id]

    def test_trying_again_joins_a_job_that_does_the_same(self, database: Database) -> None:
        old = given_a_failed_job(database)
        new = given_a_queued_job(database)
        with database.transaction() as transaction:
            assert transaction.jobs.requeue(old.id) == new

    def test_a_cancelled_job_can_be_tried_again(self, database: Database) -> None:
        job = given_a_queued_job(database)
        with database.transaction() as transaction:
            transaction.jobs.request_cancel(job.id)
            assert transaction.jobs.requeue(job.id).state is JobState.QUEUED

    def test_only_a_failed_or_cancelled_job_can_be_tried_again(self, database: Database) -> None:
        waiting = given_a_queued_job(database, a_build_spec(salt="waiting"))
        running, _ = given_a_running_job(database, a_build_spec(salt="running"))
        done, _ = given_a_finished_job(database)
        for job in (waiting, running, done):
            with pytest.raises(ConflictError), database.transaction() as transaction:
                transaction.jobs.requeue(job.id)

    def test_what_a_failed_transaction_did_is_not_kept(self, database: Database) -> None:
        job = given_a_queued_job(database)
        with pytest.raises(RuntimeError), database.transaction() as transaction:
            transaction.jobs.claim(job.id, worker_id="w-1", device=a_device(), lease_s=HOUR_S)
            raise RuntimeError("the power went away")
        assert get_job(database, job) == job
        assert attempts_of(database, job) == []


def active(database: Database) -> Job | None:
    """The default build, if it waits or runs."""
    with database.reading() as transaction:
        return transaction.jobs.active(a_build_spec(), a_job_request())


def try_to_claim(database: Database, job: Job) -> tuple[Job, Attempt] | None:
    """Takes a job if it is there to be taken."""
    with database.transaction() as transaction:
        return transaction.jobs.claim(job.id, worker_id="w-1", device=a_device(), lease_s=HOUR_S)
