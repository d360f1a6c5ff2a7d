"""Submitting: the same spec is built once, whoever asks."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.digests import digest_of_bytes
from farm.domain.errors import InvalidRequestError
from farm.domain.jobs import JobKind, JobState
from farm.domain.models import ModelFile
from farm.domain.verification import VerificationSpec
from farm.domain.work import Disposition
from farm.services.attempts import finish_attempt
from farm.services.filed_answers import needs_measuring
from farm.services.plan import BuildRequest, plan_builds
from farm.services.submit import SubmitOrder, keep_model, submit_plan
from tests.behaviours.given import attempts_of, claim, fail, given_a_cpu_worker, given_a_second_device
from tests.factories import a_device, a_digest, a_job_request, a_model, a_worker, an_outcome
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.models import Model
    from farm.domain.work import AttemptOutcome, Cell, Job, Submission
    from farm.services.ports import Transaction


@pytest.fixture
def database() -> InMemoryDatabase:
    """A farm with one H200 and TensorRT."""
    database = InMemoryDatabase()
    with database.transaction() as transaction:
        transaction.fleet.register(a_worker())
    return database


def submit(
    database: InMemoryDatabase,
    *,
    user: str = "ada",
    name: str = "resnet",
    model: Model | None = None,
    precisions: tuple[str, ...] = ("fp16",),
    batches: tuple[int, ...] = (1, 8),
    job: Any = None,
    **wishes: Any,
) -> Submission:
    """One user's request. The shapes are given, so that the batches to measure do not change the key."""
    model = model or a_model()
    spans = {
        f"{bound}_shapes": ({"input": (size, 3, 8, 8)},)
        for bound, size in [("min", 1), ("opt", 8), ("max", 32)]
    }
    request = BuildRequest(precisions=precisions, batches=batches, **spans, **wishes)
    with database.reading() as transaction:
        plan = plan_builds(transaction, model, request)
    return submit_plan(
        database, model, plan, SubmitOrder(name, user, {"team": "vision"}, job or a_job_request())
    )


def only_cell(submission: Submission) -> Cell:
    (cell,) = submission.cells
    return cell


def jobs(database: InMemoryDatabase) -> list[Job]:
    with database.reading() as transaction:
        return transaction.jobs.jobs()


def build(database: InMemoryDatabase, cell: Cell, outcome: AttemptOutcome | None = None) -> int:
    """Lets a worker finish a cell's job, measuring what the job asks for."""
    with database.reading() as transaction:
        waiting = transaction.jobs.get(cell.job_id)
    job, attempt = claim(database, waiting)
    made = outcome or an_outcome(
        batches=job.request.benchmark.batches, engine="plan" if job.request.kind is JobKind.BUILD else None
    )
    return finish_attempt(database, job, attempt, made, a_digest("log"))


# New cells.


def test_a_new_cell_is_queued(database: InMemoryDatabase) -> None:
    submission = submit(database)
    (job,) = jobs(database)
    cell = only_cell(submission)
    assert (cell.disposition, cell.job_id, cell.engine_id) == (Disposition.QUEUED, job.id, None)
    assert (job.state, job.request.kind) == (JobState.QUEUED, JobKind.BUILD)
    assert job.request.benchmark.batches == (1, 8)
    assert (submission.user, submission.tags) == ("ada", {"team": "vision"})
    assert (submission.model_name, submission.model_version) == ("resnet", 1)


def test_cells_stand_in_the_order_of_the_plan(database: InMemoryDatabase) -> None:
    submission = submit(database, precisions=("bf16", "fp32", "fp16"))
    assert [(cell.position, cell.spec.precision) for cell in submission.cells] == [
        (0, "bf16"),
        (1, "fp32"),
        (2, "fp16"),
    ]
    assert len({cell.job_id for cell in submission.cells}) == 3


def test_jobs_are_taken_in_the_order_of_the_plan(database: InMemoryDatabase) -> None:
    submission = submit(database, precisions=("bf16", "fp32", "fp16", "tf32"))
    took = []
    with database.transaction() as transaction:
        for _ in submission.cells:
            got = transaction.jobs.claim_next(worker_id="w-1", device=a_device(), lease_s=60)
            assert got is not None
            took.append(got[0].id)
    assert took == [cell.job_id for cell in submission.cells]


def test_the_batches_of_the_plan_are_measured_and_not_those_of_the_order(database: InMemoryDatabase) -> None:
    submit(database, batches=(2,), job=a_job_request(batches=(64,), max_attempts=7))
    (job,) = jobs(database)
    assert job.request.benchmark.batches == (2,)
    assert job.request.max_attempts == 7


def test_what_is_acknowledged_can_be_found(database: InMemoryDatabase) -> None:
    submission = submit(database)
    with database.reading() as transaction:
        assert transaction.jobs.submission(submission.id) == submission
        assert transaction.models.get(a_model().digest.sha256) == a_model()
        assert [wake_up.job_id for wake_up in transaction.jobs.wake_ups()] == [only_cell(submission).job_id]


def test_a_submission_that_fails_leaves_nothing(database: InMemoryDatabase) -> None:
    class BreaksAtTheEnd:
        """A database whose commit fails."""

        def transaction(self) -> Any:
            @contextmanager
            def failing() -> Any:
                with database.transaction() as transaction:
                    yield transaction
                    raise RuntimeError("the power went away")

            return failing()

    with database.reading() as transaction:
        plan = plan_builds(transaction, a_model(), BuildRequest(batches=(1,)))
    with pytest.raises(RuntimeError):
        submit_plan(BreaksAtTheEnd(), a_model(), plan, SubmitOrder("resnet", "ada", {}, a_job_request()))
    assert jobs(database) == []
    with database.reading() as transaction:
        assert transaction.jobs.submissions(10) == []
        assert transaction.models.names() == []


# Shared cells.


def test_a_second_user_shares_the_job(database: InMemoryDatabase) -> None:
    first, second = only_cell(submit(database)), only_cell(submit(database, user="grace", name="backbone"))
    assert (second.disposition, second.job_id) == (Disposition.SHARED, first.job_id)
    assert len(jobs(database)) == 1


def test_a_running_job_is_shared_too(database: InMemoryDatabase) -> None:
    first = only_cell(submit(database))
    (job,) = jobs(database)
    claim(database, job)
    assert only_cell(submit(database)).disposition is Disposition.SHARED
    assert only_cell(submit(database)).job_id == first.job_id


def test_a_job_that_waits_for_its_retry_is_shared(database: InMemoryDatabase) -> None:
    cell = only_cell(submit(database))
    (job,) = jobs(database)
    _, attempt = claim(database, job)
    fail(database, attempt, JobState.QUEUED, retry_in_s=60)
    assert only_cell(submit(database)).job_id == cell.job_id


def test_a_failed_job_is_not_shared(database: InMemoryDatabase) -> None:
    submit(database)
    (job,) = jobs(database)
    _, attempt = claim(database, job)
    fail(database, attempt, JobState.FAILED)
    again = only_cell(submit(database))
    assert again.disposition is Disposition.QUEUED
    assert again.job_id != job.id


def test_only_the_cells_that_are_the_same_are_shared(database: InMemoryDatabase) -> None:
    submit(database, precisions=("fp16",))
    second = submit(database, precisions=("fp32", "fp16"))
    assert [cell.disposition for cell in second.cells] == [Disposition.QUEUED, Disposition.SHARED]


@pytest.mark.parametrize(
    "other",
    [
        {"precisions": ("fp32",)},
        {"salt": "again"},
        {"model": a_model("finetuned")},
        {"options": {"sparse_weights": True}},
    ],
)
def test_another_spec_is_another_job(database: InMemoryDatabase, other: dict[str, Any]) -> None:
    submit(database)
    assert only_cell(submit(database, **other)).disposition is Disposition.QUEUED
    assert len(jobs(database)) == 2


def test_a_waiting_job_is_widened_to_what_both_want_to_measure(database: InMemoryDatabase) -> None:
    submit(database, batches=(1, 8))
    submit(database, user="grace", batches=(4, 8))
    (job,) = jobs(database)
    assert job.request.benchmark.batches == (1, 4, 8)


def test_a_running_job_measures_what_it_was_given(database: InMemoryDatabase) -> None:
    submit(database, batches=(1,))
    (job,) = jobs(database)
    claim(database, job)
    submit(database, user="grace", batches=(4,))
    assert jobs(database)[0].request.benchmark.batches == (1,)


# Cells that are built already.


def test_a_built_cell_is_answered_from_the_store(database: InMemoryDatabase) -> None:
    first = only_cell(submit(database))
    engine_id = build(database, first)
    answered = only_cell(submit(database, user="grace"))
    assert (answered.disposition, answered.engine_id) == (Disposition.BUILT, engine_id)
    assert answered.job_id == first.job_id
    assert len(jobs(database)) == 1


@pytest.mark.parametrize("batches", [(1,), (8, 1)])
def test_batches_that_are_measured_are_not_measured_again(
    database: InMemoryDatabase, batches: tuple[int, ...]
) -> None:
    build(database, only_cell(submit(database, batches=(1, 8))))
    assert only_cell(submit(database, batches=batches)).disposition is Disposition.BUILT


def test_other_batches_of_a_built_engine_are_measured_and_not_built(database: InMemoryDatabase) -> None:
    engine_id = build(database, only_cell(submit(database, batches=(1, 8))))
    cell = only_cell(submit(database, batches=(1, 4)))
    newest = jobs(database)[0]
    assert (cell.disposition, cell.job_id, cell.engine_id) == (Disposition.QUEUED, newest.id, engine_id)
    assert (newest.request.kind, newest.request.benchmark.batches) == (JobKind.BENCHMARK, (1, 4))
    assert build(database, cell) == engine_id
    assert only_cell(submit(database, batches=(1, 4, 8))).disposition is Disposition.BUILT


def test_the_same_benchmark_is_shared(database: InMemoryDatabase) -> None:
    build(database, only_cell(submit(database)))
    first, second = only_cell(submit(database, batches=(4,))), only_cell(submit(database, batches=(4,)))
    assert (second.disposition, second.job_id) == (Disposition.SHARED, first.job_id)
    assert second.engine_id == first.engine_id


def test_sample_inputs_that_were_never_tried_are_measured(database: InMemoryDatabase) -> None:
    build(database, only_cell(submit(database)))
    photos = a_job_request(verification=VerificationSpec(a_digest("photos").sha256))
    cell = only_cell(submit(database, job=photos))
    assert cell.disposition is Disposition.QUEUED
    build(database, cell)
    assert only_cell(submit(database, job=photos)).disposition is Disposition.BUILT


def test_an_engine_that_nothing_here_can_run_is_not_measured(database: InMemoryDatabase) -> None:
    unverified = an_outcome(
        accuracy=None, measurements=(), samples=None, unverified_reason="no such GPU here"
    )
    build(database, only_cell(submit(database)), unverified)
    assert only_cell(submit(database, batches=(2,))).disposition is Disposition.BUILT


def test_a_disturbed_run_does_not_count_as_measured(database: InMemoryDatabase) -> None:
    build(database, only_cell(submit(database, batches=(1,))))
    with database.reading() as transaction:
        (engine,) = transaction.engines.engines()
    tainted = replace(engine, runs=tuple(replace(run, taints=("throttled",)) for run in engine.runs))
    assert not needs_measuring(engine, a_job_request(batches=(1,)))
    assert needs_measuring(tainted, a_job_request(batches=(1,)))


def test_an_engine_of_one_gpu_does_not_answer_for_another(database: InMemoryDatabase) -> None:
    build(database, only_cell(submit(database)))
    given_a_cpu_worker(database)
    cells = submit(database, precisions=("fp32",)).cells
    assert {cell.disposition for cell in cells} == {Disposition.QUEUED}


def test_a_second_device_of_the_same_type_is_the_same_target(database: InMemoryDatabase) -> None:
    build(database, only_cell(submit(database)))
    given_a_second_device(database)
    assert only_cell(submit(database)).disposition is Disposition.BUILT


def test_what_somebody_queues_between_looking_and_adding_is_shared(database: InMemoryDatabase) -> None:
    """As on PostgreSQL, where two transactions run side by side."""
    submit(database, precisions=("fp32",))

    class LooksTooEarly:
        """The ledger as it was before somebody else queued the same."""

        def __init__(self, transaction: Transaction) -> None:
            self._ledger = transaction.jobs
            self._looks = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._ledger, name)

        def active_all(self, specs: Any, request: Any) -> Any:
            self._looks += 1
            return {} if self._looks == 1 else self._ledger.active_all(specs, request)

    class Early:
        """A database whose ledger looks too early the first time."""

        transactions = 0

        def transaction(self) -> Any:
            @contextmanager
            def early() -> Any:
                with database.transaction() as transaction:
                    self.transactions += 1
                    if self.transactions == 1:
                        transaction.jobs = LooksTooEarly(transaction)
                    yield transaction

            return early()

    with database.reading() as transaction:
        spans = {f"{b}_shapes": ({"input": (n, 3, 8, 8)},) for b, n in [("min", 1), ("opt", 8), ("max", 32)]}
        plan = plan_builds(
            transaction, a_model(), BuildRequest(precisions=("fp32",), batches=(1, 8), **spans)
        )
    early = Early()
    shared = submit_plan(early, a_model(), plan, SubmitOrder("resnet", "grace", {}, a_job_request()))
    assert early.transactions == 2
    assert only_cell(shared).disposition is Disposition.SHARED
    assert len(jobs(database)) == 1


# The model's files.


def model_in(folder: Path, **contents: bytes) -> Model:
    files = []
    for name, data in contents.items():
        (folder / name).write_bytes(data)
        files.append(ModelFile(name, digest_of_bytes(data)))
    return a_model(files=tuple(files))


def test_every_file_of_a_model_is_kept(tmp_path: Path) -> None:
    store, told = InMemoryArtifactStore(), []
    model = model_in(tmp_path, graph=b"the graph", weights=b"the weights")
    keep_model(store, model, tmp_path, told.append)
    assert all(store.has(file.digest) for file in model.files)
    assert told == ["storing graph", "storing weights"]


def test_what_the_store_has_is_not_copied_again(tmp_path: Path) -> None:
    store, told = InMemoryArtifactStore(), []
    model = model_in(tmp_path, graph=b"the graph", weights=b"the weights")
    store.put_bytes(b"the weights")
    before = store.puts
    keep_model(store, model, tmp_path, told.append)
    assert (store.puts - before, told) == (1, ["storing graph"])


def test_a_file_that_changed_since_it_was_read_is_refused(tmp_path: Path) -> None:
    model = model_in(tmp_path, graph=b"the graph")
    (tmp_path / "graph").write_bytes(b"another graph")
    with pytest.raises(InvalidRequestError, match="graph changed while it was read"):
        keep_model(InMemoryArtifactStore(), model, tmp_path, lambda _: None)


def test_every_user_gets_a_submission_of_their_own(database: InMemoryDatabase) -> None:
    ids = {submit(database, user=user).id for user in ("ada", "grace", "ada")}
    assert len(ids) == 3
    assert attempts_of(database, jobs(database)[0]) == []
