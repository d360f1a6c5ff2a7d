"""What speed-ups are against, and that figures of different ways are never compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.report_bases import check_found
from tests.unit.reports.given import (
    GRAPH,
    ORT,
    PLAIN,
    TORCH,
    a_figure,
    a_report,
    a_run,
    a_usual_report,
    an_engine,
)

if TYPE_CHECKING:
    from farm.domain.report import ModelReport


def speed_ups(report: ModelReport) -> dict[int, list[float | None]]:
    return {
        line.engine.id: [report.speed_up(line, shape) for shape in report.shapes] for line in report.lines
    }


def test_pytorch_is_the_base_where_it_was_measured() -> None:
    assert speed_ups(a_usual_report()) == {1: [1.0, 1.0, 1.0], 2: [2.0, 3.2, 4.0], 3: [4.0, 6.4, None]}


def test_the_slowest_is_the_base_where_no_baseline_was_measured() -> None:
    slow, fast = (
        an_engine(1, a_run(1, a_figure(8, 6.0))),
        an_engine(2, a_run(2, a_figure(8, 2.0), a_figure(1, 9.0))),
    )
    # Of the shapes that both have: the other one says nothing of who is slower.
    assert speed_ups(a_report(fast, slow)) == {2: [None, 3.0], 1: [None, 1.0]}


@pytest.mark.parametrize("than", ["2", "fp16", "FP16", "tensorrt@8.6:fp16", "tensorrt:fp16"])
def test_another_base_can_be_named(than: str) -> None:
    assert speed_ups(a_usual_report(than=than)) == {
        1: [0.5, 0.3125, 0.25],
        2: [1.0, 1.0, 1.0],
        3: [2.0, 2.0, None],
    }


def test_a_baseline_is_named_by_its_word() -> None:
    amp = an_engine(1, a_run(1, a_figure(8, 6.0)), toolchain=TORCH)
    eager = an_engine(2, a_run(2, a_figure(8, 9.0)), toolchain=TORCH, precision="fp32")
    engine = an_engine(3, a_run(3, a_figure(8, 2.0)))
    assert speed_ups(a_report(amp, eager, engine, than="torch-amp"))[3] == [3.0]
    assert speed_ups(a_report(amp, eager, engine))[3] == [4.5]


def test_one_base_holds_for_other_devices_too_and_without_a_word_each_has_its_own() -> None:
    cpu = an_engine(1, a_run(1, a_figure(8, 30.0, PLAIN)), toolchain=ORT, precision="fp32", cpu=True)
    gpu = an_engine(2, a_run(2, a_figure(8, 2.0, PLAIN)))
    assert speed_ups(a_report(cpu, gpu, than="ort-cpu", methods=(PLAIN,))) == {1: [1.0], 2: [15.0]}
    assert speed_ups(a_report(cpu, gpu, methods=(PLAIN,))) == {1: [1.0], 2: [1.0]}
    assert not a_report(cpu, gpu, methods=(PLAIN,)).compares


def test_several_devices_are_each_compared_with_their_own() -> None:
    cpu = [an_engine(n, a_run(n, a_figure(8, 30.0 / n, PLAIN)), toolchain=ORT, precision=p, cpu=True)
           for n, p in ((1, "fp32"), (2, "int8"))]  # fmt: skip
    gpu = [
        an_engine(n, a_run(n, a_figure(8, 8.0 / n, PLAIN)), precision=p)
        for n, p in ((3, "fp32"), (4, "int8"))
    ]
    found = speed_ups(a_report(*cpu, *gpu, than="fp32", methods=(PLAIN,)))
    assert {number: [pytest.approx(value) for value in row] for number, row in found.items()} == {
        1: [1.0], 2: [2.0], 3: [1.0], 4: [4 / 3]
    }  # fmt: skip


def test_a_graph_is_never_compared_with_plain_launches() -> None:
    plain = an_engine(1, a_run(1, a_figure(8, 6.0, PLAIN)), toolchain=TORCH, precision="fp32")
    both = an_engine(2, a_run(2, a_figure(8, 3.0, PLAIN), a_figure(8, 2.0)))
    report = a_report(plain, both, than="torch", methods=(PLAIN, GRAPH))
    found = [(line.key, report.speed_up(line, report.shapes[0])) for line in report.lines]
    assert found == [((1, "plain"), 1.0), ((2, "plain"), 2.0), ((2, "cuda-graph"), None)]


def test_a_word_for_several_engines_of_a_device_is_refused_with_their_numbers() -> None:
    engines = [an_engine(number, a_run(number, a_figure(8, 2.0))) for number in (4, 7)]
    with pytest.raises(
        InvalidRequestError, match="--than fp16 means 2 engines of resnet50@1 on nvidia-h200"
    ) as error:
        a_report(*engines, than="fp16")
    assert error.value.hint == "Name one by its number: 4, 7."


@pytest.mark.parametrize(
    ("than", "error", "says"),
    [
        ("torch-amp", NotFoundError, "no engine of this report"),
        ("17", NotFoundError, "no engine of this report"),
        ("torch-apm", InvalidRequestError, "torch-amp"),
        ("tensort", InvalidRequestError, "tensorrt"),
    ],
)
def test_a_word_that_no_line_is_meant_by_is_an_error(than: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        check_found([a_usual_report(than=than)], than)


def test_a_base_that_was_timed_in_another_way_is_said_so() -> None:
    plain = an_engine(1, a_run(1, a_figure(8, 6.0, PLAIN)), toolchain=TORCH, precision="fp32")
    report = a_report(plain, an_engine(2, a_run(2, a_figure(8, 2.0))), than="torch")
    with pytest.raises(NotFoundError, match="was not timed by this method"):
        check_found([report], "torch")
