"""Workers time the canary of their device: built once, signed, judged by its history, and drained where it drifted."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.canaries import Verdict
from farm.domain.errors import DeviceUnavailableError
from farm.storage.database import SqlDatabase
from farm.storage.tables import canaries
from tests.factories import a_device_type
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test, settings_in, wait_until
from workers.canary import CanaryKeeper, wants_canary
from workers.device_lock import DeviceLock
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.domain.canaries import Canary
    from workers.agent import RunningWorker
    from workers.workplace import Workplace

#: A test tells nothing of how fast this machine is.
QUICK = BenchmarkSpec(warmup_ms=0, duration_ms=5, min_iterations=2, precision_percent=100)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm of one host."""
    with farm_of_test(tmp_path, probe_interpreter(Path(sys.executable), tmp_path / "probe")) as made:
        yield made


@pytest.fixture
def worker(place: FarmOfTest) -> RunningWorker:
    """Registered, and at nothing."""
    return place.worker()


class Keeper:
    """A canary's keeper, and what it had its worker do."""

    def __init__(self, worker: RunningWorker) -> None:
        self.workplace: Workplace = worker._consumer._place
        self.drains: list[str] = []

    def sung(self, mode: str = "on") -> Canary:
        """What it files, on a machine whose other work disturbs nothing."""
        farm = replace(self.workplace.farm, settings=replace(self.workplace.farm.settings, canary=mode))
        place = replace(self.workplace, farm=farm)
        keeper = CanaryKeeper(
            place, lambda: False, self.drains.append, benchmark=QUICK, gap_s=0.0, disturbing=()
        )
        return keeper.sing().canary


def history(place: FarmOfTest) -> list[Canary]:
    with place.farm.database.reading() as transaction:
        return transaction.canaries.of_device(place.device.uuid)


def pretend(place: FarmOfTest, *, median_ms: float) -> None:
    """Has all that was timed have taken so long, with nothing to disturb it."""
    assert isinstance(place.farm.database, SqlDatabase)
    with place.farm.database.engine.begin() as connection:
        connection.execute(update(canaries).values(median_ms=median_ms, verdict=Verdict.GOOD.value))


def test_it_is_built_once_and_timed_from_then_on(place: FarmOfTest, worker: RunningWorker) -> None:
    keeper = Keeper(worker)
    first, second = keeper.sung(), keeper.sung()
    assert first.engine == second.engine
    assert (first.toolchain.name, first.device_uuid) == ("onnxruntime", place.device.uuid)
    assert first.median_ms > 0
    assert "signed" in second.conditions
    assert [one.id for one in history(place)] == [first.id, second.id]
    assert not list(place.farm.settings.scratch.glob("canary.*"))


def test_an_engine_that_nobody_trusted_signed_is_not_run_but_built_anew(
    place: FarmOfTest, worker: RunningWorker
) -> None:
    keeper = Keeper(worker)
    first = keeper.sung()
    assert isinstance(place.farm.database, SqlDatabase)
    with place.farm.database.engine.begin() as connection:
        forged = {**first.conditions, "signed": {**first.conditions["signed"], "signature": "AAAA"}}
        connection.execute(update(canaries).values(conditions=forged))
    second = keeper.sung()
    assert second.conditions["signed"]["signature"] != "AAAA"


def test_an_engine_that_the_store_has_lost_is_built_anew(place: FarmOfTest, worker: RunningWorker) -> None:
    keeper = Keeper(worker)
    keeper.sung()
    for path in Path(str(place.farm.settings.store)).rglob("*"):
        if path.is_file():
            path.unlink()
    assert keeper.sung().id == 2


def test_a_device_that_drifted_is_marked_and_its_worker_drained_if_told_to(
    place: FarmOfTest, worker: RunningWorker
) -> None:
    keeper = Keeper(worker)
    for _ in range(3):
        keeper.sung()
    pretend(place, median_ms=1e-6)
    for mode, drains in (("on", 0), ("drain", 1)):
        assert keeper.sung(mode).verdict is Verdict.DRIFTED
        assert len(keeper.drains) == drains
    with place.farm.database.reading() as transaction:
        assert place.device.uuid in transaction.canaries.suspects()
    assert "its device has drifted" in keeper.drains[0]


def test_a_device_that_somebody_holds_is_left_alone(place: FarmOfTest, worker: RunningWorker) -> None:
    keeper = Keeper(worker)
    with (
        DeviceLock(place.device.uuid, folder=place.farm.settings.locks),
        pytest.raises(DeviceUnavailableError),
    ):
        keeper.sung()
    assert history(place) == []


def test_a_worker_times_it_when_it_starts_and_takes_jobs_afterwards(tmp_path: Path) -> None:
    own = probe_interpreter(Path(sys.executable), tmp_path / "probe")
    settings = settings_in(tmp_path / "home", canary="on")
    with farm_of_test(tmp_path, own, settings=settings) as place, place.worker():
        (job_id,) = place.submit()
        wait_until(lambda: history(place))
        place.succeeded(job_id)


@pytest.mark.parametrize(("mode", "wanted"), [("auto", False), ("on", True), ("drain", True), ("off", False)])
def test_an_embedded_farm_times_none_unless_it_is_told_to(
    worker: RunningWorker, mode: str, wanted: bool
) -> None:
    workplace = Keeper(worker).workplace
    settings = replace(workplace.farm.settings, canary=mode)
    assert wants_canary(replace(workplace, farm=replace(workplace.farm, settings=settings))) is wanted


def test_the_gpus_of_a_fleet_have_canaries_unless_they_are_told_not_to(worker: RunningWorker) -> None:
    workplace = Keeper(worker).workplace
    gpu = replace(workplace.device, device_type=a_device_type())
    for mode, wanted in (("auto", True), ("off", False)):
        settings = replace(workplace.farm.settings, broker_url="redis://broker:6379/0", canary=mode)
        place = replace(workplace, device=gpu, farm=replace(workplace.farm, settings=settings))
        assert wants_canary(place) is wanted
