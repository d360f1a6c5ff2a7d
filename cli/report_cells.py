"""What the tables of a report are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.render import NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.report import Figure, Line

    #: What lines are called, by their keys.
    Labels = Mapping[tuple[int, str], str]

#: Beside a figure that something disturbed.
TAINTED = "†"


@dataclass(frozen=True)
class Cell:
    """What stands in a table.

    Attributes:
        text: as people read it.
        order: what it is sorted by; none for the text itself.
    """

    text: str
    order: float | None = None


@dataclass(frozen=True)
class ReportTable:
    """One table of a model.

    Attributes:
        kind: which of the tables it is: `latency`, `throughput`, `speed-up`, `samples`, `accuracy`, `builds` or
            `figures`.
        title: what it shows, with the unit.
        note: how that is defined.
        columns: their names; one that ends in `>` is aligned to the right.
        rows: the first cell of each is the label of its line.
    """

    kind: str
    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def marked(text: str, figure: Figure) -> str:
    """The text of a figure, with a mark if something disturbed it."""
    return f"{text} {TAINTED}" if figure.taints else text


def runs_text(line: Line) -> str:
    """The runs that a line's figures are from."""
    return ", ".join(map(str, sorted({figure.run.id for figure in line.figures.values()}))) or NONE


def times(ratio: float | None) -> str:
    """A speed-up."""
    if ratio is None:
        return NONE
    return f"{ratio:.2f} ×" if ratio < 100 else f"{ratio:,.0f} ×"
