"""Inputs and outputs of the child: checked, drawn, and run in chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError
from farm.domain.models import Tensor
from tests.factories import a_tensor
from workers.arrays import check_inputs, random_inputs, read_arrays, run_in_chunks, with_values, write_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

X = a_tensor("x", (-1, 2))


def floats(*shape: int) -> NDArray[np.float32]:
    """Numbers that differ."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def test_an_inputs_file_is_read_without_unpickling(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", x=floats(2, 2))
    np.testing.assert_array_equal(read_arrays(tmp_path / "good.npz")["x"], floats(2, 2))
    np.savez(tmp_path / "evil.npz", x=np.array([object()], dtype=object))
    np.save(tmp_path / "single.npy", floats(2))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "half.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:100])
    for name in ("evil.npz", "single.npy", "text.npz", "half.npz", "nowhere.npz"):
        with pytest.raises(InvalidSpecError, match=r"not an \.npz file of plain arrays"):
            read_arrays(tmp_path / name)


def test_what_was_written_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    arrays: Mapping[str, Any] = {
        "file": floats(2, 2),
        "allow_pickle": np.float32(3),
        "a/b": np.zeros(0, dtype=np.int8),
    }
    write_arrays(tmp_path / "odd.npz", arrays)
    found = read_arrays(tmp_path / "odd.npz")
    assert {name: (array.shape, array.dtype) for name, array in found.items()} == {
        name: (array.shape, array.dtype) for name, array in arrays.items()
    }
    np.testing.assert_array_equal(found["file"], arrays["file"])


@pytest.mark.parametrize(
    ("tensor", "shape"),
    [
        (X, (1, 2)),
        (X, (7, 2)),
        (a_tensor("x", (4, 2)), (4, 2)),
        (a_tensor("x", (4, 2)), (12, 2)),  # whole calls of a fixed batch
        (a_tensor("x", ()), ()),
        (a_tensor("x", (-1, -1)), (3, 5)),
    ],
)
def test_an_array_that_fits_is_taken(tensor: Tensor, shape: tuple[int, ...]) -> None:
    assert list(check_inputs({"x": np.zeros(shape, np.float32)}, [tensor])) == ["x"]


@pytest.mark.parametrize(
    ("arrays", "tensor", "words"),
    [
        ({"x": np.zeros((1, 3), np.float32)}, X, "1x3, which does not fit"),
        ({"x": np.zeros((1, 2), np.float64)}, X, "'x' is float64 1x2"),
        ({"x": np.zeros((2,), np.float32)}, X, "float32 2, which"),
        ({"x": np.zeros((6, 2), np.float32)}, a_tensor("x", (4, 2)), "6x2, which does not fit"),
        ({"x": np.zeros((4, 4), np.float32)}, a_tensor("x", (4, 2)), "4x4, which does not fit"),
        ({}, X, "no array for input x"),
        ({"x": np.zeros((1, 2), np.float32), "y": np.zeros(1)}, X, "an array 'y' that is no input"),
        ({"x": np.zeros((0, 2), np.float32)}, X, "holds no samples"),
    ],
)
def test_an_array_that_does_not_fit_is_refused_with_its_name(
    arrays: dict[str, NDArray[Any]], tensor: Tensor, words: str
) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        check_inputs(arrays, [tensor])


def test_labels_are_no_input_unless_the_model_has_one_of_that_name() -> None:
    arrays = {"x": floats(2, 2), "labels": np.array([0, 1])}
    assert list(check_inputs(arrays, [X])) == ["x"]
    assert set(check_inputs(arrays, [X, Tensor("labels", "int64", (-1,))])) == {"x", "labels"}


@pytest.mark.parametrize(
    ("shape", "fits"), [((3,), True), ((3, 4, 4), True), ((2, 4, 4), False), ((3, 4), False)]
)
def test_labels_are_a_class_for_every_sample_or_for_every_pixel(shape: tuple[int, ...], fits: bool) -> None:
    arrays = {"x": floats(3, 2), "labels": np.zeros(shape, np.int64)}
    if fits:
        assert list(check_inputs(arrays, [X])) == ["x"]
        return
    with pytest.raises(InvalidSpecError, match="labels do not fit 3 samples") as caught:
        check_inputs(arrays, [X])
    assert "one per pixel (N, H, W)" in caught.value.hint


def test_random_inputs_are_the_same_for_the_same_seed_alone() -> None:
    one, again, other = (random_inputs([X], {"x": (3, 2)}, seed)["x"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint64", "bool"]
)
def test_random_inputs_have_the_shape_and_type_of_the_input(dtype: str) -> None:
    found = random_inputs([Tensor("x", dtype, (-1, 50))], {"x": (4, 50)}, seed=0)["x"]
    assert (found.dtype.name, found.shape) == (dtype, (4, 50))
    if not dtype.startswith("float"):
        assert set(found.ravel().tolist()) == {0, 1}


def test_a_type_that_can_not_be_drawn_asks_for_inputs() -> None:
    with pytest.raises(InvalidSpecError, match="no random values") as caught:
        random_inputs([Tensor("x", "string", (1,))], {"x": (1,)}, seed=0)
    assert "--inputs" in caught.value.hint


class Engine:
    """Doubles `x`, and notes the batches that it was given."""

    def __init__(self, fixed: int | None = None) -> None:
        self.fixed = fixed
        self.batches: list[int] = []

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        assert self.fixed in (None, len(inputs["x"]))
        self.batches.append(len(inputs["x"]))
        return {"y": 2 * inputs["x"] + inputs.get("s", np.float32(0)), "count": np.float32(3)}


@given(count=st.integers(1, 30), chunk=st.integers(1, 12))
def test_samples_run_in_chunks_of_one_size_and_come_out_in_their_order(count: int, chunk: int) -> None:
    engine = Engine(fixed=chunk)
    outputs = run_in_chunks(engine.infer, {"x": floats(count, 2)}, {"x": (chunk, 2)})
    np.testing.assert_array_equal(outputs["y"], 2 * floats(count, 2))
    assert outputs["count"].ndim == 0
    assert len(engine.batches) == -(-count // chunk)


def test_a_scalar_goes_along_with_every_chunk() -> None:
    engine = Engine()
    scalar = np.array(1, np.float32)
    outputs = run_in_chunks(engine.infer, {"x": floats(5, 2), "s": scalar}, {"x": (2, 2), "s": ()})
    np.testing.assert_array_equal(outputs["y"], 2 * floats(5, 2) + 1)


def test_an_input_that_holds_a_shape_goes_whole_into_every_chunk() -> None:
    seen = []

    def infer(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        seen.append((len(inputs["x"]), inputs["size"].tolist()))
        return {"y": inputs["x"]}

    size = np.array([3, 4], np.int64)
    shapes = {"x": (2, 2), "size": (2,)}
    outputs = run_in_chunks(infer, {"x": floats(5, 2), "size": size}, shapes, whole={"size": (3, 4)})
    np.testing.assert_array_equal(outputs["y"], floats(5, 2))
    assert seen == [(2, [3, 4])] * 3


def test_inputs_that_are_not_given_have_the_values_of_the_profile() -> None:
    tensors = [X, Tensor("size", "int64", (2,)), Tensor("k", "int32", ())]
    made = with_values({"x": floats(1, 2)}, {"size": (3, 4), "k": (7,)}, tensors)
    assert (made["size"].dtype, made["size"].tolist()) == (np.int64, [3, 4])
    assert (made["k"].dtype, made["k"].shape, int(made["k"])) == (np.int32, (), 7)
    given = {"size": np.array([9, 9], np.int64)}
    assert with_values(given, {"size": (3, 4)}, tensors)["size"].tolist() == [9, 9]


def test_an_engine_may_have_other_types_than_the_arrays() -> None:
    arrays = {"x": np.zeros((1, 2), np.float64)}
    assert check_inputs(arrays, [X], any_type=True)["x"] is arrays["x"]
    with pytest.raises(InvalidSpecError, match="1x3, which does not fit"):
        check_inputs({"x": np.zeros((1, 3))}, [X], any_type=True)


def test_samples_that_fill_no_fixed_batch_are_told_how_many_there_must_be() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        check_inputs({"x": floats(6, 2)}, [a_tensor("x", (4, 2))])
    assert "fixed at 4: give a multiple" in caught.value.hint


def test_inputs_that_are_one_call_or_share_no_batch_run_once() -> None:
    engine = Engine()
    run_in_chunks(engine.infer, {"x": floats(4, 2)}, {"x": (4, 2)})
    run_in_chunks(engine.infer, {"x": floats(4, 2), "w": floats(9, 2)}, {"x": (2, 2), "w": (9, 2)})
    assert engine.batches == [4, 4]


def test_progress_of_chunks_ends_at_one() -> None:
    said: list[tuple[float, str]] = []
    run_in_chunks(Engine().infer, {"x": floats(5, 2)}, {"x": (2, 2)}, lambda *what: said.append(what))
    assert said == [(0.4, "2 of 5 samples"), (0.8, "4 of 5 samples"), (1.0, "5 of 5 samples")]
