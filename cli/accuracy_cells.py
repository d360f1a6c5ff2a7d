"""Accuracy in the cells of tables: SNR, cosine and top-1 of the output that fares worst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render import NONE, decibel, percent

if TYPE_CHECKING:
    from farm.domain.accuracy import Accuracy


def accuracy_cells(accuracy: Accuracy | None) -> list[str]:
    """SNR, cosine and top-1; dashes for what nobody measured."""
    if accuracy is None:
        return [NONE, NONE, NONE]
    worst = accuracy.worst
    return [decibel(worst.snr_db), f"{worst.cosine:.6f}", top1_text(accuracy)]


def top1_text(accuracy: Accuracy) -> str:
    """Top-1 on labelled inputs, else how often the reference agrees."""
    if accuracy.label_top1 is not None:
        return percent(accuracy.label_top1)
    agreement = accuracy.worst.top1_agreement
    # Without labels nobody knows what is right, only how often the reference says the same.
    return NONE if agreement is None else f"agrees {percent(agreement)}"
