"""Thresholds: what accuracy must reach, figure by figure, and how an engine that misses one is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from farm.domain.accuracy import OutputAccuracy
from farm.domain.errors import AccuracyError
from farm.domain.thresholds import Thresholds
from tests.factories import an_accuracy, an_output_accuracy


def check(output: OutputAccuracy, thresholds: Thresholds) -> None:
    thresholds.check(an_accuracy(output))


@pytest.mark.parametrize(
    "threshold", [name for name in Thresholds.names() if "label" not in name and "finite" not in name]
)
def test_a_figure_that_is_nan_passes_no_limit(threshold: str) -> None:
    figure = threshold if threshold.endswith("_error") else threshold[len("min_") :]
    figure = figure if threshold in ("max_abs_error", "max_rel_error") else figure.removeprefix("max_")
    with pytest.raises(AccuracyError, match="nan, at"):
        check(an_output_accuracy(**{figure: math.nan}), Thresholds(**{threshold: 0.5}))


def test_thresholds_that_are_not_set_are_not_in_json_beyond_those_of_every_release() -> None:
    assert set(Thresholds().as_json()) == {"min_cosine", "min_snr_db", "max_abs_error", "min_top1_agreement"}
    every = Thresholds(**dict.fromkeys(Thresholds.names(), 0.5), metrics={"min_f1": 0.5})
    assert Thresholds(**json.loads(json.dumps(every.as_json()))) == every


@pytest.mark.parametrize(
    ("thresholds", "said"),
    [
        (Thresholds(min_cosine=0.99995), "cosine similarity 0.9999, at least 0.99995"),
        (Thresholds(min_snr_db=60.0), "SNR in dB 55, at least 60"),
        (Thresholds(max_abs_error=0.0005), "max absolute error 0.001, at most 0.0005"),
        (Thresholds(min_top1_agreement=1.5), "top-1 agreement 1, at least 1.5"),
        (Thresholds(min_top5_agreement=1.5), "top-5 agreement 1, at least 1.5"),
        (Thresholds(max_l2_error=0.001), "L2 error 0.002, at most 0.001"),
        (Thresholds(max_rel_l2_error=0.001), "relative L2 error 0.0018, at most 0.001"),
        (Thresholds(min_psnr_db=70.0), "PSNR in dB 60, at least 70"),
        (Thresholds(min_dice=0.9), "Dice 0.8, at least 0.9"),
        (Thresholds(min_iou=0.9), "IoU 0.7, at least 0.9"),
        (Thresholds(min_exact_match=1.0), "share of equal elements 0.6, at least 1"),
    ],
)
def test_what_misses_a_threshold_is_refused_with_figure_limit_and_worst_element(
    thresholds: Thresholds, said: str
) -> None:
    with pytest.raises(AccuracyError, match="output 'output'") as caught:
        check(an_output_accuracy(dice=0.8, iou=0.7, exact_match=0.6), thresholds)
    assert said in caught.value.message
    assert "worst at [0, 3]: 1.501 where the reference has 1.5" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "thresholds",
    [
        Thresholds(),
        Thresholds(min_cosine=0.9999),
        Thresholds(min_snr_db=55.0),
        Thresholds(max_abs_error=0.001),
        Thresholds(min_top1_agreement=1.0),
    ],
)
def test_what_just_reaches_a_threshold_passes(thresholds: Thresholds) -> None:
    check(an_output_accuracy(), thresholds)


def test_a_relative_error_beyond_its_limit_is_told_by_its_own_worst_element() -> None:
    with pytest.raises(
        AccuracyError, match=r"max relative error 0.01, .*at \[0, 4\]: 0.101 where .* has 0.1\)"
    ):
        check(an_output_accuracy(), Thresholds(max_rel_error=0.001))


def test_top1_is_asked_of_those_outputs_alone_that_are_scores() -> None:
    boxes = an_output_accuracy("boxes", top1_agreement=None)
    Thresholds(min_top1_agreement=1.0).check(an_accuracy(boxes, an_output_accuracy("scores")))


@pytest.mark.parametrize(
    "thresholds",
    [Thresholds(min_top1_agreement=0.0), Thresholds(min_dice=0.0), Thresholds(min_label_top1=0.0)],
)
def test_a_limit_on_what_no_output_has_is_not_passed_in_silence(thresholds: Thresholds) -> None:
    with pytest.raises(AccuracyError, match="asks for a figure that nothing here has"):
        check(an_output_accuracy(top1_agreement=None), thresholds)


def test_limits_on_labels_are_held_against_the_reference_in_the_message() -> None:
    accuracy = replace(an_accuracy(), label_top1=0.5, reference_label_top1=0.75)
    Thresholds(min_label_top1=0.5).check(accuracy)
    with pytest.raises(AccuracyError, match=r"top-1 on the labels 0.5, at least 0.6 .*reference has 0.75\)"):
        Thresholds(min_label_top1=0.6).check(accuracy)


def test_limits_on_a_users_own_figures_are_both_ways() -> None:
    accuracy = replace(an_accuracy(), metrics={"f1": 0.5})
    Thresholds(metrics={"min_f1": 0.5, "max_f1": 0.5}).check(accuracy)
    for limits, said in (({"min_f1": 0.6}, "f1 0.5, at least 0.6"), ({"max_f1": 0.4}, "f1 0.5, at most 0.4")):
        with pytest.raises(AccuracyError, match=said):
            Thresholds(metrics=limits).check(accuracy)
    with pytest.raises(AccuracyError, match="no metric gave: f2"):
        Thresholds(metrics={"min_f2": 0.0}).check(accuracy)


@pytest.mark.parametrize(
    ("thresholds", "lacks"),
    [
        (Thresholds(min_snr_db=9.0), False),
        (Thresholds(min_psnr_db=9.0), True),
        (Thresholds(metrics={"min_f1": 0.5}), True),
    ],
)
def test_what_an_earlier_release_did_not_compute_is_told_from_what_there_is(
    thresholds: Thresholds, lacks: bool
) -> None:
    earlier = an_accuracy(OutputAccuracy("output", 0.0, 0.0, 1.0, 60.0))
    assert thresholds.lacks_figures(earlier) is lacks
    thresholds.of_outputs.check(earlier)


def test_every_output_must_pass() -> None:
    accuracy = an_accuracy(an_output_accuracy("boxes"), an_output_accuracy("masks", cosine=0.1))
    with pytest.raises(AccuracyError, match="'masks'"):
        Thresholds().check(accuracy)
