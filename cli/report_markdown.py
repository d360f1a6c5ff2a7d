"""A report in Markdown: a section for every model, a table for every question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.report_notes import notes_of
from cli.report_tables import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cli.report_cells import ReportTable
    from farm.domain.report import ModelReport


def markdown(reports: Sequence[ModelReport], samples: Sequence[int] = ()) -> str:
    """The whole report."""
    return "\n".join(_lines(reports, samples)) + "\n"


def _lines(reports: Sequence[ModelReport], samples: Sequence[int]) -> Iterator[str]:
    for position, report in enumerate(reports):
        yield from [""] * (position > 0)
        yield f"## {_escaped(str(report.name))}"
        for table in tables_of(report, samples):
            yield from ["", f"### {table.title}", "", _escaped(table.note), ""]
            yield from _table(table)
        notes = notes_of(report)
        if notes:
            yield ""
            yield from (f"- {_escaped(note)}" for note in notes)


def _table(table: ReportTable) -> Iterator[str]:
    yield _row(column.rstrip(">") for column in table.columns)
    yield _row("--:" if column.endswith(">") else "---" for column in table.columns)
    for row in table.rows:
        yield _row(_escaped(cell.text) for cell in row)


def _row(cells: Iterator[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """Text that no reader of Markdown takes for markup or for the end of a cell."""
    for mark in ("\\", "|", "*", "_", "<", "["):
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
