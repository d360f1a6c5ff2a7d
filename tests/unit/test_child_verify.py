"""Verification: an engine's outputs against the reference's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import AccuracyError, InvalidSpecError
from tests.factories import a_tensor
from workers.arrays import read_arrays
from workers.child.requests import AttemptRequest
from workers.child.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from workers.toolchains.toolchain import TimedSession

INPUTS = np.array([[1, 2, 3], [3, 2, 1], [0, 5, 0], [1, 0, 9]], np.float32)


class Engine:
    """An engine made of a function."""

    def __init__(self, function: Callable[[NDArray[Any]], dict[str, NDArray[Any]]]) -> None:
        self.inputs = (a_tensor("x", (-1, 3)),)
        self.outputs = (a_tensor("y", (-1, 3)),)
        self._function = function

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return self._function(inputs["x"])

    def timed_sessions(self, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
        return []

    def close(self) -> None:
        """Nothing to give back."""


def request(folder: Path, **arrays: NDArray[Any]) -> AttemptRequest:
    """Four samples, run two at a time; the reference is the identity."""
    np.savez(folder / "inputs.npz", **{"x": INPUTS, **arrays})
    np.savez(folder / "outputs.npz", y=INPUTS)
    return AttemptRequest(
        "fake",
        "1",
        folder / "engine",
        inputs_path=folder / "inputs.npz",
        reference_path=folder / "outputs.npz",
        reference_name="onnxruntime 1 fp32",
        chunk_shapes={"x": (2, 3)},
    )


def silent(_fraction: float, _message: str) -> None:
    """Nobody listens."""


def test_an_engine_that_computes_the_same_has_no_error(tmp_path: Path) -> None:
    found = verify(Engine(lambda x: {"y": x}), request(tmp_path), silent)
    (output,) = found.outputs
    assert (output.max_abs_error, output.top1_agreement) == (0.0, 1.0)
    assert (found.samples, found.reference, found.label_top1) == (4, "onnxruntime 1 fp32", None)


def test_labels_tell_how_often_engine_and_reference_are_right(tmp_path: Path) -> None:
    labels = np.array([2, 0, 1, 0])
    found = verify(Engine(lambda x: {"y": -x}), request(tmp_path, labels=labels), silent)
    assert found.reference_label_top1 == 0.75
    assert found.label_top1 == 0.0


def test_of_more_than_five_classes_the_five_largest_count_too(tmp_path: Path) -> None:
    wanted = request(tmp_path, labels=np.array([0, 0, 0, 0]))
    scores = np.tile(np.arange(8, dtype=np.float32), (4, 1))
    np.savez(tmp_path / "outputs.npz", y=-scores)
    found = verify(Engine(lambda x: {"y": scores[: len(x)]}), wanted, silent)
    assert (found.label_top5, found.reference_label_top5) == (0.0, 1.0)


def test_maps_of_labels_are_compared_with_the_first_output_of_their_shape(tmp_path: Path) -> None:
    labels = np.array([[[0, 1, 1]]] * 4)
    wanted = request(tmp_path, labels=labels)
    maps = np.moveaxis(np.eye(2, dtype=np.float32)[labels], -1, 1)
    np.savez(tmp_path / "outputs.npz", y=INPUTS, map=maps)
    found = verify(Engine(lambda x: {"y": x, "map": maps[: len(x), ::-1]}), wanted, silent)
    assert (found.label_dice, found.label_iou) == (0.0, 0.0)
    assert (found.reference_label_dice, found.reference_label_iou) == (1.0, 1.0)
    assert (found.outputs[1].dice, found.label_top1) == (0.0, None)


def test_the_spread_of_errors_and_the_outputs_are_left_in_files_where_they_are_asked_for(
    tmp_path: Path,
) -> None:
    plain = request(tmp_path)
    verify(Engine(lambda x: {"y": x + 1}), plain, silent)
    assert {path.name for path in tmp_path.iterdir()} == {"inputs.npz", "outputs.npz"}
    asked = replace(plain, histogram_path=tmp_path / "errors.json", actual_path=tmp_path / "actual.npz")
    verify(Engine(lambda x: {"y": x + 1, "more": x}), asked, silent)
    (output,) = json.loads((tmp_path / "errors.json").read_text())["outputs"]
    assert (output["name"], output["elements"], output["equal"]) == ("y", 12, 0)
    actual = read_arrays(tmp_path / "actual.npz")
    assert list(actual) == ["y"]
    np.testing.assert_array_equal(actual["y"], INPUTS + 1)


def test_an_output_that_is_missing_is_named_and_one_that_is_new_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(AccuracyError, match="no output 'y'"):
        verify(Engine(lambda x: {"z": x}), request(tmp_path), silent)
    found = verify(Engine(lambda x: {"y": x, "z": x}), request(tmp_path), silent)
    assert [output.name for output in found.outputs] == ["y"]


def test_an_output_of_another_shape_is_an_inaccuracy(tmp_path: Path) -> None:
    with pytest.raises(AccuracyError):
        verify(Engine(lambda x: {"y": x[:, :2]}), request(tmp_path), silent)


def test_inputs_that_do_not_fit_the_engine_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="'w' that is no input"):
        verify(Engine(lambda x: {"y": x}), request(tmp_path, w=INPUTS), silent)


def test_every_further_profile_is_compared_under_its_number(tmp_path: Path) -> None:
    wanted = request(tmp_path)
    for number, factor in ((2, 1), (3, 2)):
        np.savez(tmp_path / f"inputs-{number}.npz", x=INPUTS)
        np.savez(tmp_path / f"outputs-{number}.npz", y=factor * INPUTS)
    found = verify(Engine(lambda x: {"y": x}), wanted, silent)
    errors = {output.name: output.max_abs_error for output in found.outputs}
    assert errors == {"y": 0.0, "y (profile 2)": 0.0, "y (profile 3)": 9.0}
    assert found.worst.name == "y (profile 3)"
