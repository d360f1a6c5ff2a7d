"""Two engines are told apart where their blocks say so, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.comparisons import Comparison, compare_blocks, judged
from farm.domain.conditions import HostSample, Watched

milliseconds = st.floats(0.01, 1000.0)
pairs = st.lists(st.tuples(milliseconds, milliseconds), min_size=3, max_size=40)


def compared(a_ms: list[float], b_ms: list[float]) -> Comparison:
    return compare_blocks(a_ms, b_ms, batch=8, method="cuda-graph")


@given(pairs)
def test_the_interval_holds_the_difference_and_the_ratio(found: list[tuple[float, float]]) -> None:
    comparison = compared([a for a, _ in found], [b for _, b in found])
    low, high = comparison.difference_interval_ms
    assert low <= comparison.difference_ms <= high
    lowest, highest = comparison.ratio_interval
    assert lowest <= comparison.ratio <= highest


@given(pairs)
def test_it_reads_back_as_it_was_written(found: list[tuple[float, float]]) -> None:
    comparison = compared([a for a, _ in found], [b for _, b in found])
    assert Comparison.from_json(comparison.as_json()) == comparison


@given(pairs)
def test_an_engine_beside_itself_is_not_told_apart(found: list[tuple[float, float]]) -> None:
    times = [a for a, _ in found]
    comparison = compared(times, times)
    assert not comparison.is_told_apart
    assert comparison.ratio == 1


def test_what_is_always_faster_by_as_much_is_faster_by_just_that() -> None:
    # Both slow down alike, far more than they differ.
    a = [10.0 + 0.5 * step for step in range(20)]
    comparison = compared(a, [0.9 * one for one in a])
    assert comparison.ratio_interval == pytest.approx((0.9, 0.9))
    assert comparison.verdict == "B is 10.0 % faster (10.0 to 10.0)"


def test_what_is_slower_is_called_so() -> None:
    assert compared([2.0, 2.0, 2.0], [2.5, 2.5, 2.5]).verdict == "B is 25.0 % slower (25.0 to 25.0)"


def test_what_the_noise_hides_is_not_told() -> None:
    noise = np.random.default_rng(1).normal(0.0, 0.1, size=(2, 30))
    comparison = compared(list(10 + noise[0]), list(10.001 + noise[1]))
    assert comparison.verdict.startswith("no difference can be told: −")
    assert comparison.verdict.endswith(" %")


def test_about_one_of_twenty_equal_pairs_of_engines_is_told_apart() -> None:
    generator, told = np.random.default_rng(7), 0
    for _ in range(400):
        drift = np.cumsum(generator.normal(0.0, 0.05, size=24))
        a, b = 10 + drift + generator.normal(0.0, 0.1, size=(2, 24))
        told += compared(list(a), list(b)).is_told_apart
    assert told / 400 < 0.08


def test_a_small_difference_is_shown_with_the_digits_that_it_needs() -> None:
    assert compared([100.0] * 4, [100.02] * 4).verdict == "B is 0.02 % slower (0.02 to 0.02)"


def starved(*, at: float) -> Watched:
    """A host whose threads wait for a CPU for most of a second."""
    samples = [HostSample(at + 0.1 * step, ran_s=0.2 * step, waited_s=0.8 * step) for step in range(11)]
    return Watched(device=[], host=samples, notes=(), is_slice=False)


def test_a_host_without_time_for_it_may_have_favoured_one_of_them() -> None:
    comparison = replace(compared([2.0] * 4, [1.0] * 4), window=(10.0, 11.0))
    found = judged(comparison, starved(at=10.0), is_cpu=True)
    assert found.taints[0].startswith("CPU starved")
    assert found.verdict == "B is 50.0 % faster (50.0 to 50.0); but the host had too little CPU time for it"
    assert Comparison.from_json(found.as_json()) == found


def test_what_was_seen_outside_its_window_is_nothing_to_it() -> None:
    comparison = replace(compared([2.0] * 4, [1.0] * 4), window=(10.0, 11.0))
    assert judged(comparison, starved(at=20.0), is_cpu=True) == comparison


def test_what_lasts_for_many_blocks_is_one_piece_of_evidence() -> None:
    # B is slow for most of the time, and then it is not: a single change, however many blocks there were.
    a, b = [1.0] * 240, [2.0] * 150 + [1.0] * 90
    assert not compared(a, b).is_told_apart


@pytest.mark.parametrize(("a", "b"), [([1.0, 1.0], [1.0, 1.0]), ([1.0] * 4, [1.0] * 5)])
def test_too_few_pairs_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="three pairs"):
        compared(a, b)
