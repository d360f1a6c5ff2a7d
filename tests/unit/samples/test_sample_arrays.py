"""Samples that are no images: a file for each, with an array or one per input; or one array with all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.models import Tensor
from tests.unit.samples.pictures import arrays_of, gray_input, made

if TYPE_CHECKING:
    from pathlib import Path

VOLUMES = Tensor("volume", "float32", (-1, 1, 4, 5, 6))


def test_volumes_come_from_a_file_each(tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    for number in range(3):
        whole = np.full((1, 1, 4, 5, 6), number, np.float32)
        np.save(folder / f"{number}.npy", whole if number else whole[0])
    assert arrays_of(folder, VOLUMES)["volume"][:, 0, 0, 0, 0].tolist() == [0, 1, 2]


def test_models_with_several_inputs_take_a_file_of_all_for_each_sample(tmp_path: Path) -> None:
    folder, inputs = tmp_path / "texts", (Tensor("ids", "int64", (-1, 3)), Tensor("mask", "bool", (-1, 3)))
    folder.mkdir()
    for number in range(2):
        np.savez(folder / f"{number}.npz", ids=np.full(3, number), mask=np.ones((1, 3), bool))
    found = arrays_of(folder, *inputs)
    assert found["ids"].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert found["mask"].dtype == bool
    assert found["mask"].all()


def test_an_array_alone_holds_the_samples_of_the_one_input(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(5, 1, 4, 5, 6)).astype(np.float32)
    np.save(tmp_path / "rows.npy", np.asfortranarray(rows))
    np.testing.assert_array_equal(arrays_of(tmp_path / "rows.npy", VOLUMES)["volume"], rows)
    assert made(tmp_path / "rows.npy", VOLUMES, most=3).count == 3
    with pytest.raises(InvalidSpecError, match="several inputs"):
        made(tmp_path / "rows.npy", VOLUMES, gray_input())
    with pytest.raises(InvalidSpecError, match="does not fit input"):
        made(tmp_path / "rows.npy", gray_input())


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((1, 4, 5, 6)), "float64"),
        (np.zeros((2, 1, 4, 5, 6), np.float32), "2x1x4x5x6"),
        (np.zeros((1, 4, 5), np.float32), "1x4x5"),
        (np.array([None], object), "allow_pickle"),
    ],
)
def test_arrays_that_fit_no_input_are_named_with_what_they_are(tmp_path: Path, array: Any, why: str) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    np.save(folder / "bad.npy", array)
    np.save(folder / "good.npy", np.zeros((1, 4, 5, 6), np.float32))
    with pytest.raises(InvalidSpecError, match=rf"1 of the samples .*: bad.npy \(.*{why}"):
        made(folder, VOLUMES)


def test_files_with_other_arrays_than_the_inputs_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    good = np.zeros((1, 4, 5, 6), np.float32)
    np.savez(folder / "less.npz", other=good)
    np.savez(folder / "more.npz", volume=good, other=good)
    (folder / "torn.npz").write_bytes((folder / "more.npz").read_bytes()[:200])
    with pytest.raises(
        InvalidSpecError, match=r"less.npz \(it has no array for input .*more.npz \(its array 'other'"
    ):
        made(folder, VOLUMES)


def test_samples_of_an_open_size_must_be_of_one(tmp_path: Path) -> None:
    folder = tmp_path / "volumes"
    folder.mkdir()
    for number, depth in enumerate((4, 4, 5)):
        np.save(folder / f"{number}.npy", np.zeros((1, depth), np.float32))
    with pytest.raises(InvalidSpecError, match=r"2.npy \(its array 'x' is 1x5, and the first one's is 1x4"):
        made(folder, Tensor("x", "float32", (-1, 1, -1)))
