"""The tables of a report with a column for every batch size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from cli.render import NONE, ms, per_second
from cli.report_accuracy import ACCURACY, accuracy_columns
from cli.report_cells import Cell, ReportTable, marked, runs_text, times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from cli.report_cells import Labels
    from farm.domain.report import Figure, Line, ModelReport, ShapeKey


def latency_table(report: ModelReport, labels: Labels) -> ReportTable:
    """Milliseconds per batch, as most people publish it."""
    return _by_batch(
        report,
        labels,
        "latency",
        "Milliseconds per batch",
        f"Median time of one batch, compute alone, method {methods_text(report)}. Less is better.",
        lambda _, figure: Cell(
            ms(figure.measurement.compute.median_ms), figure.measurement.compute.median_ms
        ),
    )


def throughput_table(report: ModelReport, labels: Labels) -> ReportTable:
    """Inferences per second."""
    return _by_batch(
        report,
        labels,
        "throughput",
        "Inferences per second",
        f"Batch size times batches over the host's clock, method {methods_text(report)}. More is better.",
        lambda _, figure: Cell(
            per_second(figure.measurement.throughput_per_s), figure.measurement.throughput_per_s
        ),
    )


def methods_text(report: ModelReport) -> str:
    """How the figures were timed."""
    return " and ".join(dict.fromkeys(str(line.method) for line in report.lines))


def shape_labels(shapes: Sequence[ShapeKey]) -> dict[ShapeKey, str]:
    """What shapes are called: by the batch size, and by the inputs' shapes too where one batch size has several."""
    batches = [batch for batch, _ in shapes]
    found = {}
    for shape in shapes:
        batch, inputs = shape
        sizes = " ".join(f"{name} {'x'.join(map(str, each))}" for name, each in inputs)
        plain = batch_words(batch)
        found[shape] = f"{plain} ({sizes})" if batches.count(batch) > 1 else plain
    return found


def batch_words(batch: int) -> str:
    """`batch 8`; a model may have no batch."""
    return f"batch {batch}" if batch else "its shape"


def base_words(report: ModelReport, labels: Labels) -> str:
    """What lines are compared with, in words."""
    used = {base.key: base for line in report.lines if (base := report.base_of(line))}
    words = [f"{labels[key]} (engine {base.engine.id})" for key, base in used.items()]
    return words[0] if len(words) == 1 else f"{', '.join(words)}: each on its own device, by its own method"


def runtime_s(figure: Figure, samples: int) -> float:
    """Seconds for so many inferences at the measured throughput; a last batch that is not full takes as long as one."""
    batch = max(figure.measurement.batch, 1)
    return math.ceil(samples / batch) * batch / figure.measurement.throughput_per_s


def _by_batch(
    report: ModelReport,
    labels: Labels,
    kind: str,
    title: str,
    note: str,
    cell: Callable[[tuple[Line, ShapeKey], Figure], Cell],
) -> ReportTable:
    names = shape_labels(report.shapes)
    rows = []
    for line in report.lines:
        cells = []
        for shape in names:
            figure = line.figures.get(shape)
            found = cell((line, shape), figure) if figure else Cell(NONE)
            cells.append(Cell(marked(found.text, figure), found.order) if figure else found)
        rows.append(
            (Cell(labels[line.key]), *cells, Cell(str(line.engine.id), line.engine.id), Cell(runs_text(line)))
        )
    columns = ("", *(f"{name}>" for name in names.values()), "engine>", "runs>")
    return ReportTable(kind, title, note, columns, tuple(rows))


def with_accuracy(table: ReportTable, report: ModelReport) -> ReportTable:
    """A table with a row for each line, and the line's accuracy beside the figures."""
    # Behind the last batch size, before engine and runs.
    at = len(table.columns) - 2
    return replace(
        table,
        columns=(*table.columns[:at], *ACCURACY, *table.columns[at:]),
        rows=tuple(
            (*row[:at], *accuracy_columns(line), *row[at:])
            for row, line in zip(table.rows, report.lines, strict=True)
        ),
    )


def speed_up_table(report: ModelReport, labels: Labels) -> ReportTable:
    """How many times faster than the base."""

    def cell(where: tuple[Line, ShapeKey], figure: Figure) -> Cell:
        line, shape = where
        base = report.base_of(line)
        other = base.figures.get(shape) if base else None
        ratio = report.speed_up(line, shape)
        # A ratio is no better than what it is against; the mark of the line's own figure is put there for all tables.
        text = times(ratio)
        return Cell(text if other is None or figure.taints else marked(text, other), ratio)

    note = f"Times as fast, by the medians, as {base_words(report, labels)}. More is better."
    return _by_batch(report, labels, "speed-up", "Speed-up", note, cell)


def samples_table(report: ModelReport, labels: Labels, samples: Sequence[int]) -> ReportTable:
    """Seconds and rate for numbers of inferences."""

    def rows() -> Iterator[tuple[Cell, ...]]:
        names = shape_labels(report.shapes)
        for line in report.lines:
            for shape, figure in line.figures.items():
                cells = []
                for count in samples:
                    whole = runtime_s(figure, count)
                    cells += [
                        Cell(marked(_precise_seconds(whole), figure), whole),
                        Cell(marked(per_second(count / whole), figure), count / whole),
                    ]
                yield (
                    Cell(labels[line.key]), Cell(names[shape].removeprefix("batch "), shape[0]), *cells,
                    Cell(str(line.engine.id), line.engine.id), Cell(str(figure.run.id), figure.run.id),
                )  # fmt: skip

    pairs = [(f"{count:,}: seconds>", f"{count:,}: FPS>") for count in samples]
    note = (
        "Computed from the measured throughput, not run: samples over inferences per second, where a last batch that "
        "is not full takes as long as a full one. Loading, warm-up and preprocessing are not in it."
    )
    columns = ("", "batch>", *(name for pair in pairs for name in pair), "engine>", "run>")
    return ReportTable("samples", "Runtime and FPS", note, columns, tuple(rows()))


def _precise_seconds(value: float) -> str:
    return f"{value:#.3g}" if value < 100 else f"{value:,.0f}"
