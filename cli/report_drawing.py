"""What all charts share: matplotlib, axes with plain numbers, legends, and the files that become of them."""

from __future__ import annotations

import io
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cli.report_styles import GRID, INK, PAPER, style_of
from farm.domain.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cli.report_styles import Style

#: Inches; on a page a chart is as wide as its column.
WIDTH = 6.4
_HEIGHT = 4.2
_SETTINGS: dict[Any, Any] = {
    # The same report gives the same bytes.
    "svg.hashsalt": "engine-farm",
    # Letters stay letters, so that they can be searched, read aloud and scaled.
    "svg.fonttype": "none",
    # A model may be called $x$.
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 11.5,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


@contextmanager
def settings() -> Iterator[None]:
    """Drawing as all charts are drawn, whatever a user's own matplotlibrc says.

    Raises:
        ConflictError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConflictError(
            "charts are drawn by matplotlib, which is not installed here",
            hint="pip install 'engine-farm[report]'; --markdown, --csv and --json need nothing.",
        ) from error
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def new_figure(height: float = _HEIGHT) -> tuple[Figure, Axes]:
    """A figure of one chart; the margins follow from the texts."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def use_log_scale(axes: Axes, name: str, values: Sequence[float], *, ticks: Sequence[float] = ()) -> None:
    """Makes an axis logarithmic, with plain numbers at the ticks, wide enough for some of them.

    Args:
        axes: of the chart.
        name: `x` or `y`.
        values: all that is drawn; above 0.
        ticks: where they are to be; 1, 2 and 5 of every decade otherwise.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    axis = axes.xaxis if name == "x" else axes.yaxis
    axes.set(**{f"{name}scale": "log"})
    low, high = min(values) / 1.2, max(values) * 1.2
    # Ticks stand at 1, 2 and 5: two of them are in any span of five.
    room = max(5 / (high / low), 1.0) ** 0.5
    axes.set(**{f"{name}lim": (low / room, high * room)})
    decades = LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 1e3 else (1.0,), numticks=12)
    axis.set_major_locator(FixedLocator(list(ticks)) if ticks else decades)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))


def plain_number(value: float) -> str:
    """`0.05`, `20`, `5,000`, `2M`."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value:,.0f}" if value >= 1 and value == int(value) else f"{value:g}"


def add_legend(figure: Figure, labels: Sequence[str]) -> None:
    """Says below a chart which line is which, one in a row, however long their names are."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.colour, marker=marker_of(style), markersize=7,
               linestyle=dash_of(style), linewidth=1.6)
        for style in map(style_of, range(len(labels)))
    ]  # fmt: skip
    texts = [textwrap.fill(label, 78) for label in labels]
    lines = sum(text.count("\n") + 1 for text in texts)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.21 * lines + 0.2)
    figure.legend(handles, texts, loc="outside lower left", frameon=False, fontsize=8.5, handlelength=3)


def add_title(figure: Figure, model: str, title: str) -> None:
    """Says above a chart what it is of."""
    text = textwrap.fill(f"{model}: {title}", 62)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.22 * (text.count("\n") + 1) + 0.1)
    figure.suptitle(text, x=0.01, ha="left", fontsize=11, fontweight="bold")


def dash_of(style: Style) -> Any:
    """Matplotlib's word for a stroke."""
    return (0, [float(part) for part in style.dashes.split()]) if style.dashes else "-"


def marker_of(style: Style) -> Any:
    """Matplotlib's word for a point; closed, since the edge of a hollow one is all that there is to see."""
    return [*style.corners, style.corners[0]]


def svg_text(figure: Figure) -> str:
    """The chart as SVG, the same for the same data."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return file.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """The chart as PNG, sharp on paper too."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
    return file.getvalue()
