"""Measuring: what is counted, how long, and what becomes of it. The clock is the test's: nothing sleeps."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.methods import Method
from tests.unit.scripted_session import ScriptedSession, noisy
from workers.child.measure import drift_percent, measure, taints_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from farm.domain.benchmarks import Measurement


def spec(**changes: Any) -> BenchmarkSpec:
    """Half a second at the most."""
    return BenchmarkSpec(**{"warmup_ms": 0, "duration_ms": 100, "max_duration_ms": 500, **changes})


def measured(
    session: ScriptedSession, wanted: BenchmarkSpec | None = None, batch: int = 1, **options: Any
) -> tuple[Measurement, NDArray[np.float64]]:
    return measure(session, wanted or spec(), batch, {"x": (batch, 2)}, silent, clock=session.now, **options)


def silent(_fraction: float, _message: str) -> None:
    """Nobody listens."""


def in_order(position: int) -> float:
    return 1 + position / 1000


def test_the_warm_up_is_not_counted() -> None:
    session = ScriptedSession(lambda position: 9.0 if position < 15 else 1.0)
    found, samples = measured(session, spec(warmup_ms=200))
    assert found.warmup_s is not None
    assert found.warmup_s >= 0.2
    assert (samples[:, 1] == 1.0).all()
    assert session.iterations > len(samples)


def test_without_a_warm_up_one_iteration_is_still_run_first() -> None:
    _, samples = measured(ScriptedSession(in_order))
    assert samples[0, 1] == in_order(1)


def test_the_least_count_is_reached_however_long_it_takes() -> None:
    found, samples = measured(ScriptedSession(lambda _position: 700.0), spec(min_iterations=7))
    assert len(samples) == found.compute.count == 7


def test_a_steady_session_is_measured_for_the_least_duration_alone() -> None:
    session = ScriptedSession(lambda _position: 1.0)
    found, samples = measured(session)
    assert 0.1 <= session.counted_s(samples) < 0.12
    assert (found.settled, found.taints) == (True, ())
    assert found.interval_ms == (1.0, 1.0)


def test_a_noisy_session_is_measured_until_its_interval_is_narrow() -> None:
    session = ScriptedSession(noisy(0.1))
    found, samples = measured(session, spec(max_duration_ms=60_000))
    assert session.counted_s(samples) > 0.2
    assert found.settled
    assert found.interval_ms is not None
    low, high = found.interval_ms
    assert low > 0.995 * found.compute.median_ms
    assert high < 1.005 * found.compute.median_ms


def test_what_does_not_settle_in_time_is_tainted_with_its_interval() -> None:
    session = ScriptedSession(noisy(0.5))
    found, samples = measured(session)
    assert 0.5 <= session.counted_s(samples) < 0.53
    assert found.settled is False
    (taint,) = [taint for taint in found.taints if taint.startswith("unsettled")]
    assert "the 95 % interval of the median is ±" in taint
    assert "wider than ±0.5 %" in taint


def test_whoever_takes_any_interval_gets_the_least_duration_and_no_taint() -> None:
    session = ScriptedSession(noisy(0.5))
    found, samples = measured(session, spec(precision_percent=100))
    assert session.counted_s(samples) < 0.15
    assert (found.settled, found.taints) == (None, ())
    assert found.interval_ms is not None


def test_a_session_that_slows_down_drifts() -> None:
    found, _ = measured(ScriptedSession(lambda position: 1 + position / 10_000))
    assert found.drift_percent == pytest.approx(0.67, abs=0.2)
    found, _ = measured(ScriptedSession(lambda position: 1 + position / 1000))
    (taint,) = [taint for taint in found.taints if taint.startswith("drift")]
    assert re.fullmatch(r"drift: the last third was \d\S* % slower than the first", taint)


def test_drift_counts_from_twice_the_precision_on() -> None:
    assert taints_of(0.1, 0.9, 0.5) == ()
    assert len(taints_of(0.1, 1.1, 0.5)) == 1
    assert taints_of(0.1, -1.1, 0.5) == ("drift: the last third was 1.1 % faster than the first",)
    assert taints_of(12_345.6, None, 0.5)[0].endswith("is ±12,346 %, wider than ±0.5 %")
    assert taints_of(0.1, 1.1, 1.0) == ()


def test_drift_is_told_apart_from_noise() -> None:
    noise = np.random.default_rng(3).standard_normal((30, 20))
    assert drift_percent(list(100 + 20 * noise))[1] is False
    drift, is_sure = drift_percent(list(100 + 0.2 * noise + np.linspace(0, 3, 30)[:, None]))
    assert drift == pytest.approx(2, abs=0.2)
    assert is_sure


def test_the_drift_of_too_few_blocks_is_not_told() -> None:
    assert drift_percent([np.ones(9)] * 5) == (None, False)
    assert drift_percent([*[np.ones(9)] * 3, *[np.full(9, 2.0)] * 3]) == (100, True)


def test_the_most_iterations_are_never_exceeded() -> None:
    session = ScriptedSession(in_order)
    found, samples = measured(session, spec(duration_ms=60_000, max_duration_ms=0, max_iterations=33))
    assert len(samples) == found.compute.count == 33
    assert session.bursts == [33]


def test_one_iteration_has_no_interval() -> None:
    session = ScriptedSession(lambda _position: 700.0)
    found, _ = measured(session, spec(min_iterations=1, max_iterations=1))
    assert (found.interval_ms, found.settled) == (None, False)
    assert found.taints == ("unsettled: too few iterations for an interval",)


def test_latency_is_the_sum_of_its_parts_and_throughput_comes_from_the_burst() -> None:
    session = ScriptedSession(lambda _position: 2.0, transfers_ms=(0.25, 0.5))
    found, samples = measured(session, batch=8)
    assert samples.shape[1] == 3
    assert samples.dtype == np.float64
    assert found.latency.median_ms == pytest.approx(2.75)
    assert found.h2d is not None
    assert found.d2h is not None
    assert (found.h2d.median_ms, found.d2h.median_ms) == (0.25, 0.5)
    assert found.throughput_per_s == pytest.approx(8 * 500)
    assert (found.batch, found.shapes) == (8, {"x": (8, 2)})


def test_the_burst_lasts_no_longer_than_the_measurement() -> None:
    session = ScriptedSession(lambda _position: 1.0)
    measured(session, spec(duration_ms=50))
    measured(session, spec(duration_ms=500, max_duration_ms=0))
    assert session.bursts == [50, 150]


def test_throughput_with_the_cache_emptied_is_that_of_the_computation() -> None:
    session = ScriptedSession(lambda _position: 2.0, method=Method(graph=True, transfers=False, flushed=True))
    found, _ = measured(session, batch=4)
    assert session.bursts == []
    assert found.throughput_per_s == pytest.approx(4 * 500)


def test_a_measurement_is_filed_by_the_sessions_own_method() -> None:
    method = Method(graph=True, transfers=False, streams=4)
    found, _ = measured(ScriptedSession(in_order, method=method))
    assert found.method == method
    assert (found.h2d, found.d2h) == (None, None)


def test_a_device_without_transfers_has_no_figures_for_them() -> None:
    session = ScriptedSession(in_order)
    session.has_transfers = False
    found, _ = measured(session)
    assert (found.h2d, found.d2h, str(found.method)) == (None, None, "plain")


def test_a_model_without_a_batch_counts_as_one() -> None:
    found, _ = measured(ScriptedSession(lambda _position: 1.0), batch=0)
    assert found.throughput_per_s == pytest.approx(1000)


def test_when_it_was_measured_is_told_by_the_clock_that_watchers_read() -> None:
    session = ScriptedSession(lambda _position: 1.0, begin=1000.0)
    found, samples = measured(session, spec(warmup_ms=50))
    assert found.window is not None
    assert found.warmup_s is not None
    begin, end = found.window
    assert begin == pytest.approx(1000 + found.warmup_s)
    assert end - begin == pytest.approx(session.counted_s(samples))


def test_progress_never_falls_and_stays_below_one_and_a_bit() -> None:
    said: list[float] = []
    session = ScriptedSession(noisy(0.5))
    tell: Callable[[float, str], None] = lambda fraction, _message: said.append(fraction)  # noqa: E731
    measure(session, spec(), 4, {}, tell, clock=session.now)
    assert said == sorted(said)
    assert said[-1] == 1.0


@pytest.mark.parametrize("compute_ms", [0.02, 0.5, 4.0])
def test_the_farms_four_methods_take_two_and_a_half_seconds_of_a_steady_device(compute_ms: float) -> None:
    taken_s = 0.0
    for number in range(4):
        session = ScriptedSession(lambda _position: compute_ms)
        measured(session, BenchmarkSpec(), is_warm=number > 0)
        taken_s += session.now() + sum(session.bursts) * compute_ms / 1000
    assert 1.0 < taken_s < 2.5
