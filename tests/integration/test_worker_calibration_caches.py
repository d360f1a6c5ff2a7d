"""What one build measured is lent to all that calibrate the same model with the same samples, and to nobody else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.calibration import Calibration
from farm.domain.calibration_caches import calibration_cache_key
from farm.domain.digests import digest_of_bytes
from farm.domain.jobs import JobState
from farm.domain.thresholds import Thresholds
from farm.domain.verification import VerificationSpec
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test, write_model
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.domain.calibration_caches import FiledCalibrationCache
    from farm.domain.digests import Digest


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm of one host."""
    with farm_of_test(tmp_path, probe_interpreter(Path(sys.executable), tmp_path / "probe")) as made:
        yield made


@pytest.fixture
def data(place: FarmOfTest, tmp_path: Path) -> Calibration:
    """Samples that the farm keeps."""
    return kept_samples(place, tmp_path, 0.0)


def kept_samples(place: FarmOfTest, folder: Path, first: float) -> Calibration:
    path = folder / "samples.npz"
    np.savez(path, x=np.arange(64, dtype=np.float32).reshape(16, 4) + np.float32(first))
    digest = place.farm.store.put_file(path)
    with place.farm.database.transaction() as transaction:
        transaction.engines.add_artifact(digest, "calibration")
    return Calibration(digest.sha256)


def built(place: FarmOfTest, calibration: Calibration, **wishes: Any) -> str:
    """The id of a job with INT8 that has succeeded."""
    (job_id,) = place.submit(**{"precisions": ("int8",), "calibration": calibration, **wishes})
    place.succeeded(job_id)
    return job_id


def taken(place: FarmOfTest, job_id: str) -> bool:
    """Whether a build took its ranges from a cache."""
    facts = place.engine(job_id).details["calibration_cache"]
    assert facts["entries"] == 2
    return bool(facts["taken"])


def filed(place: FarmOfTest) -> list[FiledCalibrationCache]:
    with place.farm.database.reading() as transaction:
        return transaction.calibration_caches.all()


def file_instead(place: FarmOfTest, job_id: str, new: Digest) -> None:
    """Has another cache lent from now on."""
    key = calibration_cache_key(place.job(job_id).spec)
    assert key is not None
    with place.farm.database.transaction() as transaction:
        found = transaction.calibration_caches.find(key)
        assert transaction.calibration_caches.file(key, new, expected=found)


def test_the_second_build_is_lent_what_the_first_measured(place: FarmOfTest, data: Calibration) -> None:
    with place.worker():
        first = built(place, data)
        second = built(place, data, salt="again")
    assert (taken(place, first), taken(place, second)) == (False, True)
    (cache,) = filed(place)
    assert cache.lent == 1
    assert cache.key == calibration_cache_key(place.job(first).spec)
    held = b"".join(place.farm.store.chunks(cache.digest))
    assert held == b"a fake calibration cache of ENTROPY_CALIBRATION_2\nx: 3f800000\ny: 3f800000\n"


def test_other_precisions_of_the_model_share_it(place: FarmOfTest, data: Calibration) -> None:
    with place.worker():
        assert not taken(place, built(place, data))
        assert taken(place, built(place, data, precisions=("int8+fp16",)))


def test_another_model_is_not_lent_it(place: FarmOfTest, data: Calibration, tmp_path: Path) -> None:
    other = write_model(tmp_path / "other.onnx", weights=np.ones((4, 3), np.float32))
    with place.worker():
        built(place, data)
        assert not taken(place, built(place, data, model=other))
    assert len({cache.key.model_sha256 for cache in filed(place)}) == 2


def test_other_samples_are_measured_anew(place: FarmOfTest, data: Calibration, tmp_path: Path) -> None:
    with place.worker():
        built(place, data)
        assert not taken(place, built(place, kept_samples(place, tmp_path, 1.0)))
        assert not taken(place, built(place, Calibration(data.data_sha256, samples=8)))


def test_another_algorithm_measures_anew(place: FarmOfTest, data: Calibration) -> None:
    with place.worker():
        built(place, data)
        assert not taken(place, built(place, data, calibration_algorithm="minmax"))


def test_one_that_does_not_fit_is_put_aside_and_replaced(place: FarmOfTest, data: Calibration) -> None:
    with place.worker():
        first = built(place, data)
        foreign = place.farm.store.put_bytes(b"TRT-8600-EntropyCalibration2\nx: 3f800000\n")
        file_instead(place, first, foreign)
        assert not taken(place, built(place, data, salt="again"))
        assert taken(place, built(place, data, salt="and again"))
    (cache,) = filed(place)
    assert cache.digest != foreign


def test_one_that_the_store_has_lost_is_replaced(place: FarmOfTest, data: Calibration) -> None:
    with place.worker():
        first = built(place, data)
        lost = digest_of_bytes(b"never kept")
        file_instead(place, first, lost)
        assert not taken(place, built(place, data, salt="again"))
    (cache,) = filed(place)
    assert cache.digest != lost


def test_what_a_failed_build_measured_is_lent_to_nobody(place: FarmOfTest, data: Calibration) -> None:
    beyond_reach = VerificationSpec(thresholds=Thresholds(min_cosine=1.5))
    with place.worker():
        (job_id,) = place.submit(precisions=("int8",), calibration=data, verification=beyond_reach)
        assert place.ended(job_id).state is JobState.FAILED
    assert filed(place) == []


def test_a_cache_is_no_garbage(place: FarmOfTest, data: Calibration) -> None:
    with place.worker():
        built(place, data)
    (cache,) = filed(place)
    with place.farm.database.transaction() as transaction:
        assert cache.digest.sha256 in transaction.garbage.referenced()
        transaction.calibration_caches.drop(cache.key)
        assert cache.digest.sha256 not in transaction.garbage.referenced()
        assert transaction.garbage.kinds()[cache.digest.sha256] == "calibration-cache"


def test_a_build_without_calibration_has_none(place: FarmOfTest) -> None:
    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    assert "calibration_cache" not in place.engine(job_id).details
    assert filed(place) == []
