"""How far an engine's outputs are from the reference's, and what never passes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from farm.domain.accuracy import EXACT_SNR_DB, Accuracy, OutputAccuracy
from farm.domain.accuracy_metrics import compare, label_topk
from farm.domain.errors import AccuracyError, InvalidSpecError
from farm.domain.thresholds import Thresholds
from farm.domain.verification import VerificationSpec
from tests.factories import a_digest, an_accuracy, an_output_accuracy

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: No limit but the one that is always there: what is not finite does not pass.
ANYTHING_FINITE = Thresholds(min_cosine=-1.0)

finite = st.floats(-(2.0**100), 2.0**100, width=32)
vectors = st.lists(finite, min_size=1, max_size=30).map(lambda values: np.asarray(values, np.float32))


def check(output: OutputAccuracy, thresholds: Thresholds = ANYTHING_FINITE) -> None:
    thresholds.check(an_accuracy(output))


# Equal outputs.


@given(vectors)
def test_equal_outputs_are_exact(values: NDArray[np.float32]) -> None:
    found = compare("output", values, values.copy())
    assert (found.max_abs_error, found.max_rel_error, found.non_finite) == (0.0, 0.0, 0)
    assert found.snr_db == EXACT_SNR_DB
    assert found.cosine == pytest.approx(1.0)
    check(found, Thresholds(min_cosine=0.999999, min_snr_db=998.0, max_abs_error=0.0))


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "uint8", "bool"]
)
@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 3, 2, 2)])
def test_outputs_of_every_type_and_shape_can_be_compared(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.arange(math.prod(shape)).reshape(shape).astype(dtype)
    assert compare("output", values, values.copy()).snr_db == EXACT_SNR_DB


def test_an_output_without_elements_is_exact() -> None:
    found = compare("boxes", np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))
    assert (found.cosine, found.snr_db, found.max_abs_error) == (1.0, EXACT_SNR_DB, 0.0)
    check(found, Thresholds(0.999, 900.0, 0.0, min_psnr_db=900.0, max_rel_l2_error=0.0))


@pytest.mark.parametrize("special", [math.nan, math.inf, -math.inf])
def test_the_same_infinity_or_nan_on_both_sides_does_not_pass_unless_allowed(special: float) -> None:
    values = np.asarray([1.0, special, 3.0], np.float32)
    found = compare("output", values, values.copy())
    assert (found.non_finite, found.same_non_finite, found.max_abs_error) == (0, 1, 0.0)
    assert found.snr_db == EXACT_SNR_DB
    with pytest.raises(AccuracyError, match=r"1 values that are NaN or infinite, .* at \[1\]") as caught:
        check(found)
    assert "max_same_non_finite" in caught.value.hint
    check(found, replace(ANYTHING_FINITE, max_same_non_finite=1))


def test_zeros_equal_zeros() -> None:
    found = compare("output", np.zeros(4), np.zeros(4))
    assert (found.cosine, found.snr_db) == (1.0, EXACT_SNR_DB)


# Outputs that differ.


@pytest.mark.parametrize(
    ("expected", "actual", "cosine", "snr_db"),
    [
        ([1.0, 0.0], [0.0, 1.0], 0.0, 10 * math.log10(1 / 2)),
        ([1.0, 2.0], [-1.0, -2.0], -1.0, 10 * math.log10(1 / 4)),
        ([3.0, 4.0], [6.0, 8.0], 1.0, 0.0),
        ([10.0, 0.0], [11.0, 0.0], 1.0, 20.0),
        ([0.0, 0.0], [0.1, 0.0], 0.0, -EXACT_SNR_DB),
        ([0.1, 0.0], [0.0, 0.0], 0.0, 0.0),
    ],
)
def test_cosine_and_snr_are_what_the_textbook_says(
    expected: list[float], actual: list[float], cosine: float, snr_db: float
) -> None:
    found = compare("output", np.asarray(expected), np.asarray(actual))
    assert found.cosine == pytest.approx(cosine)
    assert found.snr_db == pytest.approx(snr_db)


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1.0, 1e30, 1e200])
def test_cosine_and_snr_do_not_depend_on_the_scale(scale: float) -> None:
    expected, actual = np.asarray([1.0, 2.0, 3.0]), np.asarray([1.0, 2.0, 3.3])
    one, other = compare("output", expected, actual), compare("output", expected * scale, actual * scale)
    assert (other.cosine, other.snr_db) == pytest.approx((one.cosine, one.snr_db))
    assert other.max_rel_error == pytest.approx(0.1)


@given(vectors, st.data())
def test_figures_stay_within_their_bounds(expected: NDArray[np.float32], data: st.DataObject) -> None:
    values = data.draw(st.lists(finite, min_size=len(expected), max_size=len(expected)))
    found = compare("output", expected, np.asarray(values, np.float32))
    assert -1.0 <= found.cosine <= 1.0
    assert found.max_abs_error >= 0
    assert math.isfinite(found.snr_db)
    assert math.isfinite(found.max_rel_error)
    assert json.loads(json.dumps(found.snr_db, allow_nan=False)) == found.snr_db


@given(vectors, st.data())
def test_the_worst_element_is_where_the_difference_is_greatest(
    expected: NDArray[np.float32], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(expected) - 1))
    actual = expected.astype(np.float64)
    actual[at] += max(1.0, abs(actual[at]))
    found = compare("output", expected.astype(np.float64), actual)
    assert found.worst_index == (at,)
    assert found.worst_expected == expected[at]
    assert found.worst_actual == actual[at]
    assert found.max_abs_error == abs(actual[at] - float(expected[at]))


def test_the_worst_element_is_told_by_its_place_in_the_output() -> None:
    expected = np.zeros((2, 3, 4), np.float32)
    actual = expected.copy()
    actual[1, 2, 0] = -5
    found = compare("output", expected, actual)
    assert (found.worst_index, found.worst_expected, found.worst_actual) == ((1, 2, 0), 0.0, -5.0)


def test_a_scalar_has_its_worst_element_too() -> None:
    found = compare("loss", np.float32(2.0).reshape(()), np.float32(2.5).reshape(()))
    assert (found.worst_index, found.max_abs_error, found.max_rel_error) == ((), 0.5, 0.25)


def test_elements_that_are_almost_nothing_do_not_count_for_the_relative_error() -> None:
    expected, actual = np.asarray([100.0, 0.01]), np.asarray([101.0, 0.02])
    assert compare("output", expected, actual).max_rel_error == pytest.approx(0.01)


def test_half_precision_is_compared_without_overflow() -> None:
    expected, actual = np.asarray([60000.0, 1.0], np.float16), np.asarray([-60000.0, 1.0], np.float16)
    assert compare("output", expected, actual).max_abs_error == 120000.0


def test_differences_of_unsigned_integers_do_not_wrap_around() -> None:
    found = compare("classes", np.asarray([0, 7], np.uint8), np.asarray([1, 7], np.uint8))
    assert (found.max_abs_error, found.worst_index) == (1.0, (0,))


def test_boolean_outputs_differ_by_one() -> None:
    found = compare("mask", np.asarray([True, False, True]), np.asarray([True, True, True]))
    assert (found.max_abs_error, found.worst_index) == (1.0, (1,))


def test_outputs_of_other_shapes_are_refused() -> None:
    with pytest.raises(AccuracyError, match=r"\(2, 2\) where the reference has \(4,\)"):
        compare("output", np.zeros(4), np.zeros((2, 2)))


# What is not finite.


@given(vectors, st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_nan_and_infinity_never_pass(
    values: NDArray[np.float32], special: float, data: st.DataObject
) -> None:
    places = data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1))
    actual = values.copy()
    actual[list(places)] = special
    found = compare("output", values, actual)
    assert found.non_finite == len(places)
    assert found.worst_index[0] in places
    with pytest.raises(AccuracyError, match="NaN or infinite") as caught:
        check(found, replace(ANYTHING_FINITE, max_same_non_finite=99))
    assert "bf16" in caught.value.hint


@pytest.mark.parametrize(
    ("expected", "actual"),
    [(math.inf, -math.inf), (math.inf, math.nan), (math.nan, math.inf), (1.0, math.nan)],
)
def test_another_infinity_than_the_references_is_not_agreement(expected: float, actual: float) -> None:
    found = compare("output", np.asarray([expected, 1.0]), np.asarray([actual, 1.0]))
    assert (found.non_finite, found.worst_index) == (1, (0,))


# Which output is worst, and what the default refuses.


@given(vectors, st.data())
def test_an_engine_that_computes_something_else_is_refused_by_default(
    expected: NDArray[np.float32], data: st.DataObject
) -> None:
    assume(expected.any())
    with pytest.raises(AccuracyError):
        check(compare("output", expected, np.zeros_like(expected)), Thresholds())
    with pytest.raises(AccuracyError):
        check(compare("output", expected, -expected), Thresholds())


def test_the_worst_output_is_the_one_of_least_snr() -> None:
    worst = an_output_accuracy("masks", snr_db=10.0)
    assert an_accuracy(an_output_accuracy(), worst, an_output_accuracy("scores", snr_db=30.0)).worst == worst


def test_an_output_that_is_not_finite_is_worse_than_any() -> None:
    broken = compare("masks", np.ones(3), np.full(3, math.nan))
    assert an_accuracy(an_output_accuracy(snr_db=-50.0), broken).worst == broken


# Scores and labels.


def test_top1_counts_the_rows_whose_largest_score_is_the_same() -> None:
    expected = np.asarray([[1.0, 2.0], [3.0, 1.0], [0.0, 5.0], [2.0, 1.0]])
    actual = np.asarray([[1.0, 9.0], [3.0, 1.0], [6.0, 5.0], [2.0, 1.0]])
    assert compare("scores", expected, actual).top1_agreement == 0.75


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(4),
        np.zeros((4, 1)),
        np.zeros((2, 3, 4)),
        np.zeros((4, 2), np.int64),
        np.zeros((0, 4)),
        np.zeros(()),
    ],
)
def test_what_does_not_look_like_scores_has_no_top1(values: NDArray[Any]) -> None:
    assert compare("output", values, values).top1_agreement is None


def test_labels_are_compared_with_the_largest_score() -> None:
    scores = np.asarray([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]])
    assert label_topk(scores, np.asarray([1, 0, 0]), 1) == pytest.approx(2 / 3)
    assert label_topk(scores.reshape(3, 1, 2), np.asarray([[1], [0], [1]]), 1) == 1.0


@pytest.mark.parametrize("labels", [np.asarray([1]), np.asarray([1, 0, 1, 0])])
def test_labels_must_be_as_many_as_outputs(labels: NDArray[np.int64]) -> None:
    with pytest.raises(InvalidSpecError, match="do not fit 3 outputs"):
        label_topk(np.zeros((3, 2)), labels, 1)


# JSON.


def test_accuracy_survives_json() -> None:
    scores = compare("scores", np.asarray([[1.0, 2.0]]), np.asarray([[1.0, 2.1]]))
    accuracy = replace(an_accuracy(scores, an_output_accuracy()), label_top1=0.5, reference_label_top1=0.75)
    assert Accuracy.from_json(json.loads(json.dumps(accuracy.as_json(), allow_nan=False))) == accuracy


@given(vectors, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_accuracy_of_what_is_not_finite_can_be_written_as_json(
    values: NDArray[np.float32], special: float
) -> None:
    found = compare("output", values, np.full_like(values, special))
    json.dumps(an_accuracy(found).as_json(), allow_nan=False)


def test_what_earlier_releases_filed_can_be_read_and_what_later_ones_add_is_left_out() -> None:
    output = {
        "name": "scores", "max_abs_error": 0.1, "max_rel_error": 0.2, "cosine": 0.99, "snr_db": 30.0,
        "top1_agreement": None, "non_finite": 0, "worst_index": [1, 2], "worst_expected": 1.0, "worst_actual": 1.1,
    }  # fmt: skip
    document = {
        "outputs": [output],
        "samples": 1,
        "reference": "r",
        "label_top1": None,
        "reference_label_top1": None,
    }
    read = Accuracy.from_json(document)
    assert (read.outputs[0].worst_index, read.outputs[0].psnr_db, read.has_all_figures) == (
        (1, 2),
        None,
        False,
    )
    later = {**document, "outputs": [{**output, "ssim": 1.0}], "latest": 1}
    assert Accuracy.from_json(later) == read


@pytest.mark.parametrize(
    "spec",
    [VerificationSpec(), VerificationSpec(a_digest().sha256, 3, Thresholds(0.5, 20.0, 0.25, 0.75))],
)
def test_wishes_for_verification_survive_json(spec: VerificationSpec) -> None:
    assert VerificationSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
