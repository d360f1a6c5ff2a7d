"""A lost worker is shown until another one of its name was started."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cli.devices import device_document
from cli.workers import replaced, shared_names, state_of
from farm.domain.fleet import LEAVING, Worker
from tests.factories import a_device

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def worker(id_: str, name: str = "gpu07-0", *, minutes: int = 0, **changes: object) -> Worker:
    started = NOON + timedelta(minutes=minutes)
    values = {"is_live": False, "drain_reason": "", "current_job": "", "stopped_at": None, **changes}
    return Worker(
        id=id_, host="gpu07", pid=1, device=a_device(), toolchains=(), targets=(), name=name,
        started_at=started, **{"heartbeat_at": started, **values},  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_lost_worker_is_missed() -> None:
    lost = worker("w-1")
    assert state_of(lost) == "lost"
    assert replaced([lost, worker("w-2", "gpu08-0", minutes=1, is_live=True)]) == set()


def test_a_lost_worker_that_was_started_again_is_not_missed() -> None:
    assert replaced([worker("w-1"), worker("w-2", minutes=1, is_live=True)]) == {"w-1"}


def test_of_several_lost_ones_of_a_name_the_newest_is_missed() -> None:
    assert replaced([worker("w-1"), worker("w-2", minutes=1)]) == {"w-1"}


def test_of_two_that_ran_at_once_under_one_name_the_lost_one_is_missed() -> None:
    lost = worker("w-1", heartbeat_at=NOON + timedelta(minutes=5))
    assert replaced([lost, worker("w-2", minutes=1, is_live=True)]) == set()


def test_workers_of_releases_without_names_are_all_missed() -> None:
    assert replaced([worker("w-1", ""), worker("w-2", "", minutes=1)]) == set()


def test_a_device_whose_only_worker_is_not_there_is_unserved_and_else_as_its_workers_are() -> None:
    def state(*live: Worker) -> object:
        return device_document(a_device(), "h200", live, {})["state"]

    assert state() == "unserved"
    assert state(worker("w-1", is_live=True)) == "idle"
    assert state(worker("w-1", is_live=True, drain_reason="new driver")) == "drained"
    # Two releases of TensorRT on one GPU: one of the workers still takes jobs.
    assert state(worker("w-1", drain_reason="new driver"), worker("w-2", "gpu07-b")) == "idle"
    assert state(worker("w-1", current_job="j-1"), worker("w-2", "gpu07-b")) == "busy"


def test_live_workers_of_one_name_are_told_of_with_their_places() -> None:
    pair = [worker("w-1", is_live=True), worker("w-2", is_live=True)]
    assert shared_names(pair) == [("gpu07-0", ["gpu07 pid 1", "gpu07 pid 1"])]


def test_a_worker_that_makes_way_for_its_successor_shares_no_name() -> None:
    leaving = worker("w-1", is_live=True, drain_reason=LEAVING)
    assert shared_names([leaving, worker("w-2", is_live=True)]) == []
