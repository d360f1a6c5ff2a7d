"""What a calibration cache holds for: the model, the samples, the algorithm and the toolchain; no more, no less."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from farm.domain.calibration import Calibration
from farm.domain.calibration_caches import CalibrationCacheKey, calibration_cache_key
from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.shapes import ShapeRange
from farm.services.calibration_caches import named_calibration_caches, report_calibration_caches
from tests.factories import a_build_spec, a_device_type, a_digest, a_target, a_toolchain_id
from tests.fakes import InMemoryDatabase

DATA = Calibration(a_digest("samples").sha256, batch=8)
RANDOM = Calibration(samples=8)
FUSED = {"calibration_algorithm": "ENTROPY_CALIBRATION"}


def key(**changes: Any) -> CalibrationCacheKey:
    """Where the cache of a build is filed."""
    found = calibration_cache_key(
        a_build_spec(**{"precision": "int8", "builder_config": {}, "calibration": DATA, **changes})
    )
    assert found is not None
    return found


def profiles(*shape: int) -> tuple[dict[str, ShapeRange], ...]:
    return ({"input": ShapeRange(shape, shape, shape)},)


def test_what_is_not_calibrated_has_none() -> None:
    assert calibration_cache_key(a_build_spec(calibration=None)) is None


@pytest.mark.parametrize(
    "same",
    [
        {"precision": "int8+fp16"},
        {"builder_config": {"builder_optimization_level": 5}},
        {"builder_config": {"calibration_algorithm": "ENTROPY_CALIBRATION_2"}},
        {"profiles": profiles(4, 3, 8, 8)},
        {"salt": "again"},
        {"target": a_target(device_type=a_device_type(product_name="NVIDIA L4"))},
    ],
    ids=lambda same: next(iter(same)),
)
def test_builds_that_measure_the_same_share_it(same: dict[str, Any]) -> None:
    assert key(**same) == key()


@pytest.mark.parametrize(
    "other",
    [
        {"model_sha256": a_digest("other").sha256},
        {"calibration": Calibration(a_digest("other samples").sha256, batch=8)},
        {"calibration": replace(DATA, samples=16)},
        {"calibration": replace(DATA, batch=4)},
        {"calibration": RANDOM},
        {"builder_config": {"calibration_algorithm": "MINMAX_CALIBRATION"}},
        {"target": a_target(toolchain=a_toolchain_id(version="8.6.1"))},
        {"plugins": (a_digest("plugin").sha256,)},
        {"io_formats": {"input": "int8:chw"}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_builds_that_measure_something_else_do_not(other: dict[str, Any]) -> None:
    assert key(**other) != key()


def test_random_samples_have_the_shapes_of_the_profile() -> None:
    def random(*shape: int) -> CalibrationCacheKey:
        return key(calibration=RANDOM, profiles=profiles(*shape))

    assert random(1, 3, 8, 8) != random(1, 3, 16, 16)
    assert random(1, 3, 8, 8) == random(4, 3, 8, 8), "the calibration has a batch of its own"


@pytest.mark.parametrize(
    "other",
    [
        {"precision": "int8+fp16"},
        {"target": a_target(device_type=a_device_type(product_name="NVIDIA L4"))},
        {"builder_config": {**FUSED, "builder_optimization_level": 5}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_ranges_measured_after_fusion_hold_for_these_fusions_alone(other: dict[str, Any]) -> None:
    assert key(**{"builder_config": FUSED, **other}) != key(builder_config=FUSED)


def test_caches_are_named_by_the_first_digits_of_their_digest() -> None:
    database = InMemoryDatabase()
    digest = a_digest("cache")
    with database.transaction() as transaction:
        transaction.calibration_caches.file(key(), digest)
        transaction.calibration_caches.file(key(precision="int8", calibration=RANDOM), digest)
        reports = report_calibration_caches(transaction)
        assert {report.id for report in reports} == {digest.sha256[:12]}
        assert named_calibration_caches(transaction, digest.sha256[:8].upper()) == reports
        for word in (digest.sha256[:5], "0" * 12, "all"):
            with pytest.raises(NotFoundError, match="no calibration cache"):
                named_calibration_caches(transaction, word)


def test_digits_that_name_several_caches_are_refused() -> None:
    database = InMemoryDatabase()
    first = a_digest("cache")
    second = replace(first, sha256=first.sha256[:10] + "0" * 54)
    with database.transaction() as transaction:
        transaction.calibration_caches.file(key(), first)
        transaction.calibration_caches.file(key(calibration=RANDOM), second)
        with pytest.raises(InvalidRequestError, match="several"):
            named_calibration_caches(transaction, first.sha256[:8])
