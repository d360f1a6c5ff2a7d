"""Jobs that several people want: what follows for whom, who pays, and what one of them can cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.jobs import JobKind, JobState, Phase
from farm.domain.thresholds import Thresholds
from farm.domain.verification import VerificationSpec
from farm.domain.work import Disposition
from farm.services.attempts import cancel_attempt, fail_attempt, finish_attempt
from farm.services.cancel import cancel_submission
from farm.services.plan import Plan, PlannedCell
from farm.services.progress import progress_of
from farm.services.retry import retry_failed
from farm.services.submit import SubmitOrder, submit_plan
from tests.behaviours.given import claim, get_job
from tests.factories import (
    a_build_spec,
    a_digest,
    a_failure,
    a_job_request,
    a_measurement,
    a_model,
    an_outcome,
)
from tests.fakes.jobs import Jobs

if TYPE_CHECKING:
    import pytest

    from farm.domain.work import Cell, Job, Submission
    from tests.fakes import InMemoryDatabase

LOG = a_digest("log")


def submit(
    database: InMemoryDatabase,
    user: str = "ada",
    *,
    salts: str = "a",
    batches: tuple[int, ...] = (1,),
    **request: Any,
) -> Submission:
    """A cell for every salt."""
    cells = tuple(PlannedCell("nvidia-h200", a_build_spec(salt=salt), has_live_worker=True) for salt in salts)
    plan, order = Plan(cells, (), batches, ()), SubmitOrder("resnet", user, {}, a_job_request(**request))
    return submit_plan(database, a_model(), plan, order)


def job_of(database: InMemoryDatabase, submission: Submission, position: int = 0) -> Job:
    """The job that answers a cell now."""
    with database.reading() as transaction:
        cell = transaction.jobs.submission(submission.id).cells[position]
        return transaction.jobs.get(cell.job_id)


def cell_of(submission: Submission) -> Cell:
    (cell,) = submission.cells
    return cell


def build(database: InMemoryDatabase, job: Job) -> int:
    """Lets a worker do a job, whether it runs already or not."""
    with database.reading() as transaction:
        attempts = transaction.jobs.attempts(job.id)
    now = get_job(database, job)
    if now.state is JobState.QUEUED:
        now, attempt = claim(database, now)
    else:
        attempt = attempts[-1]
    engine = "plan" if now.request.kind is JobKind.BUILD else None
    made = an_outcome(batches=now.request.benchmark.batches, engine=engine)
    return finish_attempt(database, now, attempt, made, LOG)


# What is wanted beyond a build that runs.


def test_other_batches_are_measured_when_the_running_build_is_done(database: InMemoryDatabase) -> None:
    first = submit(database)
    claim(database, job_of(database, first))
    second = submit(database, "grace", batches=(1, 4))
    assert cell_of(second).job_id == cell_of(first).job_id

    engine_id = build(database, job_of(database, first))
    measuring = job_of(database, second)
    assert measuring.id != cell_of(first).job_id
    assert (measuring.request.kind, measuring.request.benchmark.batches) == (JobKind.BENCHMARK, (1, 4))
    assert (measuring.state, measuring.user) == (JobState.QUEUED, "grace")
    assert job_of(database, first).state is JobState.SUCCEEDED
    assert build(database, measuring) == engine_id


def test_other_methods_are_measured_when_the_build_is_done(database: InMemoryDatabase) -> None:
    first = submit(database)
    by_streams = BenchmarkSpec(method="trtexec-11", streams=(1, 4))
    second, third = submit(database, "grace", benchmark=by_streams), submit(database, "hopper")
    assert {cell_of(each).job_id for each in (second, third)} == {cell_of(first).job_id}
    build(database, job_of(database, first))
    measuring = job_of(database, second)
    assert (measuring.request.kind, measuring.request.benchmark.methods) == (
        JobKind.BENCHMARK,
        by_streams.methods,
    )
    assert cell_of(third).job_id == job_of(database, third).id == cell_of(first).job_id


def test_a_method_that_was_measured_answers_who_names_it(database: InMemoryDatabase) -> None:
    build(database, job_of(database, submit(database)))
    measured = a_measurement(1).method
    (same,) = submit(database, benchmark=BenchmarkSpec(method=str(measured))).cells
    assert same.disposition is Disposition.BUILT
    (other,) = submit(database, benchmark=BenchmarkSpec(method="plain-compute")).cells
    assert other.disposition is Disposition.QUEUED


def test_a_submission_is_not_done_while_something_follows(database: InMemoryDatabase) -> None:
    first = submit(database)
    claim(database, job_of(database, first))
    second = submit(database, "grace", batches=(4,))

    def progress() -> Any:
        with database.reading() as transaction:
            return progress_of(transaction, [transaction.jobs.submission(second.id)])[0]

    assert progress().cells[0].beyond.benchmark.batches == (4,)
    build(database, job_of(database, first))
    assert not progress().is_done
    assert progress().cells[0].beyond is None
    build(database, job_of(database, second))
    assert progress().is_successful


def test_what_the_build_answered_after_all_is_not_measured_again(database: InMemoryDatabase) -> None:
    first = submit(database)
    claim(database, job_of(database, first))
    lenient = VerificationSpec(thresholds=Thresholds(min_cosine=0.0, min_snr_db=None))
    second = submit(database, "grace", verification=lenient)
    build(database, job_of(database, first))
    assert job_of(database, second).id == cell_of(first).job_id


def test_two_who_want_the_same_beyond_a_build_share_it(database: InMemoryDatabase) -> None:
    first = submit(database)
    claim(database, job_of(database, first))
    others = [submit(database, user, batches=(4,)) for user in ("grace", "joan")]
    build(database, job_of(database, first))
    (shared,) = {job_of(database, other).id for other in others}
    assert shared != cell_of(first).job_id


def test_what_somebody_queued_at_that_very_moment_is_shared(
    database: InMemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = submit(database)
    claim(database, job_of(database, first))
    second = submit(database, "grace", batches=(4,))
    measuring = a_job_request(kind=JobKind.BENCHMARK, batches=(4,))
    with database.transaction() as transaction:
        theirs = transaction.jobs.add(cell_of(first).spec, measuring, user="joan")
    looks, active = [], Jobs.active

    def sees_nothing_at_first(*arguments: Any) -> Job | None:
        looks.append(arguments)
        return None if len(looks) == 1 else active(*arguments)

    monkeypatch.setattr(Jobs, "active", sees_nothing_at_first)
    build(database, job_of(database, first))
    assert job_of(database, second).id == theirs.id


def test_other_inputs_follow_also_where_the_build_still_waits(database: InMemoryDatabase) -> None:
    first = submit(database)
    photos = a_digest("photos").sha256
    second = submit(database, "grace", verification=VerificationSpec(photos))
    build(database, job_of(database, first))
    assert job_of(database, second).request.verification.inputs_sha256 == photos


def test_what_a_waiting_build_takes_in_does_not_follow(database: InMemoryDatabase) -> None:
    first = submit(database)
    second = submit(database, "grace", batches=(4,))
    build(database, job_of(database, first))
    assert job_of(database, second).id == cell_of(first).job_id
    with database.reading() as transaction:
        assert transaction.jobs.follow_ups([second.id]) == []


def test_nothing_follows_a_build_that_failed_until_it_is_tried_again(database: InMemoryDatabase) -> None:
    first = submit(database, max_attempts=1)
    job, attempt = claim(database, job_of(database, first))
    second = submit(database, "grace", batches=(4,))
    fail_attempt(database, job, attempt, a_failure(), LOG)
    assert job_of(database, second).state is JobState.FAILED

    with database.transaction() as transaction:
        retry_failed(transaction, first.id, lambda request: request)
    build(database, job_of(database, first))
    assert job_of(database, second).request.benchmark.batches == (4,)


def test_nothing_is_measured_for_who_withdrew(database: InMemoryDatabase) -> None:
    first = submit(database)
    claim(database, job_of(database, first))
    second = submit(database, "grace", batches=(4,))
    with database.transaction() as transaction:
        cancel_submission(transaction, second.id)
    build(database, job_of(database, first))
    with database.reading() as transaction:
        assert len(transaction.jobs.jobs()) == 1


# Two who share a job that waits.


def test_a_phase_that_one_of_two_does_not_limit_has_no_limit(database: InMemoryDatabase) -> None:
    first = submit(database, phase_deadlines={Phase.BUILD: 60, Phase.VERIFY: 60})
    submit(database, "grace", phase_deadlines={Phase.BUILD: 90})
    assert job_of(database, first).request.phase_deadlines == {Phase.BUILD: 90}


def test_the_same_cell_twice_in_one_submission_is_one_job(database: InMemoryDatabase) -> None:
    submission = submit(database, salts="aba")
    one, two, again = submission.cells
    assert (one.disposition, again.disposition) == (Disposition.QUEUED, Disposition.SHARED)
    assert one.job_id == again.job_id != two.job_id


# One of them cancels.


def test_who_withdraws_leaves_the_payment_to_who_still_wants_it(database: InMemoryDatabase) -> None:
    first, second = submit(database, "ada"), submit(database, "grace")
    with database.transaction() as transaction:
        cancelled, kept = cancel_submission(transaction, first.id)
    assert (cancelled, [job.id for job in kept]) == ([], [cell_of(second).job_id])
    assert job_of(database, second).user == "grace"


def test_who_withdraws_one_of_two_wishes_still_pays(database: InMemoryDatabase) -> None:
    first, again = submit(database, "ada"), submit(database, "ada")
    submit(database, "grace")
    with database.transaction() as transaction:
        cancel_submission(transaction, first.id)
    assert job_of(database, again).user == "ada"


def test_of_two_who_still_want_it_pays_who_had_less_of_late(database: InMemoryDatabase) -> None:
    busy = submit(database, "grace", salts="z")
    claim(database, job_of(database, busy))
    first = submit(database, "ada")
    for user in ("grace", "joan"):
        submit(database, user)
    with database.transaction() as transaction:
        transaction.jobs.charge_to(cell_of(first).job_id, "ada")
    with database.transaction() as transaction:
        cancel_submission(transaction, first.id)
    assert job_of(database, first).user == "joan"


def test_the_last_one_who_withdraws_stops_it(database: InMemoryDatabase) -> None:
    first, second = submit(database, "ada"), submit(database, "grace")
    for submission in (first, second):
        with database.transaction() as transaction:
            cancelled, _ = cancel_submission(transaction, submission.id)
    assert [job.state for job in cancelled] == [JobState.CANCELLED]


def test_a_running_job_that_was_to_stop_goes_on_for_who_asks_in_time(database: InMemoryDatabase) -> None:
    first = submit(database, "ada")
    claim(database, job_of(database, first))
    with database.transaction() as transaction:
        cancel_submission(transaction, first.id)
    assert job_of(database, first).cancel_requested
    second = submit(database, "grace")
    assert cell_of(second).disposition is Disposition.SHARED
    assert not job_of(database, second).cancel_requested


def test_an_attempt_that_stopped_for_nobody_else_is_made_again_for_who_came_late(
    database: InMemoryDatabase,
) -> None:
    """Its worker has heard of the wish to stop, and not that somebody else wants the job by now."""
    first = submit(database, "ada")
    _, attempt = claim(database, job_of(database, first))
    with database.transaction() as transaction:
        cancel_submission(transaction, first.id)
    second = submit(database, "grace")
    cancel_attempt(database, attempt, LOG)
    assert job_of(database, second).state is JobState.QUEUED
    build(database, job_of(database, second))
    assert job_of(database, second).state is JobState.SUCCEEDED
