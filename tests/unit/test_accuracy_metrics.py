"""Figures of accuracy beyond cosine and SNR: L2, PSNR, top-5, maps of classes, integers, histograms of errors."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.accuracy import EXACT_SNR_DB
from farm.domain.accuracy_metrics import compare, label_overlap, label_topk
from farm.domain.class_maps import class_map, overlap
from farm.domain.error_histogram import error_histogram, error_histograms

if TYPE_CHECKING:
    from numpy.typing import NDArray

finite = st.floats(-(2.0**100), 2.0**100, width=32)
vectors = st.lists(finite, min_size=1, max_size=30).map(lambda values: np.asarray(values, np.float32))


# Distances.


def test_l2_is_the_length_of_the_difference_and_its_share_of_the_reference() -> None:
    found = compare("y", np.asarray([3.0, 4.0]), np.asarray([3.0, 4.5]))
    assert found.l2_error == pytest.approx(0.5)
    assert found.rel_l2_error == pytest.approx(0.1)
    assert found.snr_db == pytest.approx(-20 * math.log10(found.rel_l2_error or 0))


def test_psnr_holds_the_range_of_the_reference_against_the_mean_squared_error() -> None:
    expected = np.asarray([0.0, 255.0, 100.0, 50.0])
    found = compare("image", expected, expected + np.asarray([5.0, -5.0, 5.0, 5.0]))
    assert found.psnr_db == pytest.approx(20 * math.log10(255 / 5))


def test_psnr_of_a_reference_without_a_range_takes_its_value() -> None:
    assert compare("y", np.full(4, 10.0), np.full(4, 11.0)).psnr_db == pytest.approx(20.0)
    assert compare("y", np.zeros(4), np.zeros(4)).psnr_db == EXACT_SNR_DB


def test_the_worst_relative_error_has_a_place_of_its_own() -> None:
    found = compare("y", np.asarray([[100.0, 1.0]]), np.asarray([[101.0, 1.5]]))
    assert (found.worst_index, found.max_abs_error) == ((0, 0), 1.0)
    assert (found.worst_rel_index, found.worst_rel_expected, found.worst_rel_actual) == ((0, 1), 1.0, 1.5)
    assert found.max_rel_error == pytest.approx(0.5)


# Scores.


def test_top5_asks_whether_the_references_best_is_among_the_five_largest() -> None:
    expected = np.zeros((3, 8))
    expected[:, 7] = 1.0
    actual = np.tile(np.arange(8.0), (3, 1))
    actual[1] = [9, 9, 9, 9, 9, 0, 0, 1]
    actual[2] = [9, 9, 9, 9, 0, 0, 0, 1]
    found = compare("scores", expected, actual)
    assert (found.top1_agreement, found.top5_agreement) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_of_five_classes_everything_is_among_the_five_largest_so_nothing_is_said() -> None:
    assert compare("scores", np.eye(5), np.eye(5)).top5_agreement is None
    assert label_topk(np.eye(5), np.arange(5), 5) is None
    assert label_topk(np.eye(6), np.arange(6), 5) == 1.0


# Maps of classes.


def scores_of(classes: NDArray[Any], count: int) -> NDArray[Any]:
    """Scores (N, count, H, W) whose largest is at the class."""
    return np.moveaxis(np.eye(count, dtype=np.float32)[classes], -1, 1)


def test_dice_and_iou_are_means_over_the_classes_that_occur() -> None:
    expected, actual = np.array([[[0, 0], [1, 1]]]), np.array([[[0, 1], [1, 1]]])
    found = compare("map", scores_of(expected, 21), scores_of(actual, 21))
    # Class 0: 1 of 2 and 1 pixels; class 1: 2 of 2 and 3.
    assert found.dice == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found.iou == pytest.approx((1 / 2 + 2 / 3) / 2)


@given(
    st.lists(st.integers(0, 4), min_size=4, max_size=4), st.lists(st.integers(0, 4), min_size=4, max_size=4)
)
def test_dice_is_never_below_iou_and_both_are_1_for_equal_maps_alone(
    first: list[int], second: list[int]
) -> None:
    one, other = (np.asarray(values).reshape(1, 2, 2) for values in (first, second))
    dice, iou = overlap(one, other)
    assert 0 <= iou <= dice <= 1
    assert (dice == 1) == (iou == 1) == (first == second)


def test_classes_that_the_model_chooses_itself_are_a_map_too() -> None:
    classes = np.array([[[0, 2], [1, 1]]])
    for output in (classes, classes[:, None], classes.astype(np.uint8), scores_of(classes, 3)):
        assert np.array_equal(np.asarray(class_map(output)), classes)


@pytest.mark.parametrize(
    "output",
    [
        np.zeros((1, 1, 4, 4)),
        np.zeros((2, 3)),
        np.zeros((1, 4, 4)),
        np.zeros((0, 2, 4, 4)),
        np.full((1, 4, 4), -1),
        np.full((1, 4, 4), 99999),
    ],
)
def test_what_is_no_map_of_classes_has_no_dice(output: NDArray[Any]) -> None:
    found = compare("output", output, output)
    assert (found.dice, found.iou) == (None, None)


def test_labels_of_pixels_leave_out_what_nobody_labelled() -> None:
    labels = np.array([[[0, 255], [1, 1]]], np.uint8)
    right, wrong = np.array([[[0, 1], [1, 1]]]), np.array([[[0, 1], [1, 0]]])
    assert label_overlap(scores_of(right, 2), labels) == (1.0, 1.0)
    assert label_overlap(scores_of(wrong, 2), labels) == (pytest.approx(2 / 3), pytest.approx(1 / 2))
    signed = labels.astype(np.int64)
    assert label_overlap(scores_of(right, 2), signed) == (1.0, 1.0)
    assert label_overlap(scores_of(right, 2), np.where(signed == 255, -1, signed)) == (1.0, 1.0)
    assert label_overlap(scores_of(right, 2), labels[:, :1]) is None


# Integers.


def test_integers_match_exactly_or_do_not() -> None:
    large = np.array([2**60, 2**60, 5, 7])
    found = compare("ids", large, large + np.asarray([0, 1, 0, 0]))
    # As floats the first two would be equal.
    assert found.exact_match == 0.75
    assert compare("ids", large.astype(np.int32), large.astype(np.int32)).exact_match == 1.0
    assert compare("mask", np.array([True, False]), np.array([True, True])).exact_match == 0.5
    assert compare("scores", np.eye(2), np.eye(2)).exact_match is None


# Histograms.


@given(vectors, st.data())
def test_a_histogram_counts_every_element_once(expected: NDArray[np.float32], data: st.DataObject) -> None:
    actual = np.asarray(
        data.draw(st.lists(finite, min_size=len(expected), max_size=len(expected))), np.float32
    )
    found = error_histogram(expected, actual)
    json.dumps(found, allow_nan=False)
    assert found["elements"] == len(expected)
    assert found["equal"] + sum(found["size"]["counts"]) == len(expected)
    for kind in ("size", "signed"):
        edges = found[kind]["edges"]
        assert edges == sorted(edges)
        assert len(edges) in (0, 2, len(found[kind]["counts"]) + 1)


def test_a_histogram_tells_the_direction_of_errors() -> None:
    expected = np.zeros(10)
    found = error_histogram(expected, expected + np.asarray([1, 1, 1, 0, 0, 0, 0, 0, 0, -2]))
    assert (found["equal"], sum(found["size"]["counts"])) == (6, 4)
    middles = np.convolve(found["signed"]["edges"], [0.5, 0.5], "valid")
    counts = np.asarray(found["signed"]["counts"])
    assert counts[middles < -0.5].sum() == 1
    assert counts[middles > 0.5].sum() == 3


def test_what_is_no_number_is_counted_apart() -> None:
    document = error_histograms(
        {"y": (np.asarray([1.0, math.nan, 2.0]), np.asarray([1.0, math.nan, math.inf]))}
    )
    (output,) = document["outputs"]
    assert (output["name"], output["elements"], output["equal"], output["non_finite"]) == ("y", 3, 1, 2)
    assert output["size"] == {"edges": [], "counts": []}
