"""What a job's engine is fed with: each batch in the profile that fits it best, samples in the one that takes them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import ShapeRange
from tests.factories import a_build_spec, a_job_request, a_model, a_tensor
from workers.array_shapes import array_shapes
from workers.materials import (
    ReferenceKey,
    chunk_shapes,
    chunk_values,
    further_calls,
    timed_calls,
)

if TYPE_CHECKING:
    from pathlib import Path

MODEL = a_model(inputs=(a_tensor("x", (-1, -1)), a_tensor("size", (2,), "int64")))


def profile(low: int, mid: int, high: int, width: int, *held: int) -> dict[str, ShapeRange]:
    return {
        "x": ShapeRange((low, width), (mid, width), (high, width)),
        "size": ShapeRange(held, held, held),
    }


SMALL, LARGE = profile(1, 8, 16, 4, 4, 4), profile(1, 1, 2, 64, 64, 64)


def a_job(*profiles: dict[str, ShapeRange], batches: tuple[int, ...] = (1, 8)) -> Any:
    return SimpleNamespace(spec=a_build_spec(profiles=profiles), request=a_job_request(batches=batches))


def test_each_batch_is_measured_in_the_profile_that_fits_it_best() -> None:
    job = a_job(SMALL, LARGE)
    assert timed_calls(MODEL, job) == (
        (1, {"x": (1, 64), "size": (2,)}, {"size": (64, 64)}),
        (8, {"x": (8, 4), "size": (2,)}, {"size": (4, 4)}),
    )


def test_random_samples_are_made_for_the_first_profile() -> None:
    job = a_job(SMALL, LARGE)
    assert chunk_shapes(MODEL, job) == {"x": (8, 4), "size": (2,)}
    assert chunk_values(MODEL, job) == {"size": (4, 4)}


def test_the_other_profiles_are_verified_at_what_they_are_tuned_for() -> None:
    assert further_calls(MODEL, a_job(SMALL, LARGE)) == (({"x": (1, 64), "size": (2,)}, {"size": (64, 64)}),)
    assert further_calls(MODEL, a_job(SMALL)) == ()


def test_given_samples_run_in_the_profile_that_takes_their_size(tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.zeros((30, 64), np.float32))
    job = a_job(SMALL, LARGE)
    assert chunk_shapes(MODEL, job, samples) == {"x": (1, 64), "size": (2,)}
    assert chunk_values(MODEL, job, samples) == {"size": (64, 64)}
    assert chunk_shapes(MODEL, a_job(SMALL), samples) == {"x": (8, 4), "size": (2,)}, "there is no choice"


def test_a_static_model_has_its_own_shapes_and_no_values() -> None:
    model = a_model(inputs=(a_tensor("x", (4, 2)),))
    job = a_job(batches=(4,))
    assert chunk_shapes(model, job) == {"x": (4, 2)}
    assert chunk_values(model, job) == {}
    assert timed_calls(model, job) == ((4, {"x": (4, 2)}, {}),)


def test_a_reference_at_other_values_is_another_one() -> None:
    keys = [
        ReferenceKey("m", "", 0, {"x": (8, 4)}, "onnxruntime 1", values) for values in ({}, {"size": (4, 4)})
    ]
    assert keys[0].name != keys[1].name
    more = replace(keys[0], further=(({"x": (1, 64)}, {}),))
    assert more.name not in {key.name for key in keys}
    assert keys[0].name == ReferenceKey("m", "", 0, {"x": (8, 4)}, "onnxruntime 1").name


def test_the_shapes_of_arrays_are_read_without_them(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez_compressed(path, x=np.zeros((5, 3)), scalar=np.float32(1), **{"a/b": np.zeros(0)})
    assert array_shapes(path) == {"x": (5, 3), "scalar": (), "a/b": (0,)}
    for content in (b"", b"no archive", path.read_bytes()[:60]):
        path.write_bytes(content)
        with pytest.raises(InvalidSpecError, match=r"not an \.npz file"):
            array_shapes(path)
