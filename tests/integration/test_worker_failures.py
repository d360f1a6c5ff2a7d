"""Workers that are killed or frozen, and databases that go away: everything heals by itself."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.identifiers import new_id
from farm.domain.jobs import AttemptState, JobState
from farm.settings import DEFAULT_LOCKS
from tests.fake_toolchain.harness import LEASE_S, FarmOfTest, farm_of_test, is_alive, settings_in, wait_until
from tests.services import PostgresServer
from workers.life_sign import forget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm.domain.targets import Device
    from tests.fake_toolchain.harness import WorkerProcess
    from workers.interpreters import Interpreter


@contextmanager
def another_device(place: FarmOfTest) -> Iterator[Device]:
    """One of the same type in another machine, as far as the farm can tell."""
    device = replace(place.device, uuid=new_id("CPU-test"))
    try:
        yield device
    finally:
        for lock in DEFAULT_LOCKS.glob(f"{device.uuid}*"):
            lock.unlink()


def freeze(worker: WorkerProcess, place: FarmOfTest) -> None:
    """Stops a worker between two of its transactions: SQLite has one lock, and a frozen holder keeps it."""
    path = place.farm.settings.sqlite_path
    assert path is not None
    while True:
        worker.signal(signal.SIGSTOP)
        with closing(sqlite3.connect(path, timeout=0.5)) as connection, suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
            return
        worker.signal(signal.SIGCONT)
        time.sleep(0.1)


def test_the_job_of_a_worker_that_was_killed_is_built_by_another_one_and_no_child_is_left(
    place: FarmOfTest,
) -> None:
    place.fake.does("hang", "build")
    with place.worker_process() as killed:
        (job_id,) = place.submit()
        pid = place.fake.pid()
        wait_until(lambda: place.attempts(job_id)[0].phase == "build")
        killed.kill()
        # The kernel ends the child with its supervisor, and its device is free.
        wait_until(lambda: not is_alive(pid))
        assert place.job(job_id).state is JobState.RUNNING
    with place.worker() as worker:
        place.succeeded(job_id)
    first, second = place.attempts(job_id)
    assert (first.state, first.failure and first.failure.code) == (AttemptState.LOST, "WorkerDied")
    assert first.failure is not None
    assert "its process died in phase build" in first.failure.message
    assert (second.number, second.worker_id) == (2, worker.id)
    assert "[farm] WorkerDied: worker" in place.log(first)


def test_a_job_whose_every_worker_is_killed_fails_at_its_last_attempt(place: FarmOfTest) -> None:
    place.fake.does("hang")
    with place.worker_process() as killed:
        (job_id,) = place.submit(max_attempts=1)
        place.fake.pid()
        killed.kill()
    # As on another machine: nobody can say that it is dead, only that it is silent.
    forget(place.farm.settings.locks, place.attempts(job_id)[0].worker_id)
    with place.worker():
        job = place.ended(job_id)
    assert (job.state, job.failure and job.failure.code) == (JobState.FAILED, "Lost")
    assert len(place.attempts(job_id)) == 1


def test_what_a_ghost_built_is_refused_and_its_child_is_gone(place: FarmOfTest) -> None:
    place.fake.does("wait", "build")
    with place.worker_process() as ghost, another_device(place) as device:
        (job_id,) = place.submit()
        pid = place.fake.pid()
        freeze(ghost, place)
        os.kill(pid, signal.SIGSTOP)  # its machine as a whole
        offer = replace(place.offer, device=device)
        from workers.agent import RunningWorker

        with RunningWorker(place.farm, offer, place.interpreters) as worker:
            place.succeeded(job_id)
        filed = place.engines()
        place.fake.go()  # the ghost's build would now succeed as well
        os.kill(pid, signal.SIGCONT)
        ghost.signal(signal.SIGCONT)
        wait_until(lambda: "its result was dropped" in ghost.said())
        assert not is_alive(pid)
        # It goes on as a worker: the next job is its own.
        (other,) = place.submit(salt="other")
        place.succeeded(other)
        first, second = place.attempts(job_id)
        assert place.attempts(other)[0].worker_id == first.worker_id
    assert [first.state, second.state] == [AttemptState.LOST, AttemptState.SUCCEEDED]
    assert second.worker_id == worker.id
    assert [engine.runs for engine in place.engines()][: len(filed)] == [engine.runs for engine in filed]
    assert place.engine(job_id).runs[0].device_uuid == device.uuid
    assert len(place.engine(job_id).runs) == 1


def test_a_ghost_that_has_finished_its_build_files_nothing(place: FarmOfTest) -> None:
    place.fake.does("wait", "build")
    with place.worker_process() as ghost, another_device(place) as device:
        (job_id,) = place.submit()
        pid = place.fake.pid()
        freeze(ghost, place)  # the worker alone: its child goes on to the end
        place.fake.go()
        wait_until(lambda: not is_alive(pid))
        from workers.agent import RunningWorker

        offer = replace(place.offer, device=device)
        with RunningWorker(place.farm, offer, place.interpreters):
            place.succeeded(job_id)
        ghost.signal(signal.SIGCONT)
        wait_until(lambda: "its result was dropped" in ghost.said())
    (run,) = place.engine(job_id).runs
    assert run.device_uuid == device.uuid
    assert [a.state for a in place.attempts(job_id)] == [AttemptState.LOST, AttemptState.SUCCEEDED]


def test_a_worker_that_is_told_to_stop_leaves_no_process_behind(place: FarmOfTest) -> None:
    place.fake.does("hang in C")
    with place.worker_process() as worker:
        (job_id,) = place.submit()
        pid = place.fake.pid()
        worker.stop()
        assert worker.process.returncode == 0, worker.said()
    assert not is_alive(pid)
    assert place.job(job_id).state is JobState.QUEUED


def test_what_killed_workers_left_in_scratch_is_swept(place: FarmOfTest) -> None:
    from farm.services.attempts import rescue_expired
    from workers.leftovers import sweep_scratch

    place.fake.does("hang")
    with place.worker_process() as killed:
        place.submit()
        pid = place.fake.pid()
        killed.kill()
        wait_until(lambda: not is_alive(pid))
    assert len(place.scratch_of_attempts()) == 1
    sweep_scratch(place.farm)
    assert len(place.scratch_of_attempts()) == 1, "its lease still holds, so it may be alive"
    wait_until(lambda: bool(rescue_expired(place.farm.database)))
    sweep_scratch(place.farm)
    assert place.scratch_of_attempts() == []
    assert (place.farm.settings.scratch / "references").exists()


# A database that goes away. The broker stays the embedded one, so that nothing else is away.


@pytest.fixture(scope="module")
def mortal_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL to be stopped and killed."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def fleet(tmp_path: Path, own: Interpreter, mortal_postgres: PostgresServer) -> Iterator[FarmOfTest]:
    """A farm on PostgreSQL."""
    url = mortal_postgres.createdb()
    settings = settings_in(tmp_path / "home", database_url=url, lease_s=8.0)
    with farm_of_test(tmp_path, own, settings=settings) as made:
        yield made


def test_a_database_that_is_away_in_the_middle_of_a_build_costs_no_attempt(
    fleet: FarmOfTest, mortal_postgres: PostgresServer
) -> None:
    fleet.fake.does("say and wait")
    with fleet.worker():
        (job_id,) = fleet.submit(max_attempts=1)
        fleet.fake.pid()
        mortal_postgres.kill()
        time.sleep(2)
        mortal_postgres.start()
        fleet.fake.go()
        fleet.succeeded(job_id)
    (attempt,) = fleet.attempts(job_id)
    assert "from C" in fleet.log(attempt)


def test_a_database_that_is_away_when_the_build_ends_costs_no_attempt(
    fleet: FarmOfTest, mortal_postgres: PostgresServer
) -> None:
    fleet.fake.does("wait")
    with fleet.worker():
        (job_id,) = fleet.submit(max_attempts=1)
        pid = fleet.fake.pid()
        mortal_postgres.kill()
        fleet.fake.go()
        wait_until(lambda: not is_alive(pid))
        time.sleep(1.5)
        mortal_postgres.start()
        fleet.succeeded(job_id)
    assert len(fleet.attempts(job_id)) == 1
    assert fleet.engine(job_id).runs


def test_a_failure_is_recorded_although_the_database_was_away_when_it_happened(
    fleet: FarmOfTest, mortal_postgres: PostgresServer
) -> None:
    fleet.fake.does("hang")
    with fleet.worker():
        (job_id,) = fleet.submit(max_attempts=1)
        pid = fleet.fake.pid()
        mortal_postgres.kill()
        os.kill(pid, signal.SIGKILL)
        time.sleep(1.5)
        mortal_postgres.start()
        job = fleet.ended(job_id)
    assert job.failure is not None
    assert "SIGKILL" in job.failure.message


def test_a_worker_whose_database_hangs_kills_its_child_before_its_lease_is_over(
    tmp_path: Path, own: Interpreter, mortal_postgres: PostgresServer
) -> None:
    settings = settings_in(tmp_path / "home", database_url=mortal_postgres.createdb(), lease_s=LEASE_S)
    with farm_of_test(tmp_path, own, settings=settings) as place:
        place.fake.does("hang", "build")
        with place.worker():
            (job_id,) = place.submit()
            pid = place.fake.pid()
            frozen = _freeze(mortal_postgres)
            try:
                wait_until(lambda: not is_alive(pid), seconds=LEASE_S + 10)
            finally:
                for process in frozen:
                    os.kill(process, signal.SIGCONT)
            place.succeeded(job_id)
        first, second = place.attempts(job_id)
        assert [first.state, second.state] == [AttemptState.LOST, AttemptState.SUCCEEDED]


def _freeze(server: PostgresServer) -> list[int]:
    """Stops a server with all its sessions: connections stay open, and nobody answers."""
    import psutil

    family = [server.pid, *(child.pid for child in psutil.Process(server.pid).children(recursive=True))]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    return family
