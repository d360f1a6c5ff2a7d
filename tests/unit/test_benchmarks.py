"""Figures by trtexec's definitions, so that they compare."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.benchmarks import BenchmarkSpec, Measurement
from farm.domain.errors import InvalidSpecError
from farm.domain.latencies import LatencySummary, percentile, summarise
from farm.domain.targets import DeviceKind
from tests.factories import a_measurement, a_summary

if TYPE_CHECKING:
    from numpy.typing import NDArray

times_ms = st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=300).map(np.asarray)


def trtexec_percentile(percent: float, ordered: NDArray[np.float64]) -> float:
    """`findPercentile` of samples/common/sampleReporting.cpp, whose arithmetic is in single precision.

    int32_t const all = static_cast<int32_t>(timings.size());
    int32_t const exclude = static_cast<int32_t>((1 - percentile / 100) * all);
    return toFloat(timings[std::max(all - 1 - exclude, 0)]);
    """
    count = len(ordered)
    exclude = int(
        np.float32(np.float32(1 - np.float32(np.float32(percent) / np.float32(100))) * np.float32(count))
    )
    return float(ordered[max(count - 1 - exclude, 0)])


@pytest.mark.parametrize("percent", [90, 95, 99, 0, 50, 100])
def test_percentiles_are_trtexecs_at_every_count(percent: float) -> None:
    for count in range(1, 3001):
        ordered = np.arange(count, dtype=np.float64)
        assert percentile(ordered, percent) == trtexec_percentile(percent, ordered), count


@given(times_ms, st.sampled_from([90.0, 95.0, 99.0]))
def test_a_percentile_is_one_of_the_samples_and_enough_are_not_above(
    samples: NDArray[np.float64], percent: float
) -> None:
    ordered = np.sort(samples)
    found = percentile(ordered, percent)
    assert found in ordered
    assert (ordered <= found).sum() >= len(ordered) * percent / 100 - 1


@pytest.mark.parametrize(
    ("count", "percent", "index"),
    [
        # As the program itself, compiled by g++, picks them.
        (1, 99, 0),
        (10, 90, 8),
        (20, 95, 18),
        (100, 90, 89),
        (100, 95, 94),
        (100, 99, 99),
        (101, 99, 99),
        (200, 99, 198),
        (1000, 99, 990),
    ],
)
def test_percentiles_of_round_counts(count: int, percent: float, index: int) -> None:
    assert percentile(np.arange(count, dtype=np.float64), percent) == index


@given(times_ms)
def test_the_median_is_the_middle_one_or_the_mean_of_the_middle_two(samples: NDArray[np.float64]) -> None:
    assert summarise(samples).median_ms == pytest.approx(statistics.median(samples.tolist()))


@given(times_ms, st.randoms())
def test_the_order_of_samples_does_not_count(samples: NDArray[np.float64], random) -> None:
    shuffled = samples.tolist()
    random.shuffle(shuffled)
    assert summarise(np.asarray(shuffled)) == summarise(samples)


@given(times_ms)
def test_figures_stand_in_their_order(samples: NDArray[np.float64]) -> None:
    found = summarise(samples)
    assert found.min_ms <= found.median_ms <= found.max_ms
    told = [p for p in (found.p90_ms, found.p95_ms, found.p99_ms) if p is not None]
    assert sorted([found.max_ms, found.min_ms, *told]) == [found.min_ms, *told, found.max_ms]
    assert found.mean_ms == pytest.approx(samples.mean())
    assert found.std_ms == pytest.approx(samples.std(), abs=1e-9)
    assert found.count == len(samples)


def test_one_sample_is_every_figure_but_no_percentile() -> None:
    assert summarise(np.asarray([2.5])) == LatencySummary(2.5, 2.5, 2.5, 2.5, None, None, None, 0.0, 1)


@pytest.mark.parametrize(("name", "enough"), [("p90_ms", 100), ("p95_ms", 200), ("p99_ms", 1000)])
def test_a_percentile_is_told_from_ten_samples_beyond_it_on(name: str, enough: int) -> None:
    samples = np.arange(enough, dtype=np.float64)
    found = getattr(summarise(samples), name)
    assert found == percentile(samples, float(name[1:3]))
    assert getattr(summarise(samples[1:]), name) is None


def test_samples_are_left_as_they_are() -> None:
    samples = np.asarray([3.0, 1.0, 2.0])
    summarise(samples)
    assert samples.tolist() == [3.0, 1.0, 2.0]


def test_nothing_can_not_be_summarised() -> None:
    with pytest.raises(InvalidSpecError, match="no iteration"):
        summarise(np.asarray([]))


def test_variation_is_in_percent_of_the_mean() -> None:
    assert summarise(np.asarray([1.0, 3.0])).cv_percent == 50.0
    assert summarise(np.asarray([0.0, 0.0])).cv_percent == 0.0


@pytest.mark.parametrize(
    "measurement",
    [
        a_measurement(8),
        a_measurement(0, shapes={"step": ()}, h2d=None, d2h=None, graph=False),
        a_measurement(1, shapes={"b": (1, 2), "a": (3,)}, compute=a_summary(0.001, count=1)),
    ],
)
def test_a_measurement_survives_json(measurement: Measurement) -> None:
    assert Measurement.from_json(json.loads(json.dumps(measurement.as_json()))) == measurement


@pytest.mark.parametrize(
    "spec",
    [
        BenchmarkSpec(),
        BenchmarkSpec((1, 8), 0, 1, 1, 1),
        BenchmarkSpec(
            method="trtexec-10", streams=(1, 4), flush_l2=True, precision_percent=2, max_duration_ms=9000
        ),
    ],
)
def test_a_benchmarks_wishes_survive_json(spec: BenchmarkSpec) -> None:
    assert BenchmarkSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec


@pytest.mark.parametrize(
    "wrong",
    [
        {"batches": (1, 0)},
        {"batches": (-1,)},
        {"duration_ms": 0},
        {"min_iterations": 0},
        {"min_iterations": 10, "max_iterations": 9},
        {"warmup_ms": -1},
        {"method": "by-hand"},
        {"streams": ()},
        {"streams": (0,)},
        {"streams": (65,)},
        {"precision_percent": 0},
        {"precision_percent": float("nan")},
        {"duration_ms": 100, "max_duration_ms": 99},
    ],
)
def test_what_can_not_be_measured_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidSpecError):
        BenchmarkSpec(**wrong)


def test_what_an_earlier_release_asked_for_is_read() -> None:
    """As a job of the database has it that release 0.1 has queued."""
    asked = {
        "batches": [8],
        "warmup_ms": 200,
        "duration_ms": 1000,
        "min_iterations": 20,
        "max_iterations": 20_000,
    }
    spec = BenchmarkSpec.from_json(asked)
    assert spec == BenchmarkSpec((8,), duration_ms=1000)
    assert spec.as_json() == asked


def test_how_long_it_may_take_is_ten_times_the_least_unless_told() -> None:
    assert BenchmarkSpec(duration_ms=50).longest_ms == 500
    assert BenchmarkSpec(duration_ms=50, max_duration_ms=70).longest_ms == 70


def test_profiling_stands_in_the_document_only_where_it_is_asked_for() -> None:
    assert {"profile", "nsys"}.isdisjoint(BenchmarkSpec().as_json())
    asked = BenchmarkSpec((8,), profile=True)
    assert asked.as_json()["profile"] is True
    assert BenchmarkSpec.from_json(asked.as_json()) == asked
    assert BenchmarkSpec.from_json(BenchmarkSpec((8,), nsys=True).as_json()).nsys


@pytest.mark.parametrize(
    ("asked", "kind", "percent"),
    [
        (None, DeviceKind.GPU, 0.5),
        (None, DeviceKind.CPU, 2.0),
        (0.5, DeviceKind.CPU, 0.5),
        (5.0, DeviceKind.GPU, 5.0),
    ],
)
def test_an_interval_is_as_narrow_as_asked_or_as_is_usual_on_the_device(
    asked: float | None, kind: DeviceKind, percent: float
) -> None:
    assert BenchmarkSpec(precision_percent=asked).on(kind).half_width_percent == percent
