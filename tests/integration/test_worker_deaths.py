"""Workers that die without a word: who notices, how soon, and what their job has to answer for."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import DatabaseUnavailableError
from farm.domain.identifiers import new_id
from farm.domain.jobs import AttemptState, JobState
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test, is_alive, settings_in, wait_until
from workers import leftovers
from workers.agent import RunningWorker
from workers.leftovers import DeadWatch
from workers.offers import offer_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workers.interpreters import Interpreter


@pytest.fixture
def place(tmp_path: Path, own: Interpreter) -> Iterator[FarmOfTest]:
    """An embedded farm whose leases end long after every test."""
    settings = settings_in(tmp_path / "home", lease_s=600.0, locks=tmp_path / "locks")
    with farm_of_test(tmp_path, own, settings=settings) as made:
        yield made


def killed_in_mid_build(place: FarmOfTest, job_id: str, number: int) -> None:
    """A worker begins the n-th build of a job, and is killed as soon as the log has something of it."""
    with place.worker_process() as killed:
        pid = place.fake.pid(number)
        wait_until(lambda: place.attempts(job_id)[-1].phase == "build")
        wait_until(lambda: place.live_log(job_id))
        killed.kill()
        wait_until(lambda: not is_alive(pid))


def test_a_job_that_killed_two_workers_is_parked_with_its_logs_and_the_signal(place: FarmOfTest) -> None:
    place.fake.does("hang")
    (job_id,) = place.submit(max_attempts=9)
    for number in (1, 2):
        killed_in_mid_build(place, job_id, number)
    with place.worker():
        job = place.ended(job_id)
        wait_until(lambda: all(attempt.log for attempt in place.attempts(job_id)))
    assert (job.state, job.failure and job.failure.code) == (JobState.FAILED, "PoisonJobError")
    assert job.failure is not None
    assert "SIGKILL" in job.failure.message
    assert "this job has killed 2 processes, so it is parked" in job.failure.message
    attempts = place.attempts(job_id)
    assert [attempt.state for attempt in attempts] == [AttemptState.LOST] * 2
    for attempt in attempts:
        assert "hangs" in place.log(attempt), "what the child said"
        assert "[farm]" in place.log(attempt), "and how it ended"
    with place.farm.database.reading() as transaction:
        groups = {group.code: group for group in transaction.jobs.failures()}
    assert "SIGKILL" in groups["PoisonJobError"].last_message
    assert list(place.farm.settings.locks.glob("worker-*")) == []


@contextmanager
def a_neighbour(place: FarmOfTest) -> Iterator[RunningWorker]:
    """The worker of another device of this host."""
    device = replace(place.device, uuid=new_id("CPU-test"))
    with RunningWorker(place.farm, offer_of(device, place.interpreters), place.interpreters) as worker:
        yield worker


def test_a_neighbour_takes_over_from_a_dead_worker_before_its_lease_ends(
    place: FarmOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "_LOOK_GAP_S", 0.05)
    place.fake.does("hang", "build")
    (job_id,) = place.submit()
    with place.worker_process() as killed:
        pid = place.fake.pid()
        wait_until(lambda: place.attempts(job_id)[-1].phase == "build")
        with a_neighbour(place) as neighbour:
            assert place.job(job_id).state is JobState.RUNNING
            killed.kill()
            wait_until(lambda: not is_alive(pid))
            place.succeeded(job_id)
    first, second = place.attempts(job_id)
    assert first.failure is not None
    assert first.failure.code == "WorkerDied"
    assert second.worker_id == neighbour.id


def test_who_tries_in_vain_to_register_leaves_no_sign_and_no_descriptor(
    place: FarmOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.worker()  # what is opened once for all
    before = len(list(Path("/proc/self/fd").iterdir())), list(place.farm.settings.locks.glob("*.life"))

    def is_away() -> None:
        raise DatabaseUnavailableError("the database is away")

    monkeypatch.setattr(place.farm.database, "transaction", is_away)
    for _ in range(5):
        with pytest.raises(DatabaseUnavailableError):
            place.worker()
    assert (
        len(list(Path("/proc/self/fd").iterdir())),
        list(place.farm.settings.locks.glob("*.life")),
    ) == before


def test_a_worker_begins_although_nobody_can_say_whose_neighbour_died(
    place: FarmOfTest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def is_away(*_arguments: object) -> None:
        raise DatabaseUnavailableError("the database is away")

    place.fake.does("hang", "build")
    (job_id,) = place.submit()
    with place.worker_process() as killed:
        pid = place.fake.pid()
        killed.kill()
        wait_until(lambda: not is_alive(pid))
    monkeypatch.setattr(leftovers, "_LOOK_GAP_S", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(leftovers, "bury_dead", is_away)
        worker = place.worker()
        worker.__enter__()
    try:
        assert "the database is away" in caplog.text
        place.succeeded(job_id)
    finally:
        worker.__exit__(None, None, None)


def test_a_job_does_not_answer_for_a_worker_that_an_operator_ended_at_once(place: FarmOfTest) -> None:
    place.fake.does("hang")
    (job_id,) = place.submit()
    with place.worker() as worker:
        place.fake.pid()
        assert list(place.farm.settings.locks.glob("worker-*.life"))
        worker.clear_its_job()
        DeadWatch(place.farm, place.device.host).look()
        assert place.job(job_id).state is JobState.RUNNING, "until its lease ends"
        assert list(place.farm.settings.locks.glob("worker-*")) == []
