"""The tables of a report: Markdown word for word, CSV and JSON of the same figures."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from cli.report_cells import times
from cli.report_documents import csv_text, document
from cli.report_labels import labels_of, shared_remarks
from cli.report_markdown import markdown
from cli.report_notes import notes_of
from cli.report_pivots import runtime_s, shape_labels
from cli.report_tables import tables_of
from farm.domain.report import Wanted
from tests.factories import an_accuracy, an_output_accuracy
from tests.unit.reports.given import (
    GRAPH,
    NAME,
    PLAIN,
    TORCH,
    a_figure,
    a_report,
    a_run,
    a_usual_report,
    an_engine,
)

USUAL = Path(__file__).with_name("usual.md")


def table(report: object, kind: str, samples: tuple[int, ...] = ()) -> list[list[str]]:
    """The texts of a table, its head first."""
    (found,) = [each for each in tables_of(report, samples) if each.kind == kind]  # type: ignore[arg-type]
    return [list(found.columns), *([cell.text for cell in row] for row in found.rows)]


def test_the_markdown_of_a_usual_report() -> None:
    assert markdown([a_usual_report()], (1000, 10_000)) == USUAL.read_text(encoding="utf-8")


def test_what_was_not_measured_is_a_dash_and_no_zero() -> None:
    never = an_engine(9, precision="int8")
    report = a_report(an_engine(1, a_run(1, a_figure(8, 2.0))), never)
    assert table(report, "latency")[2] == ["tensorrt 8.6.0 int8", "–", "–", "–", "–", "9", "–"]
    assert table(report, "speed-up")[2] == ["tensorrt 8.6.0 int8", "–", "9", "–"]
    assert table(report, "accuracy")[2] == ["tensorrt 8.6.0 int8", "–", "–", "–", "–", "9", "–"]
    assert notes_of(report) == ["Not timed at what is asked for: tensorrt 8.6.0 int8."]
    (row,) = [line for line in document([report])[0]["lines"] if line["engine"] == 9]
    assert (row["figures"], row["accuracy"]) == ([], None)


def test_a_report_without_any_figure_has_its_tables_all_the_same() -> None:
    report = a_report(an_engine(1))
    assert [each.kind for each in tables_of(report, (1000,))] == ["accuracy", "builds", "figures"]
    assert "### Every figure" in markdown([report])
    assert len(csv_text([report]).splitlines()) == 2


def test_an_interval_and_a_percentile_that_nobody_told_are_dashes() -> None:
    few = a_figure(8, 2.0)
    few = replace(few, compute=replace(few.compute, p99_ms=None))
    head, row = table(a_report(an_engine(1, a_run(1, few))), "figures")
    assert (row[head.index("p99 ms>")], row[head.index("± %>")]) == ("–", "–")


@pytest.mark.parametrize(
    ("interval", "text"),
    [((1.99, 2.002), "0.50"), ((1.0, 2.0), "50"), ((2.0, 2.0), "0.00"), ((0.0, 99.0), "> 999")],
)
def test_an_interval_is_its_farther_end_in_percent_of_the_median(
    interval: tuple[float, float], text: str
) -> None:
    head, row = table(a_report(an_engine(1, a_run(1, a_figure(8, 2.0, interval_ms=interval)))), "figures")
    assert row[head.index("± %>")] == text


def test_a_latency_with_transfers_is_shown_only_where_there_were_any() -> None:
    method = replace(GRAPH, transfers=False)
    report = a_report(an_engine(1, a_run(1, a_figure(8, 2.0, method))), methods=(method,))
    head, row = table(report, "figures")
    assert row[head.index("latency ms>")] == "–"
    assert document([report])[0]["lines"][0]["figures"][0]["latency_ms"] is None


def test_runtimes_are_whole_batches_at_the_measured_throughput() -> None:
    report = a_report(an_engine(1, a_run(1, a_figure(32, 16.0))))
    (figure,) = report.lines[0].figures.values()
    assert runtime_s(figure, 64) == pytest.approx(0.032)
    # Of the thirty-second batch eight places stay empty.
    assert runtime_s(figure, 1000) == pytest.approx(32 * 0.016)
    assert table(report, "samples", (1000,))[1][1:4] == ["32", "0.512", "1,953"]


def test_a_ratio_against_a_disturbed_base_is_marked_too() -> None:
    base = an_engine(1, a_run(1, a_figure(8, 4.0, taints=("drift",))), toolchain=TORCH, precision="fp32")
    report = a_report(base, an_engine(2, a_run(2, a_figure(8, 2.0))), wanted=Wanted(with_tainted=True))
    assert [row[1] for row in table(report, "speed-up")[1:]] == ["1.00 × †", "2.00 × †"]
    assert [row[1] for row in table(report, "latency")[1:]] == ["4.000 †", "2.000"]


def test_labels_have_what_tells_lines_apart_and_no_more() -> None:
    options = {"tactic_sources": ["-CUBLAS"], "builder_optimization_level": 5}
    report = a_report(
        an_engine(1, builder_config=options),
        an_engine(2, builder_config={**options, "builder_optimization_level": 1}),
        an_engine(3, builder_config=options, salt="again"),
        an_engine(4, builder_config=options),
        an_engine(5, toolchain=TORCH),
    )
    assert list(labels_of(report).values()) == [
        "tensorrt 8.6.0 fp16, builder_optimization_level=5, engine 1",
        "tensorrt 8.6.0 fp16, builder_optimization_level=1",
        "tensorrt 8.6.0 fp16, salt again, builder_optimization_level=5",
        "tensorrt 8.6.0 fp16, builder_optimization_level=5, engine 4",
        "torch-amp (torch 2.13.0)",
    ]
    assert shared_remarks(report) == ["tensorrt 8.6.0: tactic_sources=-CUBLAS"]


def test_devices_and_methods_are_told_where_there_are_several() -> None:
    engines = an_engine(1, a_run(1, a_figure(8, 4.0, PLAIN), a_figure(8, 3.0))), an_engine(2, cpu=True)
    assert list(labels_of(a_report(*engines, methods=(PLAIN, GRAPH))).values()) == [
        "nvidia-h200: tensorrt 8.6.0 fp16, plain",
        "nvidia-h200: tensorrt 8.6.0 fp16, cuda-graph",
        "cpu: tensorrt 8.6.0 fp16, plain",
    ]


def test_shapes_of_one_batch_size_are_told_apart() -> None:
    short, long = (8, (("ids", (8, 16)),)), (8, (("ids", (8, 512)),))
    assert list(shape_labels([(0, ()), (1, ()), short, long]).values()) == [
        "its shape", "batch 1", "batch 8 (ids 8x16)", "batch 8 (ids 8x512)"
    ]  # fmt: skip


def test_what_is_left_out_is_said() -> None:
    run = a_run(1, a_figure(8, 4.0, taints=("drift",)), a_figure(1, 3.0), a_figure(1, 4.0, PLAIN))
    graph = an_engine(1, run)
    plain = an_engine(2, a_run(2, a_figure(8, 4.0, PLAIN)), precision="fp32")
    more = an_engine(3, a_run(3, a_figure(8, 4.0, PLAIN)), precision="int8")
    report = replace(a_report(graph, plain, more), never_run=(an_engine(4), an_engine(5)))
    assert notes_of(report) == [
        "Left out because something disturbed them: 1 figure(s). --tainted shows them.",
        "Not timed by cuda-graph, but by plain (--method): tensorrt 8.6.0 fp32; tensorrt 8.6.0 int8.",
        "Never run so far: engines 4, 5; `farm engines` lists them.",
    ]


def test_a_model_of_which_nothing_was_run_has_a_heading_and_says_so() -> None:
    report = replace(a_report(), never_run=(an_engine(4),))
    assert markdown([report]) == (
        "## resnet50@1\n\n- Never run so far: engines 4; `farm engines` lists them.\n"
    )
    assert document([report])[0]["never_run"] == [4]
    assert csv_text([report]) == "\n"


def test_the_csv_has_a_row_for_each_figure_of_the_document() -> None:
    report = a_usual_report()
    rows = list(csv.DictReader(io.StringIO(csv_text([report], (1000,)))))
    figures = [
        (line, figure) for line in document([report], (1000,))[0]["lines"] for figure in line["figures"]
    ]
    assert len(rows) == len(figures) == 8
    for row, (line, figure) in zip(rows, figures, strict=True):
        assert (row["model"], row["engine"], row["run"]) == (
            "resnet50",
            str(line["engine"]),
            str(figure["run"]),
        )
        assert float(row["median_ms"]) == figure["median_ms"]
        assert float(row["samples_1000_runtime_s"]) == figure["samples"]["1000"]["runtime_s"]
        assert row["shapes"] == f"input {figure['batch']}x3x8x8"
    assert rows[-1]["taints"] == "drift"
    assert rows[0]["interval_percent"] == ""


def test_the_csv_has_the_middle_of_what_was_watched() -> None:
    conditions = {
        "sm_clock_mhz": {"min": 1900, "median": 1980, "max": 1980},
        "foreign": [{"pid": 4}],
        "samples": 9,
    }
    report = a_report(an_engine(1, a_run(1, a_figure(8, 2.0, conditions=conditions))))
    (row,) = csv.DictReader(io.StringIO(csv_text([report])))
    assert (row["conditions_sm_clock_mhz"], row["conditions_samples"]) == ("1980", "9")
    assert "conditions_foreign" not in row
    head, cells = table(report, "figures")
    assert cells[head.index("conditions")] == "SM 1900–1980 MHz"
    assert document([report])[0]["lines"][0]["figures"][0]["conditions"] == conditions


def test_the_document_is_json_and_has_where_everything_is_from() -> None:
    (found,) = json.loads(json.dumps(document([a_usual_report()])))
    assert (found["model"], found["version"], len(found["lines"])) == ("resnet50", 1, 3)
    line = found["lines"][2]
    assert (line["label"], line["than_engine"]) == ("tensorrt 8.6.0 int8, calibrated (entropy)", 1)
    assert line["figures"][0]["measured_at"] == "2026-11-21T12:03:00+00:00"
    assert [line["baseline"] for line in found["lines"]] == ["torch", None, None]


@pytest.mark.parametrize("name", ["=1+1", "a|b", "*x*", "<b>", "[x](y)"])
def test_names_are_neither_markup_nor_formulas(name: str) -> None:
    report = a_report(an_engine(1, a_run(1, a_figure(8, 2.0)), salt=name), name=replace(NAME, name=name))
    (row,) = csv.DictReader(io.StringIO(csv_text([report])))
    assert row["model"].lstrip("'") == name
    assert not row["model"].startswith("=")
    heading = markdown([report]).splitlines()[0]
    assert heading.replace("\\", "") == f"## {name}@1"
    assert all(f"\\{mark}" in heading for mark in "|*<[" if mark in name)


def test_labelled_inputs_tell_more_than_agreement() -> None:
    labelled = replace(an_accuracy(replace(an_output_accuracy(), snr_db=999.0)), label_top1=0.75)
    report = a_report(an_engine(1, a_run(1, a_figure(8, 2.0), accuracy=labelled)))
    assert table(report, "accuracy")[1][1:4] == ["exact", "0.999900", "75.0 %"]


@pytest.mark.parametrize(
    ("ratio", "text"), [(None, "–"), (0.333, "0.33 ×"), (12.345, "12.35 ×"), (1234.5, "1,234 ×")]
)
def test_a_speed_up_in_words(ratio: float | None, text: str) -> None:
    assert times(ratio) == text
