"""Which figure of an engine a report shows: the newest clean one of each shape, by one method for all."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from farm.domain.methods import Method
from farm.domain.report import Wanted, figures_of, lines_of, usual_methods
from tests.factories import a_digest
from tests.unit.reports.given import GRAPH, PLAIN, a_figure, a_report, a_run, an_engine, lines

FLUSHED = Method(graph=True, flushed=True)


def medians(line: object) -> dict[int, float]:
    return {shape[0]: figure.measurement.compute.median_ms for shape, figure in line.figures.items()}  # type: ignore[attr-defined]


def test_the_newest_figure_of_each_shape_counts_and_hides_no_other() -> None:
    engine = an_engine(1, a_run(1, a_figure(1, 2.0), a_figure(8, 4.0)), a_run(2, a_figure(8, 3.0)))
    (line,) = lines(engine)
    assert medians(line) == {1: 2.0, 8: 3.0}
    assert [figure.run.id for figure in line.figures.values()] == [1, 2]


@pytest.mark.parametrize(
    "newer",
    [
        a_run(2, a_figure(8, 3.0, taints=("drift",))),
        a_run(2, a_figure(8, 3.0), taints=("foreign process",)),
        a_run(2, a_figure(8, 3.0), suspect="the canary drifted"),
        a_run(2, a_figure(8, 3.0), profile=a_digest("profile")),
        a_run(2, a_figure(8, 3.0), engine_sha256=a_digest("replaced since").sha256),
    ],
    ids=["tainted", "tainted run", "suspect device", "looked inside", "other bytes"],
)
def test_a_clean_figure_does_not_give_way_to_a_newer_one_that_is_worth_less(newer: object) -> None:
    engine = an_engine(1, a_run(1, a_figure(8, 4.0)), newer)  # type: ignore[arg-type]
    for with_tainted in (False, True):
        (line,) = lines(engine, wanted=Wanted(with_tainted=with_tainted))
        assert medians(line) == {8: 4.0}


def test_a_figure_that_is_tainted_only_is_left_out_and_counted_unless_it_is_asked_for() -> None:
    run = a_run(1, a_figure(1, 2.0), a_figure(8, 4.0, taints=("drift",)), suspect="")
    (line,) = lines(an_engine(1, run))
    assert (medians(line), line.left_out) == ({1: 2.0}, 1)
    (line,) = lines(an_engine(1, run), wanted=Wanted(with_tainted=True))
    assert (medians(line), line.left_out) == ({1: 2.0, 8: 4.0}, 0)
    assert [figure.taints for figure in line.figures.values()] == [(), ("drift",)]


def test_all_that_speaks_against_a_figure_is_told_once() -> None:
    run = a_run(1, a_figure(8, 4.0, taints=("drift", "clocks moved")), taints=("drift",), suspect="canary")
    (line,) = lines(an_engine(1, run), wanted=Wanted(with_tainted=True))
    (figure,) = line.figures.values()
    assert figure.taints == ("drift", "clocks moved", "canary")


def test_batches_and_the_beginning_of_time_can_be_chosen() -> None:
    engine = an_engine(1, a_run(1, a_figure(1, 2.0)), a_run(5, a_figure(8, 4.0), a_figure(32, 9.0)))
    since = datetime(2026, 11, 21, 12, 3, tzinfo=UTC)
    assert medians(lines(engine, wanted=Wanted(since=since))[0]) == {8: 4.0, 32: 9.0}
    assert medians(lines(engine, wanted=Wanted(batches=(1, 32)))[0]) == {1: 2.0, 32: 9.0}


def test_two_shapes_of_one_batch_size_are_two_figures() -> None:
    short, long = {"ids": (8, 16)}, {"ids": (8, 512)}
    engine = an_engine(1, a_run(1, a_figure(8, 1.0, shapes=short), a_figure(8, 5.0, shapes=long)))
    assert a_report(engine).shapes == [(8, (("ids", (8, 16)),)), (8, (("ids", (8, 512)),))]


def test_the_method_of_a_report_is_the_one_that_most_engines_were_timed_by() -> None:
    both = {GRAPH: 1, PLAIN: 1}
    assert usual_methods([both, {PLAIN: 1}]) == (PLAIN,)
    # Between equals the one that the farm's tables prefer.
    assert usual_methods([both, both]) == (GRAPH,)
    assert usual_methods([{FLUSHED: 1, PLAIN: 1}]) == (PLAIN,)
    assert usual_methods([{}]) == ()


def test_an_engine_that_was_timed_in_another_way_alone_keeps_its_line_and_says_so() -> None:
    engine = an_engine(1, a_run(1, a_figure(8, 4.0, PLAIN)))
    (line,) = lines(engine)
    assert (medians(line), line.other_methods) == ({}, (PLAIN,))


def test_several_methods_are_several_lines_and_only_those_with_figures() -> None:
    engine = an_engine(1, a_run(1, a_figure(8, 4.0, PLAIN), a_figure(8, 3.0)))
    found = lines_of(engine, "gpu", figures_of(engine, Wanted()), (PLAIN, GRAPH, FLUSHED), with_tainted=False)
    assert [(str(line.method), medians(line)) for line in found] == [
        ("plain", {8: 4.0}),
        ("cuda-graph", {8: 3.0}),
    ]


def test_accuracy_is_of_the_newest_run_that_has_any() -> None:
    engine = an_engine(
        1, a_run(1, a_figure(8, 4.0)), a_run(2, a_figure(8, 4.0)), a_run(3, a_figure(8, 4.0), accuracy=None)
    )
    (line,) = lines(engine)
    assert line.accuracy_run is not None
    assert line.accuracy_run.id == 2
