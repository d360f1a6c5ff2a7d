"""Ways to time an engine: their names, which of them a benchmark wants, and which one stands for all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import InvalidSpecError
from farm.domain.methods import METHOD_WORDS, Method, methods_of

every_method = st.builds(
    Method,
    graph=st.booleans(),
    transfers=st.booleans(),
    streams=st.integers(1, 64),
    flushed=st.booleans(),
)


@given(every_method)
def test_a_name_is_read_as_what_it_was_written_from(method: Method) -> None:
    assert Method.from_name(str(method)) == method


@pytest.mark.parametrize("name", ["", "graph", "plain-", "plain-flushed-s2", "cuda-graph-s1234", "Plain"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no method of timing"):
        Method.from_name(name)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (BenchmarkSpec(), "plain plain-compute cuda-graph cuda-graph-compute"),
        (BenchmarkSpec(method="trtexec-10"), "plain"),
        (BenchmarkSpec(method="trtexec-11"), "cuda-graph-compute"),
        (BenchmarkSpec(method="plain-compute"), "plain-compute"),
        (BenchmarkSpec(method="trtexec-11", flush_l2=True), "cuda-graph-compute-flushed"),
        (BenchmarkSpec(method="trtexec-10", streams=(2, 1, 4)), "plain plain-s2 plain-s4"),
        (BenchmarkSpec(method="trtexec-11", streams=(4,)), "cuda-graph-compute-s4"),
        (BenchmarkSpec(streams=(8, 2)), "cuda-graph-compute-s2 cuda-graph-compute-s8"),
    ],
)
def test_which_ways_a_benchmark_times_by(spec: BenchmarkSpec, names: str) -> None:
    assert " ".join(map(str, spec.methods)) == names


def test_only_trtexec_10_sleeps_while_it_waits() -> None:
    assert [word for word in METHOD_WORDS if BenchmarkSpec(method=word).is_blocking] == ["trtexec-10"]


def test_another_word_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(InvalidSpecError, match="no method of timing is called 'trtexec'") as caught:
        methods_of("trtexec", (1,), flushed=False)
    assert all(word in caught.value.hint for word in METHOD_WORDS)


def test_the_figure_that_stands_for_all_is_the_graphs_with_transfers() -> None:
    ways = [
        Method(graph, transfers, streams, flushed)
        for graph, transfers, streams, flushed in itertools.product(
            (False, True), (False, True), (1, 4), (False, True)
        )
    ]
    assert [str(way) for way in sorted(ways, key=lambda way: way.rank, reverse=True)][:5] == [
        "cuda-graph",
        "cuda-graph-compute",
        "plain",
        "plain-compute",
        "cuda-graph-flushed",
    ]
