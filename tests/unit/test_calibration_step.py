"""A build is lent the ranges that are filed, and gives back what it measured; nothing about that fails it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import workers.calibration
from farm.domain.calibration import Calibration
from farm.domain.calibration_caches import calibration_cache_key
from farm.domain.errors import StoreUnavailableError
from farm.services.calibration_caches import return_calibration_cache
from tests.factories import a_build_spec, a_digest
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from workers.calibration import CalibrationStep
from workers.child.requests import AttemptRequest
from workers.toolchains.toolchain import BuildInput, BuildOutput, CalibrationInput

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.calibration_caches import ReturnedCalibrationCache
    from farm.domain.digests import Digest

CALIBRATION = Calibration(a_digest("samples").sha256)
KEY = calibration_cache_key(a_build_spec(calibration=CALIBRATION))
assert KEY is not None
MEASURED = {"calibration_cache": {"taken": False, "entries": 1}}
TAKEN = {"calibration_cache": {"taken": True, "entries": 1}}


class Farm:
    """A database and a store, and steps of builds that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = InMemoryDatabase()
        self.store = InMemoryArtifactStore()

    def step(self, calibration: Calibration | None = CALIBRATION) -> CalibrationStep:
        place: Any = SimpleNamespace(farm=SimpleNamespace(database=self.database, store=self.store))
        job: Any = SimpleNamespace(id="j-1", spec=a_build_spec(calibration=calibration))
        journal: Any = SimpleNamespace(insist=lambda act: act())
        return CalibrationStep(place, job, self.folder, journal)

    def lent(self, step: CalibrationStep) -> CalibrationInput:
        """What a build gets to calibrate with."""
        folder = self.folder
        build = BuildInput(
            folder / "m", folder / "e", "int8", calibration=CalibrationInput("ENTROPY_CALIBRATION_2")
        )
        request = step.with_cache(AttemptRequest("fake", "1", folder / "e", build=build))
        assert request.build is not None
        assert request.build.calibration is not None
        return request.build.calibration

    def measured(self, step: CalibrationStep, data: bytes) -> ReturnedCalibrationCache | None:
        """What comes back when the build measures and writes that."""
        path = self.lent(step).cache_out
        assert path is not None
        path.write_bytes(data)
        return step.give_back(BuildOutput(details=MEASURED))

    def file(self, returned: ReturnedCalibrationCache | None) -> bool:
        assert returned is not None
        with self.database.transaction() as transaction:
            return return_calibration_cache(transaction, returned)

    def filed(self) -> Digest | None:
        with self.database.reading() as transaction:
            assert KEY is not None
            return transaction.calibration_caches.find(KEY)


@pytest.fixture
def farm(tmp_path: Path) -> Farm:
    return Farm(tmp_path)


def test_what_is_filed_is_lent_as_a_file(farm: Farm) -> None:
    assert farm.lent(farm.step()).cache_in is None
    assert farm.file(farm.measured(farm.step(), b"ranges"))
    path = farm.lent(farm.step()).cache_in
    assert path is not None
    assert path.read_bytes() == b"ranges"


def test_a_build_that_took_it_is_counted_and_files_nothing(farm: Farm) -> None:
    farm.file(farm.measured(farm.step(), b"ranges"))
    step = farm.step()
    farm.lent(step)
    assert not farm.file(step.give_back(BuildOutput(details=TAKEN)))
    with farm.database.reading() as transaction:
        assert [cache.lent for cache in transaction.calibration_caches.all()] == [1]


def test_of_two_that_measured_at_once_the_first_stays(farm: Farm) -> None:
    first, second = farm.measured(farm.step(), b"first"), farm.measured(farm.step(), b"second")
    assert (farm.file(first), farm.file(second)) == (True, False)
    assert farm.filed() == farm.store.put_bytes(b"first")


def test_one_that_was_lent_and_not_taken_gives_way(farm: Farm) -> None:
    farm.file(farm.measured(farm.step(), b"foreign"))
    assert farm.file(farm.measured(farm.step(), b"own"))
    assert farm.filed() == farm.store.put_bytes(b"own")


def test_one_that_the_store_has_lost_is_not_lent_and_gives_way(farm: Farm) -> None:
    farm.file(farm.measured(farm.step(), b"ranges"))
    farm.store.spoil(farm.store.put_bytes(b"ranges"), b"something else")
    step = farm.step()
    assert farm.lent(step).cache_in is None
    assert farm.file(farm.measured(step, b"measured anew"))


def test_what_does_not_calibrate_has_nothing_to_do_with_caches(farm: Farm) -> None:
    step = farm.step(calibration=None)
    request = AttemptRequest(
        "fake", "1", farm.folder / "e", build=BuildInput(farm.folder, farm.folder, "fp32")
    )
    assert step.with_cache(request) is request
    assert step.place_samples(lambda _message: None) is None
    assert step.give_back(BuildOutput()) is None
    measuring = replace(request, build=None)
    assert farm.step().with_cache(measuring) is measuring


def test_a_toolchain_that_tells_nothing_of_a_cache_gives_none_back(farm: Farm) -> None:
    step = farm.step()
    path = farm.lent(step).cache_out
    assert path is not None
    path.write_bytes(b"ranges")
    assert step.give_back(BuildOutput()) is None


def test_nothing_written_is_nothing_filed(farm: Farm) -> None:
    assert farm.measured(farm.step(), b"") is None
    (farm.folder / "calibration.out").unlink()
    assert farm.step().give_back(BuildOutput(details=MEASURED)) is None


def test_a_link_in_its_place_is_not_followed(farm: Farm) -> None:
    (farm.folder / "secret").write_text("of the worker")
    (farm.folder / "calibration.out").symlink_to(farm.folder / "secret")
    assert farm.step().give_back(BuildOutput(details=MEASURED)) is None


def test_one_that_is_too_big_is_kept_out(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers.calibration, "MAX_CALIBRATION_CACHE_BYTES", 5)
    assert farm.measured(farm.step(), b"ranges") is None
    assert farm.measured(farm.step(), b"range") is not None


def test_a_store_that_is_full_costs_the_cache_and_not_the_build(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path) -> Digest:
        raise StoreUnavailableError("the store is full")

    monkeypatch.setattr(farm.store, "put_file", full)
    assert farm.measured(farm.step(), b"ranges") is None
