"""The tables of a report that tell all: what each engine is, and where every figure is from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

from cli.conditions_text import conditions_text
from cli.interval_text import interval_text
from cli.render import NONE, ms, per_second, seconds, size
from cli.report_accuracy import ACCURACY, accuracy_columns
from cli.report_cells import Cell, ReportTable, marked, times
from cli.report_pivots import base_words, shape_labels

if TYPE_CHECKING:
    from cli.report_cells import Labels
    from farm.domain.report import Figure, Line, ModelReport, ShapeKey

_ACCURACY = ("", *ACCURACY, "reference", "engine>", "run>")
_BUILDS = ("", "build>", "size>", "device memory>", "layers>", "engine>")
_FIGURES = (
    "", "batch>", "median ms>", "± %>", "p99 ms>", "latency ms>", "per second>", "speed-up>", "engine>", "run>",
    "measured (UTC)", "device", "driver", "conditions", "taints",
)  # fmt: skip
#: Not shown where they are empty.
_IF_ANY = ("speed-up>", "driver", "conditions", "taints", "device memory>", "layers>")


def accuracy_table(report: ModelReport, labels: Labels) -> ReportTable:
    """How near each engine is to the reference."""
    rows = tuple(_accuracy_row(labels[line.key], line) for line in report.lines)
    references = {line.accuracy_run.accuracy.reference if line.accuracy_run and line.accuracy_run.accuracy else ""
                  for line in report.lines}  # fmt: skip
    note = "Of the output that fares worst."
    if len(references) == 1 and "" not in references:
        note = f"Of the output that fares worst, against {references.pop()}."
        rows = tuple((*row[:4], *row[5:]) for row in rows)
    if any(row[3].text.startswith("agrees") for row in rows):
        note += " Agrees: how often the largest score is the reference's."
    columns = tuple(column for column in _ACCURACY if column != "reference" or references)
    return ReportTable("accuracy", "Accuracy", note, columns, rows)


def builds_table(report: ModelReport, labels: Labels) -> ReportTable:
    """How long each build took, and what became of it."""
    rows = tuple(_build_row(labels[line.key], line) for line in report.lines)
    note = "Of the build alone, without verifying and timing; what it found in caches made it shorter."
    return _without_empty(ReportTable("builds", "Build time and size", note, _BUILDS, rows))


def figures_table(report: ModelReport, labels: Labels) -> ReportTable:
    """Every figure with the run that measured it."""
    names = shape_labels(report.shapes)
    compares = report.compares
    rows = [
        _figure_row(
            labels[line.key], names[shape], report.speed_up(line, shape) if compares else None, line, shape
        )
        for line in report.lines
        for shape in line.figures
    ]
    note = "± is the 95 % confidence interval of the median; latency has the transfers to and from the device in it."
    if compares:
        note += f" Speed-up against {base_words(report, labels)}."
    return _without_empty(ReportTable("figures", "Every figure", note, _FIGURES, tuple(rows)))


def _without_empty(table: ReportTable) -> ReportTable:
    """The table without the columns that say nothing of any row; figures that are missing keep theirs."""
    kept = [
        at
        for at, column in enumerate(table.columns)
        if column not in _IF_ANY or any(row[at].text != NONE for row in table.rows)
    ]
    rows = tuple(tuple(row[at] for at in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[at] for at in kept), rows=rows)


def _accuracy_row(label: str, line: Line) -> tuple[Cell, ...]:
    engine, run = line.engine, line.accuracy_run
    why = f"unverified: {engine.unverified_reason}" if engine.unverified_reason else NONE
    return (
        Cell(label),
        *accuracy_columns(line),
        Cell(run.accuracy.reference if run and run.accuracy else why),
        Cell(str(engine.id), engine.id),
        Cell(str(run.id), run.id) if run else Cell(NONE),
    )


def _build_row(label: str, line: Line) -> tuple[Cell, ...]:
    engine = line.engine
    memory, layers = engine.device_memory_bytes or None, engine.layers or None
    return (
        Cell(label),
        Cell(seconds(engine.build_s), engine.build_s),
        Cell(size(engine.digest.size_bytes), engine.digest.size_bytes),
        Cell(size(memory), memory),
        Cell(NONE if layers is None else str(layers), layers),
        Cell(str(engine.id), engine.id),
    )


def _figure_row(
    label: str, batch: str, speed_up: float | None, line: Line, shape: ShapeKey
) -> tuple[Cell, ...]:
    figure: Figure = line.figures[shape]
    measurement, run = figure.measurement, figure.run
    median = measurement.compute.median_ms
    # Without transfers there is no such thing as a latency with them.
    latency = measurement.latency.median_ms if measurement.transfers else None
    return (
        Cell(label),
        Cell(batch.removeprefix("batch "), shape[0]),
        Cell(marked(ms(median), figure), median),
        Cell(interval_text(measurement)),
        Cell(ms(measurement.compute.p99_ms), measurement.compute.p99_ms),
        Cell(ms(latency), latency),
        Cell(per_second(measurement.throughput_per_s), measurement.throughput_per_s),
        Cell(times(speed_up), speed_up),
        Cell(str(line.engine.id), line.engine.id),
        Cell(str(run.id), run.id),
        Cell(f"{run.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}", run.started_at.timestamp()),
        Cell(f"{line.device} {run.device_uuid[:12]}"),
        Cell(run.driver_version or NONE),
        Cell(conditions_text(measurement.conditions)),
        Cell("; ".join(figure.taints) or NONE),
    )
