"""Measuring: what is counted, how long, and what becomes of it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from farm.domain.benchmarks import BenchmarkSpec
from workers.child.measure import measure
from workers.toolchains.toolchain import IterationTimes


class Session:
    """A session whose n-th iteration takes n milliseconds by its own account."""

    def __init__(self, *, has_transfers: bool = True, is_graph: bool = False, sleep_s: float = 0.0) -> None:
        self.has_transfers = has_transfers
        self.is_graph = is_graph
        self.sleep_s = sleep_s
        self.iterations = 0
        self.bursts: list[int] = []

    def iterate(self) -> IterationTimes:
        self.iterations += 1
        time.sleep(self.sleep_s)
        return IterationTimes(0.25, float(self.iterations), 0.5)

    def burst(self, count: int) -> float:
        self.bursts.append(count)
        return count / 1000

    def close(self) -> None:
        """Nothing to give back."""


def spec(**changes: int) -> BenchmarkSpec:
    """The shortest benchmark there is."""
    return BenchmarkSpec(**{"warmup_ms": 0, "duration_ms": 1, "min_iterations": 5, **changes})  # type: ignore[arg-type]


def silent(_fraction: float, _message: str) -> None:
    """Nobody listens."""


def test_the_warm_up_is_not_counted() -> None:
    session = Session(sleep_s=0.002)
    found, samples = measure(session, spec(warmup_ms=30), 1, {"x": (1,)}, silent)
    warm_up = session.iterations - len(samples)
    assert warm_up >= 5
    assert samples[0, 1] == warm_up + 1
    assert found.compute.min_ms == warm_up + 1


def test_without_a_warm_up_one_iteration_is_still_run_first() -> None:
    _, samples = measure(Session(), spec(), 1, {}, silent)
    assert samples[0, 1] == 2


def test_the_least_count_is_reached_however_long_it_takes() -> None:
    found, samples = measure(Session(sleep_s=0.005), spec(min_iterations=10), 1, {}, silent)
    assert len(samples) == found.compute.count == 10


def test_the_least_duration_is_reached_however_many_that_are() -> None:
    begin = time.perf_counter()
    _, samples = measure(Session(sleep_s=0.001), spec(duration_ms=100), 1, {}, silent)
    assert time.perf_counter() - begin >= 0.1
    assert len(samples) > 5


def test_the_most_iterations_are_never_exceeded() -> None:
    session = Session()
    _, samples = measure(session, spec(duration_ms=60_000, max_iterations=7), 1, {}, silent)
    assert len(samples) == 7
    assert session.bursts == [7]


def test_latency_is_the_sum_of_its_parts_and_throughput_comes_from_the_burst() -> None:
    found, samples = measure(Session(is_graph=True), spec(max_iterations=5), 8, {"x": (8, 2)}, silent)
    assert samples.shape == (5, 3)
    assert samples.dtype == np.float64
    assert found.latency.median_ms == pytest.approx(found.compute.median_ms + 0.75)
    assert found.h2d is not None
    assert found.d2h is not None
    assert (found.h2d.median_ms, found.d2h.median_ms) == (0.25, 0.5)
    assert found.throughput_per_s == pytest.approx(8 * 1000)
    assert (found.batch, found.shapes, found.graph) == (8, {"x": (8, 2)}, True)


def test_a_device_without_transfers_has_no_figures_for_them() -> None:
    found, _ = measure(Session(has_transfers=False), spec(), 1, {}, silent)
    assert (found.h2d, found.d2h) == (None, None)


def test_a_model_without_a_batch_counts_as_one() -> None:
    found, _ = measure(Session(), spec(max_iterations=5), 0, {}, silent)
    assert found.throughput_per_s == pytest.approx(1000)


def test_progress_never_falls_and_stays_below_one_and_a_bit() -> None:
    said: list[float] = []
    measure(Session(), spec(duration_ms=20), 4, {}, lambda fraction, _message: said.append(fraction))
    assert said == sorted(said)
    assert said[-1] <= 1.0
