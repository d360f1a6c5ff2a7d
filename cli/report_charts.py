"""The charts of a report: time and throughput against batch size, accuracy against time, build time."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.render import ms, per_second, seconds
from cli.report_drawing import dash_of, marker_of, new_figure, plain_number, use_log_scale
from cli.report_pivots import batch_words
from cli.report_styles import INK, PAPER, style_of
from farm.domain.accuracy import EXACT_SNR_DB

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from cli.report_panels import Panel
    from farm.domain.report import Figure, Line

#: Letters of a label in a row above its bar.
_LETTERS = 66


@dataclass(frozen=True)
class Chart:
    """A chart that is drawn.

    Attributes:
        kind: `latency`, `throughput`, `frontier` or `build`.
        title: what it shows.
        description: the same as it would be told to somebody who does not see it.
        drawing: of matplotlib.
        has_names: whether every line's name stands in it, so that it needs no legend.
    """

    kind: str
    title: str
    description: str
    drawing: Drawing
    has_names: bool = False


def charts_of(panel: Panel) -> list[Chart]:
    """The charts of a panel that there is anything to draw in; call within `report_drawing.settings()`."""
    found = (latency_chart(panel), throughput_chart(panel), frontier_chart(panel), build_chart(panel))
    return [chart for chart in found if chart is not None]


def latency_chart(panel: Panel) -> Chart | None:
    """Milliseconds per batch against batch size, both logarithmic."""
    return _against_batch(
        panel, "latency", "Time per batch", "ms per batch (median of compute)", _median, min, ms
    )


def throughput_chart(panel: Panel) -> Chart | None:
    """Inferences per second against batch size, both logarithmic."""
    return _against_batch(
        panel, "throughput", "Throughput", "inferences per second", _throughput, max, per_second
    )


def frontier_chart(panel: Panel) -> Chart | None:
    """Signal-to-noise ratio against time at the batch size that most lines were measured at."""
    batch = _common_batch(panel.report.lines)
    points = {}
    for position, line in enumerate(panel.report.lines):
        figure = _by_batch(line).get(batch) if batch is not None else None
        accuracy = line.accuracy_run.accuracy if line.accuracy_run else None
        if figure and accuracy:
            points[position] = (_median(figure), accuracy.worst.snr_db, bool(figure.taints))
    if not points:
        return None
    drawing, axes = new_figure()
    finite = [snr for _, snr, _ in points.values() if snr < EXACT_SNR_DB]
    top = max([*finite, 20.0]) * 1.12 + 6
    drawn = {at: (time, min(snr, top), tainted) for at, (time, snr, tainted) in points.items()}
    front = _frontier({at: (time, snr) for at, (time, snr, _) in drawn.items()})
    steps = [drawn[at][:2] for at in front]
    axes.plot(*zip(*steps, strict=True), color=INK, linewidth=1, linestyle=(0, [2, 2]), alpha=0.55, zorder=1)
    for at, (time, snr, tainted) in drawn.items():
        _points(axes, [(time, snr)], at, [tainted], size=10)
    use_log_scale(axes, "x", [time for time, _, _ in drawn.values()])
    bottom = min([0.0, *(snr for _, snr, _ in drawn.values())])
    axes.set_ylim(bottom - 0.04 * (top - bottom), top + 0.07 * (top - bottom))
    _say_exact(axes, top, is_there=len(finite) < len(points))
    axes.set_xlabel(f"ms per batch at {batch_words(batch or 0)} (median of compute)")
    axes.set_ylabel("SNR in dB, worst output")
    labels = [panel.labels[line.key] for line in panel.report.lines]
    best = ", ".join(labels[at] for at in front)
    return Chart(
        "frontier",
        f"Accuracy against time at {batch_words(batch or 0)}",
        f"{_count(len(points))}. Nothing is both faster and more accurate than: {best}.",
        drawing,
    )


def build_chart(panel: Panel) -> Chart | None:
    """Seconds that each build took."""
    lines = panel.report.lines
    bars = [(position, line.engine.build_s) for position, line in enumerate(lines)]
    slowest = max(bars, key=lambda bar: bar[1])
    name = panel.labels[lines[slowest[0]].key]
    return Chart(
        "build",
        "Build time",
        f"{_count(len(bars))}; the longest build took {seconds(slowest[1])}: {name}.",
        _bars(panel, bars, "seconds", seconds),
        has_names=True,
    )


def _against_batch(
    panel: Panel,
    kind: str,
    title: str,
    unit: str,
    value: Callable[[Figure], float],
    best: Callable[..., int],
    text: Callable[[float], str],
) -> Chart | None:
    series = {
        at: {batch: figure for batch, figure in _by_batch(line).items() if value(figure) > 0}
        for at, line in enumerate(panel.report.lines)
    }
    batches = sorted({batch for points in series.values() for batch in points})
    if not batches:
        return None
    last = batches[-1]
    at_last = {at: value(points[last]) for at, points in series.items() if last in points}
    winner = best(at_last, key=at_last.__getitem__)
    name = panel.labels[panel.report.lines[winner].key]
    described = f"{'Least' if best is min else 'Most'} at {batch_words(last)}: {text(at_last[winner])} {unit}, {name}."
    if len(batches) == 1:
        drawing = _bars(panel, list(at_last.items()), unit, text)
        return Chart(
            kind, f"{title} at {batch_words(last)}", f"{_count(len(at_last))}. {described}", drawing, True
        )
    drawing, axes = new_figure()
    for at, points in series.items():
        if points:
            found = [(batch, value(figure)) for batch, figure in sorted(points.items())]
            style = style_of(at)
            axes.plot(*zip(*found, strict=True), color=style.colour, linewidth=1.8, linestyle=dash_of(style))
            _points(axes, found, at, [bool(points[batch].taints) for batch, _ in found])
    use_log_scale(axes, "x", [max(batch, 1) for batch in batches], ticks=_apart(batches))
    use_log_scale(axes, "y", [value(figure) for points in series.values() for figure in points.values()])
    axes.set_xlabel("batch size")
    axes.set_ylabel(unit)
    count = sum(map(bool, series.values()))
    return Chart(
        kind, f"{title} against batch size",
        f"{count} line{'s' * (count > 1)} over batch {', '.join(map(str, batches))}, both axes logarithmic. {described}", drawing,
    )  # fmt: skip


def _points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    position: int,
    tainted: Sequence[bool],
    size: float = 7.5,
) -> None:
    """The points of a line; those that something disturbed are hollow."""
    style = style_of(position)
    for is_tainted in (False, True):
        own = [point for point, mark in zip(points, tainted, strict=True) if mark is is_tainted]
        if own:
            axes.plot(*zip(*own, strict=True), linestyle="", marker=marker_of(style), markersize=size,
                      markerfacecolor=PAPER if is_tainted else style.colour, markeredgecolor=style.colour,
                      markeredgewidth=1.4, zorder=3)  # fmt: skip


def _bars(
    panel: Panel, bars: Sequence[tuple[int, float]], unit: str, text: Callable[[float], str]
) -> Drawing:
    """A bar for each line with its name above it, since names may be long."""
    names = [
        textwrap.shorten(panel.labels[panel.report.lines[at].key], _LETTERS, placeholder=" …")
        for at, _ in bars
    ]
    drawing, axes = new_figure(0.75 + 0.46 * len(bars))
    longest = max(value for _, value in bars) or 1.0
    for row, ((at, value), name) in enumerate(zip(bars, names, strict=True)):
        axes.barh(row, value, height=0.42, color=style_of(at).colour)
        axes.text(0, row - 0.27, name, ha="left", va="bottom", fontsize=9.5)
        axes.text(value + longest * 0.012, row, text(value), ha="left", va="center", fontsize=9.5)
    axes.set_xlim(0, longest * 1.17)
    axes.set_ylim(len(bars) - 0.6, -0.85)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter(lambda value, _: plain_number(round(value, 6)))
    axes.set_xlabel(unit)
    return drawing


def _say_exact(axes: Axes, top: float, *, is_there: bool) -> None:
    """Names the height that stands for outputs which are equal to the last bit."""
    if is_there:
        ticks = [tick for tick in axes.get_yticks() if 0 <= tick < top * 0.93]
        axes.set_yticks([*ticks, top], [*(f"{tick:g}" for tick in ticks), "exact"])


def _by_batch(line: Line) -> Mapping[int, Figure]:
    """One figure for each batch size: of several shapes the slowest, as everywhere."""
    found: dict[int, Figure] = {}
    for (batch, _), figure in line.figures.items():
        if batch not in found or _median(figure) > _median(found[batch]):
            found[batch] = figure
    return found


def _common_batch(lines: Sequence[Line]) -> int | None:
    """The batch size that most lines were measured at; the largest of several."""
    batches = [batch for line in lines for batch in _by_batch(line)]
    return max(batches, key=lambda batch: (batches.count(batch), batch)) if batches else None


def _frontier(points: Mapping[int, tuple[float, float]]) -> list[int]:
    """The points that no other one beats in both, fastest first."""
    found: list[int] = []
    for at in sorted(points, key=lambda each: (points[each][0], -points[each][1])):
        if not found or points[at][1] > points[found[-1]][1]:
            found.append(at)
    return found


def _apart(batches: Sequence[int]) -> list[int]:
    """Of the batch sizes those whose numbers do not run into each other on a logarithmic axis."""
    if len(batches) < 2:
        return list(batches)
    span = (max(batches) / max(min(batches), 1)) ** (1 / 14)
    kept = [batches[-1]]
    for batch in reversed(batches[:-1]):
        if kept[-1] / max(batch, 1) >= span:
            kept.append(batch)
    return kept[::-1]


def _count(engines: int) -> str:
    return "1 engine" if engines == 1 else f"{engines} engines"


def _median(figure: Figure) -> float:
    return figure.measurement.compute.median_ms


def _throughput(figure: Figure) -> float:
    return figure.measurement.throughput_per_s
