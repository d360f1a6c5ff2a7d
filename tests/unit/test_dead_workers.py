"""The dead of a host: their jobs are taken from them at once, and count against what killed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import StoreUnavailableError
from farm.domain.jobs import AttemptState, FailureClass, JobState, Phase
from farm.services.attempts import finish_attempt
from farm.services.dead_workers import Death, bury_dead, keep_lost_logs
from tests.behaviours.given import attempts_of, claim, get_job, given_a_running_job
from tests.factories import a_device, a_digest, a_job_request, an_outcome
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase

if TYPE_CHECKING:
    from farm.domain.digests import Digest
    from farm.domain.work import Attempt, Job

HOST = a_device().host


def given_a_job_in(database: InMemoryDatabase, phase: Phase | None, **request: object) -> tuple[Job, Attempt]:
    """A job of `w-1` whose attempt has come to a phase, and said something."""
    job, attempt = given_a_running_job(database, request=a_job_request(**request))
    come_to(database, attempt, phase)
    return job, attempt


def come_to(database: InMemoryDatabase, attempt: Attempt, phase: Phase | None) -> None:
    """Has an attempt come to a phase."""
    with database.transaction() as transaction:
        if phase is not None:
            transaction.jobs.report(attempt, phase, None, "")
        transaction.jobs.append_log(attempt, f"attempt {attempt.number} said this")


def died(_worker_id: str) -> Death:
    """Whoever is asked for was killed."""
    return Death.PROCESS


def crashes(database: InMemoryDatabase, job: Job) -> int:
    """How many processes a job has killed."""
    with database.reading() as transaction:
        return transaction.jobs.crashes(job.id)


@pytest.mark.parametrize("phase", [Phase.BUILD, Phase.VERIFY, Phase.BENCHMARK])
def test_a_worker_that_died_while_a_toolchain_worked_was_killed_by_its_job(
    database: InMemoryDatabase, phase: Phase
) -> None:
    job, _ = given_a_job_in(database, phase)
    ((buried, state),) = bury_dead(database, HOST, died)
    assert (buried.id, state) == (job.id, JobState.QUEUED)
    assert crashes(database, job) == 1
    (attempt,) = attempts_of(database, job)
    assert attempt.state is AttemptState.LOST
    assert attempt.failure is not None
    assert attempt.failure.code == "WorkerDied"
    assert f"its process died in phase {phase.value}" in attempt.failure.message
    assert "SIGKILL" in attempt.failure.message
    assert "dmesg" in attempt.failure.hint
    waits = get_job(database, job).not_before
    assert waits is not None
    assert waits > database.clock, "the next worker is not killed at once"


@pytest.mark.parametrize("phase", [None, Phase.PREPARE, Phase.UPLOAD])
def test_a_worker_that_died_of_itself_says_nothing_of_its_job(
    database: InMemoryDatabase, phase: Phase | None
) -> None:
    job, _ = given_a_job_in(database, phase)
    bury_dead(database, HOST, died)
    assert crashes(database, job) == 0
    waits = get_job(database, job).not_before
    assert waits is not None
    assert waits <= database.clock


def test_a_job_does_not_answer_for_a_machine(database: InMemoryDatabase) -> None:
    job, _ = given_a_job_in(database, Phase.BUILD)
    bury_dead(database, HOST, lambda _worker_id: Death.MACHINE)
    assert crashes(database, job) == 0
    (attempt,) = attempts_of(database, job)
    assert attempt.failure is not None
    assert "went down with its machine" in attempt.failure.message


def test_a_job_that_killed_two_workers_is_parked(database: InMemoryDatabase) -> None:
    job, _ = given_a_job_in(database, Phase.BUILD, max_attempts=9)
    bury_dead(database, HOST, died)
    database.advance(60)
    _, second = claim(database, job)
    come_to(database, second, Phase.BUILD)
    ((_, state),) = bury_dead(database, HOST, died)
    assert state is JobState.FAILED
    failure = get_job(database, job).failure
    assert failure is not None
    assert (failure.failure_class, failure.code) == (FailureClass.POISON, "PoisonJobError")
    assert "SIGKILL" in failure.message
    assert "this job has killed 2 processes" in failure.message


def test_a_job_that_somebody_cancelled_is_not_tried_again(database: InMemoryDatabase) -> None:
    job, _ = given_a_job_in(database, Phase.BUILD)
    with database.transaction() as transaction:
        transaction.jobs.request_cancel(job.id)
    ((_, state),) = bury_dead(database, HOST, died)
    assert state is JobState.CANCELLED


def test_who_lives_and_who_is_of_another_host_is_left_alone(database: InMemoryDatabase) -> None:
    job, _ = given_a_job_in(database, Phase.BUILD)
    assert bury_dead(database, HOST, lambda _worker_id: None) == []
    assert bury_dead(database, "another host", died) == []
    assert get_job(database, job).state is JobState.RUNNING


def test_an_attempt_that_ended_at_that_moment_has_ended_as_it_said(database: InMemoryDatabase) -> None:
    job, attempt = given_a_job_in(database, Phase.BUILD)
    database.before_writing = lambda: _finish(database, job, attempt)
    assert bury_dead(database, HOST, died) == []
    assert get_job(database, job).state is JobState.SUCCEEDED


def _finish(database: InMemoryDatabase, job: Job, attempt: Attempt) -> None:
    finish_attempt(database, job, attempt, an_outcome(), a_digest("log"))


def test_of_two_who_bury_the_same_one_does(database: InMemoryDatabase) -> None:
    job, _ = given_a_job_in(database, Phase.BUILD)
    others: list[object] = []
    database.before_writing = lambda: others.extend(bury_dead(database, HOST, died))
    assert bury_dead(database, HOST, died) == []
    assert len(others) == 1
    assert crashes(database, job) == 1


# What they said.


def test_the_last_words_of_a_lost_attempt_are_kept_with_how_it_ended(database: InMemoryDatabase) -> None:
    store = InMemoryArtifactStore()
    job, _ = given_a_job_in(database, Phase.BUILD)
    bury_dead(database, HOST, died)
    assert keep_lost_logs(database, store, job.id) == 1
    (attempt,) = attempts_of(database, job)
    assert attempt.log is not None
    text = b"".join(store.chunks(attempt.log)).decode()
    assert "attempt 1 said this" in text
    assert "[farm] WorkerDied: worker w-1" in text
    assert keep_lost_logs(database, store, job.id) == 0, "they are kept"


def test_an_attempt_that_runs_keeps_its_own_log(database: InMemoryDatabase) -> None:
    job, _ = given_a_job_in(database, Phase.BUILD)
    assert keep_lost_logs(database, InMemoryArtifactStore(), job.id) == 0


def test_what_no_store_keeps_now_stays_readable_where_it_is(
    database: InMemoryDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    class Away(InMemoryArtifactStore):
        def put_bytes(self, data: bytes) -> Digest:
            raise StoreUnavailableError("the store is away")

    job, attempt = given_a_job_in(database, Phase.BUILD)
    bury_dead(database, HOST, died)
    assert keep_lost_logs(database, Away(), job.id) == 0
    assert "the store is away" in caplog.text
    with database.reading() as transaction:
        assert transaction.jobs.live_log(attempt) == "attempt 1 said this"
