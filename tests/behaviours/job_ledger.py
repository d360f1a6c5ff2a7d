"""What every ledger of jobs must do: sharing, the claim, the fence, the lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.accuracy import Thresholds, VerificationSpec
from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import (
    AttemptSupersededError,
    ConflictError,
    IllegalTransitionError,
    InvalidRequestError,
    NotFoundError,
)
from farm.domain.jobs import AttemptState, JobState, Phase
from farm.domain.work import Cell, Disposition
from tests.behaviours.given import (
    HOUR_S,
    OVER_S,
    attempts_of,
    claim,
    fail,
    get_job,
    given_a_failed_job,
    given_a_farm,
    given_a_finished_job,
    given_a_queued_job,
    given_a_running_job,
    given_a_second_device,
    later,
)
from tests.factories import (
    a_benchmark_request,
    a_build_spec,
    a_crash,
    a_device,
    a_digest,
    a_failure,
    a_job_request,
)

if TYPE_CHECKING:
    from farm.domain.work import Attempt, Job, ModelName, Submission
    from farm.services.ports import Database

ENDS = [
    (AttemptState.SUCCEEDED, JobState.SUCCEEDED),
    (AttemptState.FAILED, JobState.FAILED),
    (AttemptState.TIMED_OUT, JobState.FAILED),
    (AttemptState.LOST, JobState.QUEUED),
    (AttemptState.FAILED, JobState.QUEUED),
    (AttemptState.CANCELLED, JobState.CANCELLED),
]


class JobLedgerBehaviour:
    """Tests of `transaction.jobs`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    @pytest.fixture(autouse=True)
    def name(self, database: Database) -> ModelName:
        """A farm with a worker and a model; the model's name."""
        return given_a_farm(database)

    # Submissions.

    def test_a_submission_comes_back_with_its_cells_in_order(
        self, database: Database, name: ModelName
    ) -> None:
        jobs = [given_a_queued_job(database, a_build_spec(salt=str(number))) for number in range(3)]
        cells = [Cell(number, job.spec, Disposition.QUEUED, job.id) for number, job in enumerate(jobs)]
        submission = submit(database, name, list(reversed(cells)), user="ada", tags={"team": "vision"})
        assert submission.cells == tuple(cells)
        assert (submission.user, submission.tags) == ("ada", {"team": "vision"})
        assert (submission.model_name, submission.model_version) == (name.name, name.version)
        with database.reading() as transaction:
            assert transaction.jobs.submission(submission.id) == submission
            assert transaction.jobs.submission(submission.id[:8]) == submission

    def test_a_cell_may_be_answered_by_a_filed_engine(self, database: Database, name: ModelName) -> None:
        job, engine_id = given_a_finished_job(database)
        cell = Cell(0, job.spec, Disposition.BUILT, job.id, engine_id)
        assert submit(database, name, [cell]).cells == (cell,)

    def test_the_newest_submissions_come_first(self, database: Database, name: ModelName) -> None:
        ids = [submit(database, name, []).id for _ in range(3)]
        with database.reading() as transaction:
            assert [submission.id for submission in transaction.jobs.submissions(2)] == ids[:0:-1]

    def test_an_unknown_submission_is_not_found(self, database: Database) -> None:
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.jobs.submission("s-nothing")

    def test_a_beginning_that_several_submissions_share_is_refused(
        self, database: Database, name: ModelName
    ) -> None:
        submit(database, name, [])
        submit(database, name, [])
        with database.reading() as transaction, pytest.raises(InvalidRequestError):
            transaction.jobs.submission("s-")

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
            assert transaction.jobs.widen(job, a_job_request(batches=(1, 2)))
        assert get_job(database, job).request == a_job_request(batches=(1, 2))

    def test_a_running_job_can_not_be_widened(self, database: Database) -> None:
        job, _ = given_a_running_job(database, request=a_job_request(batches=(1,)))
        with database.transaction() as transaction:
            assert not transaction.jobs.widen(job, a_job_request(batches=(1, 2)))
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

    def test_the_submissions_that_wait_for_a_job_are_known(self, database: Database, name: ModelName) -> None:
        job, other = (given_a_queued_job(database, a_build_spec(salt=salt)) for salt in "ab")
        cells = [
            Cell(0, job.spec, Disposition.QUEUED, job.id),
            Cell(1, other.spec, Disposition.QUEUED, other.id),
        ]
        both, one = submit(database, name, cells), submit(database, name, cells[:1])
        with database.reading() as transaction:
            assert transaction.jobs.interested(job.id) == {both.id, one.id}
            assert transaction.jobs.interested(other.id) == {both.id}
            assert transaction.jobs.interested("j-nothing") == set()

        with database.transaction() as transaction:
            transaction.jobs.withdraw(both.id)
        with database.reading() as transaction:
            assert transaction.jobs.interested(job.id) == {one.id}
            assert transaction.jobs.interested(other.id) == set()

    def test_a_failed_job_is_tried_again_as_a_new_one_in_every_cell(
        self, database: Database, name: ModelName
    ) -> None:
        old = given_a_failed_job(database)
        ids = [submit(database, name, [Cell(0, old.spec, Disposition.QUEUED, old.id)]).id for _ in range(2)]
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


def submit(
    database: Database,
    name: ModelName,
    cells: list[Cell],
    *,
    user: str = "ada",
    tags: dict[str, str] | None = None,
) -> Submission:
    """Files a submission."""
    later()
    with database.transaction() as transaction:
        return transaction.jobs.add_submission(
            name=name, user=user, tags=tags or {}, cells=cells, request={"model": name.name}
        )


def active(database: Database) -> Job | None:
    """The default build, if it waits or runs."""
    with database.reading() as transaction:
        return transaction.jobs.active(a_build_spec(), a_job_request())


def try_to_claim(database: Database, job: Job) -> tuple[Job, Attempt] | None:
    """Takes a job if it is there to be taken."""
    with database.transaction() as transaction:
        return transaction.jobs.claim(job.id, worker_id="w-1", device=a_device(), lease_s=HOUR_S)
