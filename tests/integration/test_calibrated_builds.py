"""What INT8 is calibrated with reaches the toolchain, byte by byte, and is kept as long as a key names it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from farm.domain.calibration import Calibration
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm of one host."""
    with farm_of_test(tmp_path, probe_interpreter(Path(sys.executable), tmp_path / "probe")) as made:
        yield made


def kept_samples(place: FarmOfTest, folder: Path) -> str:
    """Samples as `farm submit --calibration` keeps them; their digest."""
    path = folder / "samples.npz"
    np.savez(path, x=np.arange(64, dtype=np.float32).reshape(16, 4))
    digest = place.farm.store.put_file(path)
    with place.farm.database.transaction() as transaction:
        transaction.engines.add_artifact(digest, "calibration")
    return digest.sha256


def test_the_samples_reach_the_toolchain_with_the_way_to_use_them(place: FarmOfTest, tmp_path: Path) -> None:
    data = kept_samples(place, tmp_path)
    wanted = Calibration(data, batch=4, samples=12)
    with place.worker():
        (job_id,) = place.submit(precisions=("int8",), calibration=wanted, calibration_algorithm="minmax")
        place.succeeded(job_id)
    assert place.engine(job_id).precision_note == f"MINMAX_CALIBRATION {data} 4 12 0"
    assert place.job(job_id).spec.calibration == wanted


def test_random_samples_are_asked_for_by_name_and_stand_in_the_key(place: FarmOfTest) -> None:
    with place.worker():
        (job_id,) = place.submit(precisions=("int8",), calibration=Calibration(samples=8, seed=5))
        place.succeeded(job_id)
    assert place.engine(job_id).precision_note == "ENTROPY_CALIBRATION_2 random 1 8 5"
    assert place.job(job_id).spec.as_json()["calibration"]["data"] == "random"


def test_samples_that_a_job_or_an_engine_names_are_no_garbage(place: FarmOfTest, tmp_path: Path) -> None:
    data = kept_samples(place, tmp_path)
    with place.farm.database.reading() as transaction:
        assert data not in transaction.garbage.referenced()
    place.submit(precisions=("int8",), calibration=Calibration(data))
    with place.farm.database.reading() as transaction:
        assert data in transaction.garbage.referenced()
