"""What engines are compared by."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.medians import medians_ms, overall_ms
from tests.factories import a_measurement

MEDIANS = st.dictionaries(st.integers(1, 128), st.floats(1e-3, 1e3), min_size=1, max_size=5)


def timed(batch: int, median_ms: float, *, graph: bool) -> object:
    from dataclasses import replace

    plain = a_measurement(batch, graph=graph)
    return replace(plain, compute=replace(plain.compute, median_ms=median_ms))


def test_the_figure_of_a_cuda_graph_counts_where_there_is_one() -> None:
    found = [timed(8, 2.0, graph=False), timed(8, 1.5, graph=True), timed(1, 1.0, graph=False)]
    assert medians_ms(found) == {1: 1.0, 8: 1.5}  # type: ignore[arg-type]
    assert medians_ms(reversed(found)) == {1: 1.0, 8: 1.5}  # type: ignore[arg-type]


def test_of_two_shapes_of_a_batch_the_slower_counts() -> None:
    found = [timed(8, 2.0, graph=True), timed(8, 3.0, graph=True), timed(8, 9.0, graph=False)]
    assert medians_ms(found) == {8: 3.0}  # type: ignore[arg-type]


@given(MEDIANS, st.floats(1.1, 10))
def test_an_engine_that_is_slower_at_one_batch_is_slower_overall(
    medians: dict[int, float], by: float
) -> None:
    batch = min(medians)
    assert overall_ms({**medians, batch: medians[batch] * by}) > overall_ms(medians)


@given(st.floats(1e-3, 1e3), st.integers(1, 5))
def test_equal_medians_are_the_overall_figure(median: float, count: int) -> None:
    assert overall_ms(dict.fromkeys(range(count), median)) == pytest.approx(median)


def test_what_was_not_timed_is_the_slowest() -> None:
    assert overall_ms({}) == math.inf
