"""What must be said beside the tables of a report: what is left out, and what holds for all lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.report_cells import TAINTED
from cli.report_labels import labels_of, shared_remarks

if TYPE_CHECKING:
    from farm.domain.report import ModelReport


def notes_of(report: ModelReport) -> list[str]:
    """The notes of a model, each a sentence or two."""
    notes = [f"All engines of {text}." for text in shared_remarks(report)]
    if any(figure.taints for line in report.lines for figure in line.figures.values()):
        notes.append(f"{TAINTED} tainted: something disturbed it; the last table says what.")
    left_out = sum(line.left_out for line in report.lines)
    if left_out:
        notes.append(
            f"Left out because something disturbed them: {left_out} figure(s). --tainted shows them."
        )
    labels = labels_of(report)
    without: dict[str, list[str]] = {}
    for line in report.lines:
        if line.figures or line.left_out:
            continue
        others = " and ".join(map(str, line.other_methods))
        why = (
            f"Not timed by {line.method}, but by {others} (--method)"
            if others
            else "Not timed at what is asked for"
        )
        without.setdefault(why, []).append(labels[line.key])
    notes += [f"{why}: {'; '.join(names)}." for why, names in without.items()]
    if report.never_run:
        numbers = ", ".join(str(engine.id) for engine in report.never_run)
        notes.append(f"Never run so far: engines {numbers}; `farm engines` lists them.")
    return notes
