"""A calibration cache is taken by the release and calibrator that wrote it, and the engine's details say so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from workers.toolchains import trt_calibration
from workers.toolchains.trt_calibration_cache import (
    CalibrationCache,
    count_entries,
    version_number,
    why_not_taken,
)

if TYPE_CHECKING:
    from pathlib import Path

ENTROPY = "ENTROPY_CALIBRATION_2"
CACHE = b"TRT-8600-EntropyCalibration2\nx: 3c010a14\n(Unnamed Layer* 0) [Convolution]_output: 3d0a3f1c\n"


@pytest.mark.parametrize(
    ("version", "number"),
    [((8, 6, 0), 8600), ((8, 6, 1, 6), 8601), ((8, 5, 3), 8503), ((10, 3, 0), 100300), ((10, 16, 1), 101601)],
)
def test_the_number_of_a_release_is_tensorrts_own(version: tuple[int, ...], number: int) -> None:
    assert version_number(version) == number


def test_one_of_this_release_and_calibrator_is_taken() -> None:
    assert why_not_taken(CACHE, (8, 6, 0), ENTROPY) == ""
    assert why_not_taken(CACHE.replace(b"\n", b"\r\n"), (8, 6, 0), ENTROPY) == ""
    assert count_entries(CACHE) == 2


@pytest.mark.parametrize(
    ("data", "version", "algorithm", "why"),
    [
        (CACHE, (8, 6, 1), ENTROPY, "of TensorRT 8600, and this is 8601"),
        (CACHE, (8, 6, 0), "MINMAX_CALIBRATION", "of EntropyCalibration2, and MinMaxCalibration is wanted"),
        (CACHE, (8, 6, 0), "ENTROPY_CALIBRATION", "and EntropyCalibration is wanted"),
        (CACHE, (8, 6, 0), "LEGACY_CALIBRATION", "and LEGACY_CALIBRATION is wanted"),
        (b"", (8, 6, 0), ENTROPY, "no calibration cache"),
        (b"\x00\xff" * 99, (8, 6, 0), ENTROPY, "no calibration cache"),
        (b"TRT-8600-EntropyCalibration2\n", (8, 6, 0), ENTROPY, "no entries"),
    ],
)
def test_any_other_is_put_aside_with_the_reason(
    data: bytes, version: tuple[int, ...], algorithm: str, why: str
) -> None:
    assert why in why_not_taken(data, version, algorithm)


def held(folder: Path, data: bytes | None) -> CalibrationCache:
    """A calibrator's cache, with what it is lent."""
    path = folder / "in"
    if data is not None:
        path.write_bytes(data)
    return CalibrationCache.of((8, 6, 0), ENTROPY, None if data is None else path, folder / "out")


def test_what_was_measured_is_written(tmp_path: Path) -> None:
    cache = held(tmp_path, None)
    # TensorRT hands over its own memory.
    cache.keep(memoryview(np.frombuffer(CACHE, np.uint8)))
    assert (tmp_path / "out").read_bytes() == CACHE == bytes(cache)
    assert cache.facts(batches=8) == {"taken": False, "entries": 2, "batches": 8}


def test_what_was_lent_is_told_as_taken_when_no_batch_was_fed(tmp_path: Path) -> None:
    cache = held(tmp_path, CACHE)
    assert cache.lent == CACHE == bytes(cache)
    assert cache.facts(batches=0) == {"taken": True, "entries": 2, "batches": 0}


def test_a_builder_that_measures_all_the_same_has_not_taken_it(tmp_path: Path) -> None:
    assert held(tmp_path, CACHE).facts(batches=3)["taken"] is False


def test_a_foreign_one_is_not_lent_and_the_details_say_why(tmp_path: Path) -> None:
    cache = held(tmp_path, CACHE.replace(b"8600", b"8503"))
    assert cache.lent is None
    assert "of TensorRT 8503" in cache.facts(batches=8)["note"]


def test_one_that_can_not_be_read_is_not_lent(tmp_path: Path) -> None:
    cache = CalibrationCache.of((8, 6, 0), ENTROPY, tmp_path / "missing", None)
    assert (cache.lent, "can not be read" in cache.note) == (None, True)


class Calibrator:
    """TensorRT's side: what a build does with a calibrator."""

    def measure(self: Any) -> list[Any]:
        """The cache that it read, else all batches that it was fed."""
        lent = self.read_calibration_cache()
        if lent is not None:
            return [bytes(lent)]
        batches = list(iter(lambda: self.get_batch([]), None))
        self.write_calibration_cache(memoryview(CACHE))
        return batches


@pytest.mark.parametrize(("lent", "fed"), [(None, 3), (CACHE, 0), (CACHE.replace(b"8600", b"8601"), 3)])
def test_a_calibrator_feeds_samples_only_where_no_cache_fits(
    tmp_path: Path, lent: bytes | None, fed: int
) -> None:
    trt = SimpleNamespace(IInt8EntropyCalibrator2=Calibrator)
    feed = trt_calibration.Feed(None, [{}, {}, {}], 8, lambda _fraction, _message: None)  # type: ignore[arg-type]
    calibrator = trt_calibration._new_calibrator(trt, ENTROPY, feed, held(tmp_path, lent))
    assert calibrator.get_batch_size() == 8
    assert calibrator.measure() == ([[]] * 3 if fed else [lent])
    facts = trt_calibration.calibration_details(calibrator)["calibration_cache"]
    assert (facts["taken"], facts["entries"], facts["batches"]) == (fed == 0, 2, fed)
    assert (tmp_path / "out").exists() == bool(fed)


def test_without_a_calibrator_nothing_is_told() -> None:
    assert trt_calibration.calibration_details(None) == {}


@pytest.mark.parametrize("written", [17, None], ids=["a pointer", "nothing"])
def test_what_can_not_be_kept_fails_no_build(tmp_path: Path, written: Any) -> None:
    cache = held(tmp_path, None)
    cache.keep(written)
    assert not (tmp_path / "out").exists()
    assert "was not written" in cache.facts(batches=8)["note"]


def test_a_cache_that_does_not_say_its_release_is_not_kept(tmp_path: Path) -> None:
    # As TensorRT 8.6.0's LEGACY_CALIBRATION writes it (seen on an H200).
    out = tmp_path / "cache"
    cache = CalibrationCache.of((8, 6, 0), "LEGACY_CALIBRATION", None, out)
    cache.keep(b"0 3ff0000000000000 3fefff2e48e8a71e\nx: 3c010a14\n")
    assert not out.exists()
    assert cache.error is None
    assert bytes(cache), "the build that measured it has its scales"
