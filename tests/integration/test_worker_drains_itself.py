"""A worker that must not trust its machine drains itself: its GPU went away, or whatever it tries fails."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from farm.domain.jobs import AttemptState, JobState
from farm.domain.targets import DeviceKind, DeviceType
from tests.fake_nvml import FakeGpu, FakeNvml
from tests.fake_toolchain.harness import FarmOfTest, is_alive, wait_until
from tests.fake_toolchain.toolchain import DESCRIPTION
from workers import attempt, presence
from workers.agent import RunningWorker
from workers.offers import offer_of
from workers.presence import DEVICE_LOST

OTHER = "GPU-of-another-host"


@pytest.fixture
def gpu(place: FarmOfTest, monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    """The GPU of that farm's worker, as NVML sees it; a second one is on another host."""
    place.device = replace(place.device, device_type=DeviceType(DeviceKind.GPU, "Test GPU", "9.0", 8, 8))
    fake = replace(place.fake.interpreter, toolchains=(replace(DESCRIPTION, serves=DeviceKind.GPU),))
    place.interpreters = (place.interpreters[0], fake)
    made = FakeGpu("Test GPU", place.device.uuid)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml([made, FakeGpu("Test GPU", OTHER)]))
    monkeypatch.setattr(presence, "GAP_S", 0.05)
    monkeypatch.setattr(presence, "SECOND_LOOK_S", 0.0)
    return made


def drain_reason(place: FarmOfTest) -> str:
    """Why the only worker takes nothing."""
    with place.farm.database.reading() as transaction:
        (worker,) = [worker for worker in transaction.fleet.workers() if worker.name != "other"]
    return worker.drain_reason


def test_a_gpu_that_goes_in_mid_build_costs_the_job_nothing_but_the_way_to_another_one(
    place: FarmOfTest, gpu: FakeGpu
) -> None:
    place.fake.does("wait", "build")
    with place.worker():
        (job_id,) = place.submit()
        child = place.fake.pid()
        gpu.lost = True
        reason = wait_until(lambda: drain_reason(place))
        assert f"the device {place.device.uuid}" in reason
        assert "GPU is lost" in reason
        (attempt,) = place.attempts(job_id)
        assert attempt.failure is not None
        assert (attempt.state, attempt.failure.code) == (AttemptState.FAILED, DEVICE_LOST)
        assert "nvidia-smi" in attempt.failure.hint
        assert not is_alive(child)
        assert place.job(job_id).state is JobState.QUEUED

        other = offer_of(replace(place.device, uuid=OTHER), place.interpreters)
        with RunningWorker(place.farm, other, place.interpreters, name="other"):
            place.succeeded(job_id)
    first, second = place.attempts(job_id)
    assert (first.device_uuid, second.device_uuid) == (place.device.uuid, OTHER)


def test_a_child_that_dies_of_a_lost_gpu_is_no_crash_of_its_job(
    place: FarmOfTest, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the end of the child tells of it.
    monkeypatch.setattr(presence, "GAP_S", 1000.0)
    place.fake.does("wait")
    with place.worker():
        (job_id,) = place.submit()
        child = place.fake.pid()
        gpu.lost = True
        import os
        import signal

        os.kill(child, signal.SIGSEGV)
        wait_until(lambda: drain_reason(place))
        (attempt,) = place.attempts(job_id)
        assert attempt.failure is not None
        assert attempt.failure.code == DEVICE_LOST
        with place.farm.database.reading() as transaction:
            assert transaction.jobs.crashes(job_id) == 0


def test_a_gpu_that_went_between_two_jobs_is_noticed_before_the_next_one_is_taken(
    place: FarmOfTest, gpu: FakeGpu
) -> None:
    with place.worker():
        gpu.lost = True
        (job_id,) = place.submit()
        wait_until(lambda: drain_reason(place))
        assert place.attempts(job_id) == []
        gpu.lost = False
        with place.farm.database.transaction() as transaction:
            assert transaction.fleet.resume(transaction.fleet.workers()[0].name)
        place.succeeded(job_id)


def test_three_different_jobs_that_fail_in_a_row_drain_the_worker_and_spare_the_fourth(
    place: FarmOfTest,
) -> None:
    place.fake.does("transient")
    jobs = [place.submit(salt=str(number), max_attempts=1)[0] for number in range(4)]
    with place.worker() as worker:
        for job_id in jobs[:3]:
            assert place.ended(job_id).state is JobState.FAILED
        reason = wait_until(lambda: drain_reason(place))
        assert "3 different jobs failed here in a row" in reason
        assert "ran out of memory" in reason
        assert worker.drain_reason == reason
        assert place.attempts(jobs[3]) == []
        place.fake.does("build")
        with place.farm.database.transaction() as transaction:
            assert transaction.fleet.resume(worker.name)
        place.succeeded(jobs[3])


def test_a_success_in_between_gives_the_worker_its_trust_back(place: FarmOfTest) -> None:
    place.fake.does("transient", "transient", "build", "transient", "build")
    jobs = [place.submit(salt=str(number), max_attempts=1)[0] for number in range(5)]
    with place.worker():
        place.succeeded(jobs[-1])
        assert drain_reason(place) == ""
    states = [place.job(job_id).state for job_id in jobs]
    assert states.count(JobState.FAILED) == 3


def test_three_jobs_that_a_bug_of_the_farm_ended_drain_the_worker(
    place: FarmOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_bug(*_arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(attempt, "sign_engine", with_a_bug)
    jobs = [place.submit(salt=str(number), max_attempts=1)[0] for number in range(4)]
    with place.worker():
        for job_id in jobs[:3]:
            failure = place.ended(job_id).failure
            assert failure is not None
            assert failure.code == "FarmBug"
            assert "ZeroDivisionError: a bug" in failure.message
        assert "3 different jobs failed here in a row" in wait_until(lambda: drain_reason(place))
        assert place.attempts(jobs[3]) == []


def test_jobs_that_are_refused_leave_the_worker_its_trust(place: FarmOfTest) -> None:
    place.fake.does("refuse", "wrong", "refuse", "wrong", "build")
    jobs = [place.submit(salt=str(number))[0] for number in range(5)]
    with place.worker():
        place.succeeded(jobs[-1])
        assert drain_reason(place) == ""


def test_a_worker_that_was_drained_before_it_was_started_takes_nothing(place: FarmOfTest) -> None:
    with place.worker(name="gpu07-0"):
        pass
    with place.farm.database.transaction() as transaction:
        transaction.fleet.drain("gpu07-0", "new driver", "ada")
    (job_id,) = place.submit()
    with place.worker(name="gpu07-0") as again:
        assert again.drain_reason == "new driver"
        with place.worker(name="gpu07-1"):
            place.succeeded(job_id)
        assert [attempt.worker_id for attempt in place.attempts(job_id)] != [again.id]


# What an operator gives to the children of a toolchain.


def test_the_environment_of_a_listed_interpreter_reaches_its_children(place: FarmOfTest) -> None:
    listed = replace(place.fake.interpreter, environment={"LD_LIBRARY_PATH": "/opt/trt/lib", "TRT_HINT": "8"})
    place.interpreters = (place.interpreters[0], listed)
    place.fake.does("tell")
    with place.worker():
        place.succeeded(place.submit()[0])
    import json

    environment = json.loads((place.fake.control / "told").read_text())["environment"]
    assert environment["LD_LIBRARY_PATH"] == "/opt/trt/lib"
    assert environment["TRT_HINT"] == "8"
