"""Accuracy in the tables of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.accuracy_cells import top1_text
from cli.render import NONE, decibel
from cli.report_cells import Cell

if TYPE_CHECKING:
    from farm.domain.report import Line

#: The heads of `accuracy_columns`.
ACCURACY = ("SNR>", "cosine>", "top-1>")


def accuracy_columns(line: Line) -> tuple[Cell, Cell, Cell]:
    """SNR, cosine and top-1 of the output that fares worst; dashes where nobody compared."""
    accuracy = line.accuracy_run.accuracy if line.accuracy_run else None
    if accuracy is None:
        return Cell(NONE), Cell(NONE), Cell(NONE)
    worst = accuracy.worst
    top1 = accuracy.label_top1 if accuracy.label_top1 is not None else worst.top1_agreement
    return (
        Cell(decibel(worst.snr_db), worst.snr_db),
        Cell(f"{worst.cosine:.6f}", worst.cosine),
        Cell(top1_text(accuracy), top1),
    )
