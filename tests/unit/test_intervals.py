"""The confidence interval of a median holds what it says it holds, whatever the noise is like."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.intervals import (
    MOST_GROUPS,
    drawn_medians,
    grouped,
    half_width_percent,
    median_interval,
    student_t,
)
from tests.unit.scripted_session import ScriptedSession
from workers.child.measure import measure

blocks_ms = st.lists(
    st.lists(st.floats(0.01, 1000), min_size=1, max_size=20).map(np.asarray), min_size=2, max_size=40
)


@given(blocks_ms)
def test_the_median_lies_within(blocks: list[np.ndarray]) -> None:
    interval = median_interval(blocks)
    assert interval is not None
    low, high = interval
    assert low <= np.median(np.concatenate(blocks)) <= high


@given(blocks_ms)
def test_equal_samples_have_equal_intervals(blocks: list[np.ndarray]) -> None:
    assert median_interval(blocks) == median_interval([block.copy() for block in blocks])


@given(blocks_ms, st.integers(-8, 8))
def test_another_unit_of_time_scales_the_interval(blocks: list[np.ndarray], exponent: int) -> None:
    interval, scale = median_interval(blocks), 2.0**exponent  # powers of two are exact
    assert interval is not None
    scaled = median_interval([block * scale for block in blocks])
    assert scaled == pytest.approx((interval[0] * scale, interval[1] * scale), rel=1e-9)
    median = float(np.median(np.concatenate(blocks)))
    assert half_width_percent(scaled, median * scale) == pytest.approx(half_width_percent(interval, median))


@given(blocks_ms, st.floats(0.001, 1000))
def test_any_scale_widens_it_alike(blocks: list[np.ndarray], scale: float) -> None:
    interval = median_interval(blocks)
    assert interval is not None
    scaled = median_interval([block * scale for block in blocks])
    # Values that are apart by one bit may become one: a thinned grid of them then shifts by a step.
    assert scaled == pytest.approx((interval[0] * scale, interval[1] * scale), rel=1e-2)


@given(blocks_ms, st.randoms())
def test_the_order_of_samples_within_a_block_does_not_count(blocks: list[np.ndarray], random) -> None:
    shuffled = [np.asarray(random.sample(block.tolist(), len(block))) for block in blocks]
    assert median_interval(shuffled) == median_interval(blocks)


@pytest.mark.parametrize("blocks", [[], [np.ones(50)], [np.ones(50), np.ones(0)]])
def test_fewer_than_two_blocks_tell_nothing(blocks: list[np.ndarray]) -> None:
    assert median_interval(blocks) is None


def test_constant_times_have_no_width() -> None:
    assert median_interval([np.full(3, 2.5)] * 4) == (2.5, 2.5)


@given(blocks_ms)
def test_groups_hold_every_sample_once_and_in_order(blocks: list[np.ndarray]) -> None:
    groups = grouped(blocks)
    assert len(groups) == min(len(blocks), MOST_GROUPS)
    assert np.concatenate(groups).tolist() == np.concatenate(blocks).tolist()


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.floats(0.1, 10), min_size=1, max_size=9).map(np.asarray), min_size=2, max_size=6),
    st.integers(0, 1000),
)
def test_a_draws_median_is_that_of_its_groups_put_together(blocks: list[np.ndarray], seed: int) -> None:
    found = drawn_medians(blocks, seed, resamples=20)
    draws = np.random.default_rng(seed).multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), 20)
    for median, draw in zip(found, draws, strict=True):
        together = np.concatenate([np.tile(block, times) for block, times in zip(blocks, draw, strict=True)])
        assert median == pytest.approx(np.median(together))


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # The table of Student's distribution at 0.975.
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (15, 2.131), (120, 1.980)],
)
def test_students_quantile_is_that_of_the_table(freedom: int, quantile: float) -> None:
    assert student_t(NormalDist().inv_cdf(0.975), freedom) == pytest.approx(quantile, rel=0.01)


def noise(rng: np.random.Generator, count: int, memory: float, *, is_skewed: bool) -> np.ndarray:
    """Noise of standard deviation 1 around a median of 0 (1 if skewed), each sample like the one before."""
    fresh = rng.standard_normal(count) * np.sqrt(1 - memory**2)
    found = np.empty(count)
    last = rng.standard_normal()
    for at in range(count):
        last = memory * last + fresh[at]
        found[at] = last
    return np.exp(found) if is_skewed else found


@pytest.mark.parametrize(
    ("blocks", "size", "memory", "is_skewed", "least"),
    [
        (10, 20, 0.0, False, 0.88),
        (20, 1, 0.0, False, 0.88),
        (12, 40, 0.5, True, 0.88),
        # Each sample is like the twenty before it, as long as a block.
        (80, 20, 0.9, True, 0.88),
    ],
)
def test_as_many_intervals_hold_the_true_median_as_they_claim(
    blocks: int, size: int, memory: float, is_skewed: bool, least: float
) -> None:
    rng, rounds = np.random.default_rng(7), 200
    true = 101.0 if is_skewed else 100.0
    held, naive = 0, 0
    for _ in range(rounds):
        samples = 100 + noise(rng, blocks * size, memory, is_skewed=is_skewed)
        low, high = median_interval(np.split(samples, blocks)) or (np.inf, 0)
        held += low <= true <= high
        # By ranks, as if each sample knew nothing of the last.
        ranks = len(samples) / 2 + 0.98 * np.sqrt(len(samples)) * np.array([-1, 1])
        low, high = np.sort(samples)[ranks.astype(int)]
        naive += low <= true <= high
    assert least <= held / rounds
    if memory > 0.8:
        assert naive / rounds < 0.6, "single samples must show why blocks are drawn"


def test_stopping_at_the_first_narrow_interval_still_holds_the_true_median() -> None:
    """The whole procedure, with its peeking, on noise with memory."""
    spec = BenchmarkSpec(warmup_ms=0, duration_ms=100, max_duration_ms=3000, precision_percent=2)
    rng, held, rounds = np.random.default_rng(11), 0, 40
    for _ in range(rounds):
        times = np.exp(0.05 * noise(rng, 3500, 0.7, is_skewed=False))
        session = ScriptedSession(lambda position, times=times: float(times[position]))
        found, _ = measure(session, spec, 1, {}, lambda _share, _text: None, clock=session.now)
        assert found.settled
        assert found.interval_ms is not None
        held += found.interval_ms[0] <= 1.0 <= found.interval_ms[1]
    assert held / rounds >= 0.85
