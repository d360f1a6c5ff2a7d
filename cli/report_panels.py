"""Charts show some lines at a time: of one device where there are many, and never too many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cli.report_labels import labels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.report_cells import Labels
    from farm.domain.report import Line, ModelReport

#: More lines than this are no chart any more.
MOST_LINES = 12


@dataclass(frozen=True)
class Panel:
    """Lines of a model that are drawn together.

    Attributes:
        report: of the model, with these lines alone.
        labels: of all lines of the model.
        name: what tells it from the other panels of the model; empty for the only one.
        slug: the same and the model, for files and anchors.
    """

    report: ModelReport
    labels: Labels
    name: str
    slug: str


def panels_of(report: ModelReport) -> list[Panel]:
    """The lines of a model in panels of at most `MOST_LINES`."""
    labels = labels_of(report)
    groups: dict[str, list[Line]] = {}
    for line in report.lines:
        groups.setdefault(line.device if len(report.lines) > MOST_LINES else "", []).append(line)
    parts: list[tuple[str, Sequence[Line]]] = []
    for device, lines in groups.items():
        chunks = [lines[begin : begin + MOST_LINES] for begin in range(0, len(lines), MOST_LINES)]
        parts += [
            (f"{device}, part {at} of {len(chunks)}" if len(chunks) > 1 else device, chunk)
            for at, chunk in enumerate(chunks, 1)
        ]
    if len(parts) == 1:
        parts = [("", report.lines)]
    return [
        Panel(
            replace(report, lines=tuple(lines)),
            labels,
            name,
            _slug(f"{report.name.name}-{report.name.version}" + (f"-{at}" if len(parts) > 1 else "")),
        )
        for at, (name, lines) in enumerate(parts, 1)
    ]


def _slug(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text.lower())
