"""The tables of a model's report, whatever they are written as: Markdown, HTML or the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.report_figures import accuracy_table, builds_table, figures_table
from cli.report_labels import labels_of
from cli.report_pivots import latency_table, samples_table, speed_up_table, throughput_table, with_accuracy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.report_cells import ReportTable
    from farm.domain.report import ModelReport


def tables_of(report: ModelReport, samples: Sequence[int] = ()) -> list[ReportTable]:
    """All tables of a model.

    Args:
        report: of the model.
        samples: for how many inferences to tell runtime and rate.
    """
    labels = labels_of(report)
    if not report.lines:
        return []
    tables = []
    if report.shapes:
        tables = [with_accuracy(latency_table(report, labels), report), throughput_table(report, labels)]
    if report.compares:
        tables.append(speed_up_table(report, labels))
    if samples and report.shapes:
        tables.append(samples_table(report, labels, samples))
    return [
        *tables,
        accuracy_table(report, labels),
        builds_table(report, labels),
        figures_table(report, labels),
    ]
