"""Attempts from end to end on SQLite and the embedded broker: real children, a fake toolchain that misbehaves."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from farm.domain.jobs import AttemptState, FailureClass, JobKind, JobState
from farm.domain.thresholds import Thresholds
from farm.domain.verification import VerificationSpec
from farm.services.cancel import cancel_submission
from tests.fake_toolchain.harness import (
    QUICK,
    ROOT,
    FarmOfTest,
    is_alive,
    wait_until,
    write_model,
)
from workers.queues import TASK

if TYPE_CHECKING:
    from pathlib import Path


def test_a_job_that_another_process_submits_wakes_the_running_worker(place: FarmOfTest) -> None:
    submit = (
        "import sys; from pathlib import Path\n"
        "from farm.bootstrap import open_farm\n"
        "from farm.settings import read_settings\n"
        "from farm.services.plan import BuildRequest, plan_builds\n"
        "from farm.services.submit import SubmitOrder, keep_model, submit_plan\n"
        "from farm.domain.work import JobRequest\n"
        "from farm.storage.onnx_files import read_model\n"
        "path = Path(sys.argv[2]); model = read_model(path)\n"
        "farm = open_farm(read_settings(Path(sys.argv[1]), {}), create=False)\n"
        "keep_model(farm.store, model, path.parent, lambda _: None)\n"
        "with farm.database.reading() as t:\n"
        "    plan = plan_builds(t, model, BuildRequest(toolchains=('fake',)))\n"
        "order = SubmitOrder('small', 'me', {}, JobRequest())\n"
        "print(submit_plan(farm.database, model, plan, order).cells[0].job_id)\n"
    )
    with place.worker():
        done = subprocess.run(
            [sys.executable, "-c", submit, str(place.farm.settings.home), str(place.model)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        place.succeeded(done.stdout.strip())


def test_a_success_files_the_engine_its_run_measurements_samples_and_log(place: FarmOfTest) -> None:
    with place.worker() as worker:
        (job_id,) = place.submit(model=write_model(place.model, batch="N"), batches=(1, 4))
        job = place.succeeded(job_id)
    (attempt,) = place.attempts(job_id)
    assert (attempt.state, attempt.number) == (AttemptState.SUCCEEDED, 1)
    assert (attempt.worker_id, attempt.device_uuid) == (worker.id, place.device.uuid)
    assert {"prepare", "build", "verify", "benchmark", "upload"} <= set(attempt.seconds)
    place.log(attempt)
    engine = place.engine(job_id)
    assert engine.is_verified
    assert engine.spec == job.spec
    assert b"".join(place.farm.store.chunks(engine.digest)) == place.model.read_bytes()
    (run,) = engine.runs
    assert run.accuracy is not None
    assert run.accuracy.outputs[0].max_abs_error == 0.0
    assert [m.batch for m in run.measurements] == [1, 4]
    assert all(m.compute.count >= QUICK.min_iterations for m in run.measurements)
    assert run.samples is not None
    samples = np.load(io.BytesIO(b"".join(place.farm.store.chunks(run.samples))))
    assert [samples[name].shape[1] for name in ("batch1_plain", "batch4_plain")] == [3, 3]


def test_every_phase_of_an_attempt_leaves_its_moment(place: FarmOfTest) -> None:
    from sqlalchemy import text

    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    columns = "claimed_at, started_at, built_at, verified_at, measured_at, uploaded_at, finished_at"
    with place.farm.database.engine.connect() as connection:  # type: ignore[attr-defined]
        moments = list(connection.execute(text(f"SELECT {columns} FROM attempts")).one())  # noqa: S608
    assert None not in moments
    assert moments == sorted(moments)


def test_a_live_log_is_there_while_an_attempt_runs_and_becomes_an_artifact_when_it_ends(
    place: FarmOfTest,
) -> None:
    place.fake.does("say and wait")
    with place.worker():
        (job_id,) = place.submit()
        place.fake.pid()
        wait_until(lambda: "to stderr" in place.live_log(job_id))
        assert place.job(job_id).state is JobState.RUNNING
        running = place.attempts(job_id)[0]
        assert (running.phase, running.message) == ("build", "say and wait")
        place.fake.go()
        place.succeeded(job_id)
        assert place.live_log(job_id) == ""
    (attempt,) = place.attempts(job_id)
    for words in ("from print", "from descriptor 1", "from C", "to stderr", "forged"):
        assert words in place.log(attempt)
    assert attempt.phase == "upload"


@pytest.mark.parametrize(
    ("behaviour", "failure_class", "code", "words"),
    [
        ("refuse", FailureClass.REFUSED, "BuildError", "node 'conv1': not on a Sunday"),
        ("wrong", FailureClass.REQUEST, "InvalidSpecError", "the option is wrong"),
        ("bug", FailureClass.REFUSED, "BuildError", "ZeroDivisionError at toolchain.py:"),
    ],
)
def test_what_would_fail_again_is_never_tried_again(
    place: FarmOfTest, behaviour: str, failure_class: FailureClass, code: str, words: str
) -> None:
    place.fake.does(behaviour)
    with place.worker():
        (job_id,) = place.submit()
        job = place.ended(job_id)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert (job.failure.failure_class, job.failure.code) == (failure_class, code)
    assert words in job.failure.message
    assert "\n" not in job.failure.message
    assert job.failure.phase == "build"
    (attempt,) = place.attempts(job_id)
    assert attempt.state is AttemptState.FAILED
    assert words.split(" at ")[0] in place.log(attempt)
    assert place.scratch_of_attempts() == []


def test_a_transient_failure_is_tried_again_after_a_pause_until_the_last_attempt(place: FarmOfTest) -> None:
    place.fake.does("transient")
    with place.worker():
        (job_id,) = place.submit(max_attempts=2)
        job = place.ended(job_id)
    first, second = place.attempts(job_id)
    assert (job.state, job.failure and job.failure.code) == (JobState.FAILED, "OutOfMemoryError")
    assert [first.state, second.state] == [AttemptState.FAILED] * 2
    assert first.finished_at is not None
    assert (second.claimed_at - first.finished_at).total_seconds() >= 2.0
    assert all("ran out of memory" in place.log(attempt) for attempt in (first, second))


def test_a_transient_failure_that_passes_leaves_an_engine(place: FarmOfTest) -> None:
    place.fake.does("transient", "build")
    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    assert [a.state for a in place.attempts(job_id)] == [AttemptState.FAILED, AttemptState.SUCCEEDED]


def test_a_job_that_kills_two_children_is_parked_with_its_evidence(place: FarmOfTest) -> None:
    place.fake.does("segfault")
    with place.worker():
        (job_id,) = place.submit(max_attempts=5)
        job = place.ended(job_id)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.POISON
    assert "SIGSEGV in phase build" in job.failure.message
    attempts = place.attempts(job_id)
    assert len(attempts) == 2
    assert all("ChildCrashedError" in place.log(attempt) for attempt in attempts)


def test_an_attempt_that_outlives_its_deadline_is_timed_out_and_its_child_is_gone(place: FarmOfTest) -> None:
    place.fake.does("hang")
    with place.worker():
        (job_id,) = place.submit(max_attempts=1, deadline_s=2)
        job = place.ended(job_id)
    (attempt,) = place.attempts(job_id)
    assert (job.state, attempt.state) == (JobState.FAILED, AttemptState.TIMED_OUT)
    assert job.failure is not None
    assert "in phase build" in job.failure.message
    assert "--deadline" in job.failure.hint
    assert not is_alive(place.fake.pid())
    assert "DeadlineExceededError" in place.log(attempt)


def test_an_engine_that_is_not_accurate_enough_fails_its_job(place: FarmOfTest) -> None:
    with place.worker():
        (job_id,) = place.submit(
            verification=VerificationSpec(thresholds=Thresholds(min_snr_db=1e9, min_cosine=2.0))
        )
        job = place.ended(job_id)
    assert (job.state, job.failure and job.failure.code) == (JobState.FAILED, "AccuracyError")
    assert place.engines() == []


def test_cancelling_a_running_job_kills_its_child_and_keeps_its_log(place: FarmOfTest) -> None:
    place.fake.does("say and wait")
    with place.worker():
        (job_id,) = place.submit()
        pid = place.fake.pid()
        with place.farm.database.transaction() as transaction:
            (submission,) = transaction.jobs.submissions(1)
            cancel_submission(transaction, submission.id)
        assert place.ended(job_id).state is JobState.CANCELLED
        assert not is_alive(pid)
        # The worker goes on with the next one.
        place.fake.does("build")
        (other,) = place.submit(salt="other")
        place.succeeded(other)
    (attempt,) = place.attempts(job_id)
    assert attempt.state is AttemptState.CANCELLED
    assert "from C" in place.log(attempt)


def test_a_worker_that_is_told_to_stop_gives_its_job_back_and_the_next_one_builds_it(
    place: FarmOfTest,
) -> None:
    place.fake.does("wait", "build")
    with place.worker():
        (job_id,) = place.submit(max_attempts=1)
        pid = place.fake.pid()
    assert not is_alive(pid)
    assert place.job(job_id).state is JobState.QUEUED
    (attempt,) = place.attempts(job_id)
    assert attempt.state is AttemptState.LOST
    assert attempt.failure is not None
    assert attempt.failure.message == "the worker was told to stop"
    place.log(attempt)
    with place.farm.database.reading() as transaction:
        assert not any(worker.is_live for worker in transaction.fleet.workers())
    with place.worker():
        # What was given back counts against nobody: it had one attempt, and still has.
        place.succeeded(job_id)
    assert place.scratch_of_attempts() == []


def test_a_worker_can_be_stopped_as_soon_as_it_was_started(place: FarmOfTest) -> None:
    for _ in range(5):
        with place.worker() as worker:
            pass
        assert not worker.is_busy
    begin = time.monotonic()
    with place.worker():
        pass
    assert time.monotonic() - begin < 9


def test_messages_without_a_job_to_take_are_dropped(place: FarmOfTest) -> None:
    place.fake.does("wait")
    with place.worker() as worker:
        (job_id,) = place.submit()
        place.fake.pid()
        app = worker._consumer._app
        queue = place.job(job_id).target.queue
        for words in (job_id, job_id, "j-0000000000", "", "'; DROP TABLE jobs"):
            app.send_task(TASK, args=[words], queue=queue)
        place.fake.go()
        place.succeeded(job_id)
        (other,) = place.submit(salt="other")
        place.succeeded(other)
    assert len(place.fake.pids()) == 2
    assert len(place.attempts(job_id)) == 1


def test_jobs_are_done_one_at_a_time_and_the_oldest_first(place: FarmOfTest) -> None:
    ids = [place.submit(salt=str(number))[0] for number in range(3)]
    with place.worker():
        for job_id in ids:
            place.succeeded(job_id)
    spans = [(a.claimed_at, a.finished_at) for job_id in ids for a in place.attempts(job_id)]
    moments = [moment for span in spans for moment in span]
    assert moments == sorted(moments)


def test_a_second_precision_uses_the_reference_that_the_first_one_computed(place: FarmOfTest) -> None:
    with place.worker():
        first, second = place.submit(precisions=("fp32", "tf32"))
        place.succeeded(first)
        (reference,) = (place.farm.settings.scratch / "references").iterdir()
        written = (reference / "outputs.npz").stat().st_mtime_ns
        place.succeeded(second)
        assert (reference / "outputs.npz").stat().st_mtime_ns == written
        assert len(list((place.farm.settings.scratch / "references").iterdir())) == 1
        (other,) = place.submit(salt="other", verification=VerificationSpec(seed=7))
        place.succeeded(other)
        assert len(list((place.farm.settings.scratch / "references").iterdir())) == 2


def test_sample_inputs_are_used_and_wrong_ones_fail_the_job_alone(place: FarmOfTest, tmp_path: Path) -> None:
    ids = []
    for name, shape in (("good", (3, 4)), ("bad", (3, 5))):
        np.savez(tmp_path / f"{name}.npz", x=np.ones(shape, dtype=np.float32))
        digest = place.farm.store.put_file(tmp_path / f"{name}.npz")
        with place.farm.database.transaction() as transaction:
            transaction.engines.add_artifact(digest, "inputs")
        verification = VerificationSpec(inputs_sha256=digest.sha256)
        ids += place.submit(salt=name, verification=verification)
    with place.worker():
        place.succeeded(ids[0])
        job = place.ended(ids[1])
    (run,) = place.engine(ids[0]).runs
    assert run.accuracy is not None
    assert run.accuracy.samples == 3
    assert job.failure is not None
    assert job.failure.failure_class is FailureClass.REQUEST
    assert "float32 3x5" in job.failure.message


def test_a_filed_engine_is_measured_again_without_being_built_again(place: FarmOfTest) -> None:
    model = write_model(place.model, batch="N")
    with place.worker():
        shapes = {"model": model, "batches": (1, 4)}
        (build,) = place.submit(**shapes)
        place.succeeded(build)
        place.describe()
        engine = place.engine(build)
        from dataclasses import replace

        from farm.domain.work import JobRequest

        request = JobRequest(kind=JobKind.BENCHMARK, benchmark=replace(QUICK, batches=(2,)))
        with place.farm.database.transaction() as transaction:
            job = transaction.jobs.add(engine.spec, request)
        place.succeeded(job.id)
    assert len(place.fake.pids()) == 1
    runs = place.engine(build).runs
    assert [[m.batch for m in run.measurements] for run in runs] == [[1, 4], [2]]


def test_a_store_that_is_away_at_the_upload_is_a_transient_failure_that_says_so(
    place: FarmOfTest,
) -> None:
    store = place.farm.settings.store
    place.fake.does("say and wait", "build")
    with place.worker():
        (job_id,) = place.submit()
        place.fake.pid()
        wait_until(lambda: "from C" in place.live_log(job_id))
        store.rename(store.with_name("away"))
        place.fake.go()
        wait_until(lambda: place.attempts(job_id)[0].state is not AttemptState.RUNNING)
        (attempt, *_) = place.attempts(job_id)
        assert attempt.state is AttemptState.FAILED
        assert attempt.failure is not None
        assert (attempt.failure.failure_class, attempt.failure.code) == (
            FailureClass.TRANSIENT,
            "StoreUnavailableError",
        )
        assert str(store) in attempt.failure.message
        # There is no store to keep the log in, so what was shown live stays.
        assert attempt.log is None
        assert "from C" in place.live_log(job_id)
        store.with_name("away").rename(store)
        place.succeeded(job_id)


def test_a_scratch_folder_that_can_not_be_written_is_a_transient_failure_that_says_so(
    place: FarmOfTest,
) -> None:
    scratch = place.farm.settings.scratch
    with place.worker():
        scratch.rename(scratch.with_name("away"))
        scratch.touch()
        (job_id,) = place.submit()
        wait_until(lambda: place.job(job_id).failure)
        (attempt, *_) = place.attempts(job_id)
        assert attempt.failure is not None
        assert attempt.failure.failure_class is FailureClass.TRANSIENT
        assert "scratch folder" in attempt.failure.message
        assert "FARM_SCRATCH" in attempt.failure.hint
        scratch.unlink()
        scratch.with_name("away").rename(scratch)
        place.succeeded(job_id)


def test_an_interpreter_that_is_gone_is_a_failure_that_says_so(place: FarmOfTest) -> None:
    with place.worker():
        place.fake.python.unlink()
        (job_id,) = place.submit(max_attempts=1)
        job = place.ended(job_id)
    assert job.failure is not None
    assert str(place.fake.python) in job.failure.message
    assert "can not be started" in job.failure.message


def test_a_device_that_somebody_else_holds_is_waited_for_and_costs_no_attempt(place: FarmOfTest) -> None:
    from workers.device_lock import DeviceLock

    with place.worker():
        with DeviceLock(place.device.uuid, purpose="somebody's benchmark"):
            (job_id,) = place.submit(max_attempts=1)
            wait_until(lambda: place.attempts(job_id) and "somebody" in place.attempts(job_id)[0].message)
            assert place.fake.pids() == []
        place.succeeded(job_id)
    assert len(place.attempts(job_id)) == 1


def test_a_job_that_waits_for_its_device_can_be_cancelled(place: FarmOfTest) -> None:
    from workers.device_lock import DeviceLock

    with place.worker(), DeviceLock(place.device.uuid, purpose="somebody's benchmark"):
        (job_id,) = place.submit()
        wait_until(lambda: place.attempts(job_id) and "somebody" in place.attempts(job_id)[0].message)
        with place.farm.database.transaction() as transaction:
            transaction.jobs.request_cancel(job_id)
        assert place.ended(job_id).state is JobState.CANCELLED


def test_the_device_is_free_again_as_soon_as_an_attempt_has_ended(place: FarmOfTest) -> None:
    from workers.device_lock import DeviceLock

    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
        with DeviceLock(place.device.uuid):
            pass


def test_a_toolchain_whose_version_changed_under_the_worker_is_refused(place: FarmOfTest) -> None:
    program = place.fake.python.read_text()
    with place.worker():
        changed = place.fake.control / "changed.py"
        changed.write_text(
            "import sys; sys.argv.pop(0)\n"
            f"sys.path.append({str(ROOT)!r})\n"
            "from dataclasses import replace\n"
            "from tests.fake_toolchain import toolchain\n"
            "from farm.domain.targets import ToolchainId\n"
            "toolchain.DESCRIPTION = replace(toolchain.DESCRIPTION, id=ToolchainId('fake', '2.0.0'))\n"
            "import runpy; runpy.run_path(sys.argv[0], run_name='__main__')\n"
        )
        place.fake.python.write_text(
            program.replace(f'"{sys.executable}"', f'"{sys.executable}" "{changed}"')
        )
        (job_id,) = place.submit()
        job = place.ended(job_id)
    assert job.failure is not None
    assert job.failure.code == "ConflictError"
    assert "this interpreter has fake 2.0.0, but the job wants fake 1.0.0" in job.failure.message
