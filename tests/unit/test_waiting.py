"""Why a job waits, in sentences that an operator can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import JobState
from farm.services.waiting import why_it_waits
from tests.behaviours.given import (
    claim,
    fail,
    given_a_failed_job,
    given_a_queued_job,
    given_a_running_job,
    given_a_second_device,
)
from tests.factories import a_build_spec, a_device, a_job_request, a_target, a_toolchain, a_worker

if TYPE_CHECKING:
    from farm.domain.work import Job
    from farm.services.waiting import Waiting
    from tests.fakes import InMemoryDatabase


def why(database: InMemoryDatabase, job: Job) -> Waiting:
    """What the farm says of a job."""
    with database.reading() as transaction:
        return why_it_waits(transaction, job.id)


def said(database: InMemoryDatabase, job: Job) -> str:
    """The same as text."""
    return "\n".join(why(database, job).lines)


def queued(database: InMemoryDatabase, salt: str, user: str = "", **request: object) -> Job:
    """A job of a user."""
    with database.transaction() as transaction:
        return transaction.jobs.add(a_build_spec(salt=salt), a_job_request(**request), user=user)


def test_a_job_that_is_due_and_has_nobody_before_it_is_next(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database)
    assert why(database, job).lines[-1] == "it is next"


def test_it_is_next_once_a_worker_is_free(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database)
    given_a_running_job(database, a_build_spec(salt="of another one"))
    assert "1 busy, 0 draining" in said(database, job)
    assert why(database, job).lines[-1] == "it is next, as soon as one of them is free"


def test_who_goes_first_is_counted_by_the_reason(database: InMemoryDatabase) -> None:
    older = queued(database, "older", "ada")
    queued(database, "urgent", "bob", priority=5)
    job = queued(database, "mine", "ada")
    waiting = why(database, job)
    assert waiting.ahead["higher priority"] == 1
    assert waiting.ahead["same user, older"] == 1
    assert "1 job(s) go first: higher priority" in waiting.lines
    assert "it is next" not in said(database, job)
    assert why(database, older).ahead["same user, older"] == 0
    assert waiting.as_json()["ahead"] == waiting.ahead


def test_whoever_had_less_of_late_goes_first_and_the_figures_are_shown(database: InMemoryDatabase) -> None:
    had = queued(database, "had", "ada")
    _, attempt = claim(database, had)
    database.advance(600)
    fail(database, attempt, JobState.FAILED)
    with database.transaction() as transaction:
        transaction.jobs.charge_shares()
    job = queued(database, "mine", "ada")
    queued(database, "theirs", "bob")
    waiting = why(database, job)
    assert waiting.ahead["users who have had less"] == 1
    assert "of late ada had 10m of devices and runs 0 job(s); bob had 0s and runs 0" in said(database, job)


def test_of_two_who_had_the_same_nobody_is_promised_to_be_next(database: InMemoryDatabase) -> None:
    queued(database, "theirs", "bob")
    job = queued(database, "mine", "ada")
    assert "it is next" not in said(database, job)


def test_a_target_without_a_worker_says_how_to_start_one(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database)
    database.advance(3600)
    assert "no worker that serves this target is live: start `farm worker`" in said(database, job)


def test_a_worker_that_drains_says_why_it_takes_nothing(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database)
    with database.transaction() as transaction:
        (worker,) = transaction.fleet.workers()
        transaction.fleet.drain(worker.name, "new driver", "ada")
    assert f"{worker.name} takes nothing new: new driver" in said(database, job)
    assert "it is next" not in said(database, job)


def test_a_job_that_failed_says_when_it_is_tried_again_and_where_not(database: InMemoryDatabase) -> None:
    given_a_second_device(database)
    job, attempt = given_a_running_job(database)
    fail(database, attempt, JobState.QUEUED, retry_in_s=120.0, elsewhere=True)
    assert "it is tried again in 2m, after attempt 1 failed" in said(database, job)
    assert f"it failed on {attempt.device_uuid}" in said(database, job)
    assert "it is next" not in said(database, job)


def test_a_limit_of_the_wait_is_shown(database: InMemoryDatabase) -> None:
    job = given_a_queued_job(database, request=a_job_request(queue_timeout_s=600))
    assert "it gives up in 10m" in said(database, job)
    database.advance(601)
    assert "it gives up now: it has waited too long" in said(database, job)


def test_what_does_not_wait_says_where_it_stands(database: InMemoryDatabase) -> None:
    running, _ = given_a_running_job(database)
    assert said(database, running) == f"job {running.id} does not wait: w-1 has it, in attempt 1"
    failed = given_a_failed_job(database, a_build_spec(salt="failed"))
    assert said(database, failed).startswith(f"job {failed.id} does not wait: it is failed: ")


def test_a_free_worker_that_takes_another_job_first_makes_nobody_next(database: InMemoryDatabase) -> None:
    newer = a_toolchain(version="10.3.0")
    claim(database, queued(database, "its job"))
    with database.transaction() as transaction:
        device = a_device(uuid="GPU-both")
        transaction.fleet.register(
            a_worker(id="w-both", name="both", device=device, toolchains=(a_toolchain(), newer))
        )
        spec = a_build_spec(salt="urgent", target=a_target(toolchain=newer.id))
        transaction.jobs.add(spec, a_job_request(priority=5), user="bob")
    job = queued(database, "mine", "ada")
    assert why(database, job).lines[-1] == "it is next, as soon as one of them is free"
    with database.transaction() as transaction:
        taken = transaction.jobs.claim_next(worker_id="w-both", device=device, lease_s=60)
    assert taken is not None
    assert taken[0].spec == spec
