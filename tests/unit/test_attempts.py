"""Attempts: how they end, what a failure leads to, and how silent ones are rescued."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import AttemptSupersededError, NotFoundError
from farm.domain.jobs import AttemptState, FailureClass, JobState, Phase
from farm.domain.timing_caches import cache_key
from farm.services.attempts import (
    cancel_attempt,
    fail_attempt,
    finish_attempt,
    release_attempt,
    rescue_expired,
)
from tests.behaviours.given import (
    HOUR_S,
    attempts_of,
    claim,
    get_job,
    given_a_queued_job,
    given_a_running_job,
    given_a_second_device,
)
from tests.factories import (
    a_benchmark_request,
    a_build_spec,
    a_crash,
    a_digest,
    a_failure,
    a_job_request,
    a_returned_cache,
    an_outcome,
)

if TYPE_CHECKING:
    from farm.domain.work import Attempt, Job
    from tests.fakes import InMemoryDatabase

LOG = a_digest("log")


def ask_to_stop(database: InMemoryDatabase, job: Job) -> None:
    with database.transaction() as transaction:
        transaction.jobs.request_cancel(job.id)


def next_attempt(database: InMemoryDatabase, job: Job, *, lease_s: float = HOUR_S) -> Attempt:
    """The job is due again, and somebody takes it."""
    database.advance(HOUR_S / 2)
    return claim(database, job, lease_s=lease_s)[1]


# Success.


def test_a_finished_attempt_files_its_engine_and_ends_the_job(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    engine_id = finish_attempt(database, job, attempt, an_outcome(), LOG)
    assert get_job(database, job).state is JobState.SUCCEEDED
    (ended,) = attempts_of(database, job)
    assert (ended.state, ended.log, ended.seconds) == (
        AttemptState.SUCCEEDED,
        LOG,
        {"build": 12.5, "verify": 1.0},
    )
    with database.reading() as transaction:
        engine = transaction.engines.get(engine_id)
        assert transaction.engines.find(job.spec) == engine
        assert transaction.caches.find(cache_key(job.spec)) == a_digest("timing cache")
    assert (engine.digest, engine.measured_batches()) == (a_digest("plan"), {1, 8})


def test_an_attempt_without_a_timing_cache_keeps_the_one_before(database: InMemoryDatabase) -> None:
    for salt, cache in (("a", a_returned_cache("cache")), ("b", None)):
        job, attempt = given_a_running_job(database, a_build_spec(salt=salt))
        finish_attempt(database, job, attempt, an_outcome(timing_cache=cache), LOG)
    with database.reading() as transaction:
        assert transaction.caches.find(cache_key(a_build_spec())) == a_digest("cache")


def test_an_attempt_whose_engine_can_not_be_filed_has_not_ended(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database, request=a_benchmark_request())
    with pytest.raises(NotFoundError):
        finish_attempt(database, job, attempt, an_outcome(engine=None), LOG)
    assert get_job(database, job) == job
    assert attempts_of(database, job) == [attempt]
    with database.reading() as transaction:
        assert transaction.caches.all() == []


def test_an_attempt_that_was_asked_to_stop_too_late_still_counts(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    ask_to_stop(database, job)
    finish_attempt(database, job, attempt, an_outcome(), LOG)
    assert get_job(database, job).state is JobState.SUCCEEDED


# Failure.


def test_a_transient_failure_queues_the_job_again_after_a_while(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    assert fail_attempt(database, job, attempt, a_failure(), LOG) is JobState.QUEUED
    waiting = get_job(database, job)
    assert waiting.state is JobState.QUEUED
    assert waiting.not_before == database.clock + timedelta(seconds=2)
    assert waiting.failure == a_failure()
    assert attempts_of(database, job)[0].state is AttemptState.FAILED


def test_the_delay_grows_with_every_failure(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database, request=a_job_request(max_attempts=5))
    delays = []
    for _ in range(4):
        attempt = next_attempt(database, job)
        fail_attempt(database, job, attempt, a_failure(), LOG)
        not_before = get_job(database, job).not_before
        assert not_before is not None
        delays.append((not_before - database.clock).total_seconds())
    assert delays == [2, 8, 32, 128]


def test_the_last_attempt_fails_the_job(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database, request=a_job_request(max_attempts=3))
    states = [fail_attempt(database, job, next_attempt(database, job), a_failure(), LOG) for _ in range(3)]
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    assert get_job(database, job).failure == a_failure()


@pytest.mark.parametrize("failure_class", [FailureClass.REQUEST, FailureClass.REFUSED, FailureClass.CORRUPT])
def test_what_another_attempt_would_not_mend_fails_the_job_at_once(
    database: InMemoryDatabase, failure_class: FailureClass
) -> None:
    job, attempt = given_a_running_job(database)
    failure = a_failure(failure_class=failure_class)
    assert fail_attempt(database, job, attempt, failure, LOG) is JobState.FAILED
    assert get_job(database, job).failure == failure
    assert attempts_of(database, job)[0].log == LOG


def test_a_deadline_is_told_apart(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    assert fail_attempt(database, job, attempt, a_failure(is_timeout=True), LOG) is JobState.QUEUED
    assert attempts_of(database, job)[0].state is AttemptState.TIMED_OUT


def test_a_job_that_killed_two_processes_is_parked(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database, request=a_job_request(max_attempts=9))
    first = fail_attempt(database, job, next_attempt(database, job), a_crash(), LOG)
    second = fail_attempt(database, job, next_attempt(database, job), a_crash(), LOG)
    assert (first, second) == (JobState.QUEUED, JobState.FAILED)
    failure = get_job(database, job).failure
    assert failure is not None
    assert (failure.failure_class, failure.code) == (FailureClass.POISON, "PoisonJobError")
    assert [attempt.log for attempt in attempts_of(database, job)] == [LOG, LOG]


def test_two_crashes_need_not_follow_each_other(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database, request=a_job_request(max_attempts=9))
    failures = (a_crash(), a_failure(), a_crash())
    states = [fail_attempt(database, job, next_attempt(database, job), failure, LOG) for failure in failures]
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]


def test_where_the_time_went_is_kept_of_a_failure_too(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    fail_attempt(database, job, attempt, a_failure(), LOG, seconds={"build": 3.0})
    assert attempts_of(database, job)[0].seconds == {"build": 3.0}


def test_a_job_that_somebody_asked_to_stop_is_not_tried_again(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    ask_to_stop(database, job)
    assert fail_attempt(database, job, attempt, a_failure(), LOG) is JobState.CANCELLED
    assert get_job(database, job).state is JobState.CANCELLED
    assert attempts_of(database, job)[0].failure == a_failure()


# Cancelling and releasing.


def test_a_cancelled_attempt_cancels_its_job(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    ask_to_stop(database, job)
    cancel_attempt(database, attempt, LOG)
    assert get_job(database, job).state is JobState.CANCELLED
    (ended,) = attempts_of(database, job)
    assert (ended.state, ended.log) == (AttemptState.CANCELLED, LOG)


def test_a_released_job_is_there_to_be_taken_at_once(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    release_attempt(database, attempt, "the worker is told to stop", LOG)
    _, second = claim(database, job)
    assert second.number == 2
    first = attempts_of(database, job)[0]
    assert first.state is AttemptState.LOST
    assert first.failure is not None
    assert (first.failure.code, first.failure.message) == ("Released", "the worker is told to stop")


def test_a_released_attempt_counts_against_nobody(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database, request=a_job_request(max_attempts=2))
    for _ in range(5):
        release_attempt(database, next_attempt(database, job), "the worker is told to stop", None)
    states = [fail_attempt(database, job, next_attempt(database, job), a_failure(), LOG) for _ in range(2)]
    assert states == [JobState.QUEUED, JobState.FAILED]


def test_a_released_job_that_somebody_asked_to_stop_is_cancelled(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    ask_to_stop(database, job)
    release_attempt(database, attempt, "the worker is told to stop", None)
    assert get_job(database, job).state is JobState.CANCELLED


# Rescue.


def test_the_job_of_a_silent_worker_is_queued_again(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database, lease_s=30)
    with database.transaction() as transaction:
        transaction.jobs.report(attempt, Phase.BUILD, 0.5, "tactic 7 of 14")
    database.advance(31)
    (rescued,) = rescue_expired(database)
    assert (rescued[0].id, rescued[1]) == (job.id, JobState.QUEUED)
    (lost,) = attempts_of(database, job)
    assert lost.state is AttemptState.LOST
    assert lost.failure is not None
    assert (lost.failure.code, lost.failure.phase) == ("Lost", "build")
    assert "w-1 on host-a fell silent in phase build" in lost.failure.message
    assert claim(database, job)[1].number == 2


def test_a_worker_whose_lease_runs_is_left_alone(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database, lease_s=30)
    database.advance(20)
    with database.transaction() as transaction:
        transaction.jobs.heartbeat(attempt, 30)
    database.advance(20)
    assert rescue_expired(database) == []
    assert get_job(database, job).state is JobState.RUNNING


def test_rescuing_twice_changes_nothing(database: InMemoryDatabase) -> None:
    given_a_running_job(database, lease_s=30)
    database.advance(31)
    assert len(rescue_expired(database)) == 1
    assert rescue_expired(database) == []


def test_a_job_lost_at_its_last_attempt_has_failed(database: InMemoryDatabase) -> None:
    job, _ = given_a_running_job(database, request=a_job_request(max_attempts=1), lease_s=30)
    database.advance(31)
    assert [state for _, state in rescue_expired(database)] == [JobState.FAILED]
    failure = get_job(database, job).failure
    assert failure is not None
    assert failure.code == "Lost"


@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_lost_job_that_somebody_asked_to_stop_is_cancelled(
    database: InMemoryDatabase, max_attempts: int
) -> None:
    job, _ = given_a_running_job(database, request=a_job_request(max_attempts=max_attempts), lease_s=30)
    ask_to_stop(database, job)
    database.advance(31)
    assert [state for _, state in rescue_expired(database)] == [JobState.CANCELLED]
    assert get_job(database, job).state is JobState.CANCELLED


def test_every_silent_worker_is_found(database: InMemoryDatabase) -> None:
    silent = [given_a_running_job(database, a_build_spec(salt=salt), lease_s=30)[0] for salt in "abc"]
    given_a_running_job(database, a_build_spec(salt="alive"))
    database.advance(31)
    assert {job.id for job, _ in rescue_expired(database)} == {job.id for job in silent}


def test_a_worker_that_comes_back_just_in_time_keeps_its_job(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database, lease_s=30)
    database.advance(31)

    def come_back() -> None:
        with database.transaction() as transaction:
            transaction.jobs.heartbeat(attempt, 30)

    database.before_writing = come_back
    assert rescue_expired(database) == []
    assert get_job(database, job).state is JobState.RUNNING


def test_of_two_sweepers_one_rescues(database: InMemoryDatabase) -> None:
    job, _ = given_a_running_job(database, lease_s=30)
    database.advance(31)
    others: list[object] = []
    database.before_writing = lambda: others.extend(rescue_expired(database))
    assert rescue_expired(database) == []
    assert len(others) == 1
    assert len(attempts_of(database, job)) == 1


# The fence.


def test_a_superseded_attempt_changes_nothing(database: InMemoryDatabase) -> None:
    job, old = given_a_running_job(database, lease_s=30)
    database.advance(31)
    rescue_expired(database)
    running, _ = claim(database, job, worker_id="w-2", device=given_a_second_device(database))
    before = attempts_of(database, job)
    with pytest.raises(AttemptSupersededError):
        finish_attempt(database, job, old, an_outcome(), LOG)
    with pytest.raises(AttemptSupersededError):
        fail_attempt(database, job, old, a_crash(), LOG)
    with pytest.raises(AttemptSupersededError):
        cancel_attempt(database, old, LOG)
    with pytest.raises(AttemptSupersededError):
        release_attempt(database, old, "the worker is told to stop", LOG)
    assert get_job(database, job) == running
    assert attempts_of(database, job) == before
    with database.reading() as transaction:
        assert transaction.engines.engines() == []
        assert transaction.caches.all() == []


def test_an_attempt_ends_once(database: InMemoryDatabase) -> None:
    job, attempt = given_a_running_job(database)
    finish_attempt(database, job, attempt, an_outcome(), LOG)
    with pytest.raises(AttemptSupersededError):
        finish_attempt(database, job, attempt, an_outcome(engine="another"), LOG)
    with pytest.raises(AttemptSupersededError):
        fail_attempt(database, job, attempt, a_failure(), LOG)
    assert get_job(database, job).state is JobState.SUCCEEDED
