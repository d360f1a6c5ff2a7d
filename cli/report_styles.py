"""How the lines of a chart are told from each other: colour, shape of the points and kind of stroke."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Okabe and Ito's colours, which colour-blind people tell apart, without their yellow, which nobody sees on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5f6368")
#: The same on a dark page.
DARK_COLOURS = ("#4da6e8", "#ff8a4c", "#2fcf9d", "#e8a0c8", "#8fd0f7", "#ffc14d", "#b4b9c0")
#: Of everything that is not a line; `cli.report_svg` makes variables of the page of them.
INK, GRID, PAPER = "#101214", "#d9dcdf", "#fdfdfc"
_DASHES = ("", "5 2", "1.5 1.5", "7 2 1.5 2")


def _polygon(corners: int, turn: float = 0.0) -> tuple[tuple[float, float], ...]:
    angles = [2 * math.pi * (corner / corners + turn) for corner in range(corners)]
    return tuple((round(math.sin(angle), 3), round(math.cos(angle), 3)) for angle in angles)


def _star(points: int, inner: float) -> tuple[tuple[float, float], ...]:
    return tuple(
        (round(x * (inner if at % 2 else 1), 3), round(y * (inner if at % 2 else 1), 3))
        for at, (x, y) in enumerate(_polygon(2 * points))
    )


#: Corners of the points, within a circle of radius 1, y upwards.
_SHAPES = (
    _polygon(24),
    _polygon(4, 1 / 8),
    _polygon(3),
    _polygon(4),
    _polygon(3, 1 / 2),
    _star(5, 0.45),
    _polygon(5, 1 / 2),
    _star(4, 0.4),
)


@dataclass(frozen=True)
class Style:
    """Of one line.

    Attributes:
        number: of its colour.
        corners: of its points, within a circle of radius 1, y upwards.
        dashes: of its stroke, as in SVG; empty for a solid one.
    """

    number: int
    corners: tuple[tuple[float, float], ...]
    dashes: str

    @property
    def colour(self) -> str:
        """On a light page."""
        return COLOURS[self.number]


def style_of(position: int) -> Style:
    """The style of the line at a position; no two of the first fifty-six are alike."""
    return Style(
        position % len(COLOURS),
        _SHAPES[position % len(_SHAPES)],
        _DASHES[position // len(COLOURS) % len(_DASHES)],
    )
