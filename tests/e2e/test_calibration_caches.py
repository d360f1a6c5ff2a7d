"""`farm caches --calibration`: what INT8 builds measured, as a list, as a file, and disowned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.bootstrap import open_farm
from farm.domain.calibration_caches import CalibrationCacheKey
from farm.domain.digests import digest_of_bytes
from farm.settings import read_settings
from tests.e2e import models

if TYPE_CHECKING:
    from tests.e2e.driver import FarmCommand

CACHE = b"TRT-8600-EntropyCalibration2\nx: 3c010a14\n"
ID = digest_of_bytes(CACHE).sha256[:12]


@pytest.fixture
def filled(farm: FarmCommand) -> FarmCommand:
    """A farm that holds two calibration caches of a model."""
    farm.run("submit", models.save(models.dense(batch=1), farm.folder / "dense.onnx"), "--gpu", "cpu")
    opened = open_farm(read_settings(environment=farm.environment), create=False)
    with opened.database.transaction() as transaction:
        job = transaction.jobs.get(transaction.jobs.submissions(1)[0].cells[0].job_id)
        key = CalibrationCacheKey(
            job.spec.model_sha256,
            digest_of_bytes(b"samples").sha256,
            "ENTROPY_CALIBRATION_2",
            job.target.toolchain,
        )
        transaction.calibration_caches.file(key, opened.store.put_bytes(CACHE))
        other = replace(key, algorithm="MINMAX_CALIBRATION")
        transaction.calibration_caches.file(other, opened.store.put_bytes(CACHE + b"y: 3c010a14\n"))
        transaction.calibration_caches.count(key)
    opened.database.close()
    return farm


def test_there_are_none_at_first(farm: FarmCommand) -> None:
    assert farm.json("caches", "--calibration") == []
    assert "No calibration cache" in farm.run("caches", "--calibration").err


def test_they_are_listed_with_what_they_hold_for(filled: FarmCommand) -> None:
    assert filled.json("caches") == [], "timing caches are another list"
    listed = {cache["algorithm"]: cache for cache in filled.json("caches", "--calibration")}
    found = listed["ENTROPY_CALIBRATION_2"]
    assert (found["id"], found["model"], found["lent"]) == (ID, "dense@1", 1)
    assert (found["size_bytes"], listed["MINMAX_CALIBRATION"]["lent"]) == (len(CACHE), 0)
    assert ID in filled.run("caches", "--calibration").out


def test_one_is_written_as_tensorrt_wrote_it(filled: FarmCommand) -> None:
    path = filled.folder / "dense.cache"
    filled.run("caches", "show-calibration", ID[:8], "-o", path)
    assert path.read_bytes() == CACHE
    assert filled.run("caches", "show-calibration", ID).out.encode() == CACHE
    assert "no calibration cache" in filled.refused("caches", "show-calibration", "0" * 12, code=3)


def test_one_or_all_are_disowned(filled: FarmCommand) -> None:
    assert "1 calibration cache(s)" in filled.run("caches", "drop", "--calibration", ID, "--yes").out
    assert [cache["lent"] for cache in filled.json("caches", "--calibration")] == [0]
    assert filled.json("caches", "drop", "--calibration", "all") == {"dropped": 1}
    assert filled.json("caches", "--calibration") == []


def test_which_caches_are_meant_must_be_said(filled: FarmCommand) -> None:
    for words in ((), ("--gpu", "cpu", "--calibration", ID), ("--flags", "fp16", "--calibration", ID)):
        assert "one of them" in filled.run("caches", "drop", *words, code=2).err
