"""A device is judged by its own canaries: what counts as usual, and how far from it is too far."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.canaries import (
    ALLOWED_PERCENT,
    LEAST_HISTORY,
    MOST_HISTORY,
    Verdict,
    allowed_percent,
    comparable_ms,
    judged,
    last_good,
)
from tests.factories import a_canary, a_digest

times = st.lists(st.floats(0.01, 1000.0), min_size=LEAST_HISTORY, max_size=80)


def history(*medians_ms: float, verdict: Verdict = Verdict.GOOD, **changes: object) -> list:  # type: ignore[type-arg]
    return [a_canary(median_ms=ms, verdict=verdict, **changes) for ms in medians_ms]


@given(times)
def test_what_takes_as_long_as_usual_is_good(found: list[float]) -> None:
    newest = sorted(found[-MOST_HISTORY:])
    usual = (newest[(len(newest) - 1) // 2] + newest[len(newest) // 2]) / 2
    assert judged(a_canary(median_ms=usual), history(*found))[0] is Verdict.GOOD


@given(times, st.floats(0.01, 1000.0))
def test_good_and_drifted_are_told_by_the_allowed_share_alone(found: list[float], now: float) -> None:
    recent = found[-MOST_HISTORY:]
    ordered = sorted(recent)
    usual = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    verdict, _ = judged(a_canary(median_ms=now), history(*found))
    is_within = abs(100 * (now / usual - 1)) <= allowed_percent(recent)
    assert (verdict is Verdict.GOOD) is is_within


@given(times, st.floats(0.1, 10.0))
def test_it_does_not_matter_how_long_the_canary_takes(found: list[float], factor: float) -> None:
    assert allowed_percent([factor * ms for ms in found]) == pytest.approx(allowed_percent(found))


@given(times)
def test_less_than_three_percent_is_never_too_far(found: list[float]) -> None:
    assert allowed_percent(found) >= ALLOWED_PERCENT


@given(st.lists(st.floats(0.01, 1000.0), max_size=LEAST_HISTORY - 1), st.floats(0.01, 1000.0))
def test_with_little_history_it_learns(found: list[float], now: float) -> None:
    verdict, reason = judged(a_canary(median_ms=now), history(*found))
    assert verdict is Verdict.LEARNING
    assert reason == f"{len(found)} of 3 earlier canaries to compare with"


@given(times, st.lists(st.floats(0.01, 1000.0), max_size=5))
def test_other_drivers_other_engines_and_what_was_no_good_count_for_nothing(
    found: list[float], others: list[float]
) -> None:
    own = history(*found)
    strange = [
        *history(*others, driver_version="999.1"),
        *history(*others, engine=a_digest("another")),
        *history(*others, verdict=Verdict.DRIFTED),
        *history(*others, verdict=Verdict.DISTURBED),
    ]
    assert comparable_ms(a_canary(), [*own, *strange]) == comparable_ms(a_canary(), own)


@given(times, times)
def test_what_was_accepted_is_where_history_begins_anew(before: list[float], after: list[float]) -> None:
    accepted = history(7.0, verdict=Verdict.ACCEPTED)
    found = comparable_ms(a_canary(), [*history(*before), *accepted, *history(*after)])
    assert found == [7.0, *after][-MOST_HISTORY:]


@given(times, st.floats(0.01, 1000.0))
def test_whatever_disturbed_it_is_all_that_it_says(found: list[float], now: float) -> None:
    verdict, reason = judged(a_canary(median_ms=now), history(*found), ["power cap", "another process"])
    assert (verdict, reason) == (Verdict.DISTURBED, "power cap; another process")


@pytest.mark.parametrize(
    ("now", "word"), [(1.031, "3.1 % slower"), (0.969, "3.1 % faster"), (2.0, "100.0 % slower")]
)
def test_a_drift_is_told_to_either_side(now: float, word: str) -> None:
    verdict, reason = judged(a_canary(median_ms=now), history(1.0, 1.0, 1.0))
    assert verdict is Verdict.DRIFTED
    assert reason == f"its canary took {now:.4g} ms, {word} than the usual 1 ms (±3.0 % is allowed)"


def test_a_noisy_device_is_allowed_more() -> None:
    noisy = history(0.95, 0.97, 1.0, 1.03, 1.05)
    assert judged(a_canary(median_ms=1.15), noisy)[0] is Verdict.GOOD
    assert judged(a_canary(median_ms=1.25), noisy)[0] is Verdict.DRIFTED


def test_the_last_good_one_is_the_newest_that_had_nothing_against_its_device() -> None:
    found = [*history(1.0, 1.1), *history(9.0, verdict=Verdict.DRIFTED)]
    newest = last_good(found)
    assert newest is not None
    assert newest.median_ms == 1.1
    assert last_good(found[2:]) is None
