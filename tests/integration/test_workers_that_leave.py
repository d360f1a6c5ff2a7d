"""What the farm says of a worker that drains at its end, of one that was killed, and of one that waits for its device."""

from __future__ import annotations

import os
import threading

from cli.workers import state_of
from farm.services.waiting import why_it_waits
from tests.fake_toolchain.harness import FarmOfTest, wait_until
from workers.device_lock import DeviceLock


def states(place: FarmOfTest) -> dict[str, str]:
    """Of all workers, by their id."""
    with place.farm.database.reading() as transaction:
        return {worker.id: state_of(worker) for worker in transaction.fleet.workers()}


def lines_of(place: FarmOfTest, job_id: str) -> str:
    """What `farm queue --why` says."""
    with place.farm.database.reading() as transaction:
        return "\n".join(why_it_waits(transaction, job_id).lines)


def test_a_worker_that_finishes_its_job_before_it_stops_is_draining_and_takes_nothing_new(
    place: FarmOfTest,
) -> None:
    place.fake.does("wait")
    with place.worker() as worker:
        (running,) = place.submit()
        place.fake.pid()
        (waiting,) = place.submit(salt="other")
        leaving = threading.Thread(target=worker.drain, args=(60, threading.Event()))
        leaving.start()
        wait_until(lambda: states(place) == {worker.id: "draining"})
        assert "takes nothing new: it was told to stop" in lines_of(place, waiting)
        assert "it is next" not in lines_of(place, waiting)
        with place.farm.database.reading() as transaction:
            assert [load.is_stranded for load in transaction.jobs.loads() if load.waiting] == [True]
        place.fake.go()
        leaving.join()
        place.succeeded(running)
    assert place.attempts(waiting) == []
    with place.worker():
        place.succeeded(waiting)


def test_a_worker_that_was_killed_while_it_was_idle_is_lost_as_soon_as_another_one_is_there(
    place: FarmOfTest,
) -> None:
    with place.worker_process(name="killed") as killed:
        (first,) = states(place)
        killed.kill()
        with place.worker(name="another") as another:
            assert states(place) == {another.id: "live", first: "lost"}


def test_who_waits_for_a_device_that_somebody_holds_says_so(place: FarmOfTest) -> None:
    held = DeviceLock(place.device.uuid, folder=place.farm.settings.locks, purpose="somebody else")
    with place.worker():
        with held:
            (job_id,) = place.submit()
            wait_until(lambda: bool(place.attempts(job_id)) and bool(place.attempts(job_id)[0].waits))
            said = lines_of(place, job_id)
            assert f"waiting: {place.device.uuid} is held by process {os.getpid()}" in said
            assert "somebody else" in said
        place.succeeded(job_id)
