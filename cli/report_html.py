"""A report as one page that needs nothing else: tables that can be sorted, and charts as inline SVG."""

from __future__ import annotations

from datetime import UTC
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from cli.report_charts import charts_of
from cli.report_drawing import settings, svg_text
from cli.report_figures import accuracy_table, builds_table, figures_table
from cli.report_labels import labels_of
from cli.report_notes import notes_of
from cli.report_panels import panels_of
from cli.report_pivots import (
    latency_table,
    methods_text,
    samples_table,
    speed_up_table,
    throughput_table,
)
from cli.report_styles import style_of
from cli.report_svg import inline_svg

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cli.report_cells import Cell, ReportTable
    from cli.report_charts import Chart
    from cli.report_panels import Panel
    from farm.domain.report import ModelReport

#: Letters that are not worth a second line.
_SHORT = 48
#: From here on the first column needs more than a narrow one.
_LONG = 48
#: Columns that fit beside a chart whatever the names.
_MANY = 8
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
"""


def page(reports: Sequence[ModelReport], samples: Sequence[int] = ()) -> str:
    """The page, the same for the same data.

    Raises:
        ConflictError: matplotlib is not installed.
    """
    with settings():
        return "".join(_parts(reports, samples))


def _parts(reports: Sequence[ModelReport], samples: Sequence[int]) -> Iterator[str]:
    names = ", ".join(str(report.name) for report in reports)
    files = resources.files("cli")
    style = (files / "report.css").read_text(encoding="utf-8")
    yield _HEAD.format(title=escape(f"{names}: engines side by side"), style=style)
    yield f"<main>\n<h1>Engines side by side</h1>\n{_about(reports)}"
    if len(reports) > 1:
        links = "".join(
            f'<li><a href="#m{at}">{escape(str(report.name))}</a></li>' for at, report in enumerate(reports)
        )
        yield f'<nav aria-label="Models"><ul>{links}</ul></nav>\n'
    for at, report in enumerate(reports):
        yield from _model(report, f"m{at}", samples)
    script = (files / "report.js").read_text(encoding="utf-8")
    yield f"</main>\n<script>\n{script}</script>\n</body>\n</html>\n"


def _about(reports: Sequence[ModelReport]) -> str:
    moments = sorted(
        figure.run.started_at
        for report in reports
        for line in report.lines
        for figure in line.figures.values()
    )
    if not moments:
        return '<p class="soft">No figure was measured.</p>\n'
    methods = " and ".join(dict.fromkeys(methods_text(report) for report in reports))
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in (moments[0], moments[-1]))
    when = f"on {first}" if first == last else f"from {first} to {last}"
    return (
        f'<p class="soft">{len(moments)} figures, measured {when} (UTC) by method {escape(methods)}. '
        "A dash: not measured. Press the head of a column to sort by it.</p>\n"
    )


def _model(report: ModelReport, name: str, samples: Sequence[int]) -> Iterator[str]:
    labels = labels_of(report)
    first = ' class="first"' if name == "m0" else ""
    yield f'<section>\n<h2 id="{name}"{first}>{escape(str(report.name))}</h2>\n'
    notes = notes_of(report)
    if notes:
        yield '<ul class="notes soft">' + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>\n"
    for at, panel in enumerate(panels_of(report)):
        yield from _panel(panel, f"{name}p{at}")
    if report.shapes:
        if samples:
            yield _pair(None, samples_table(report, labels, samples), f"{name}s")
        yield _pair(None, figures_table(report, labels), f"{name}f")
    yield "</section>\n"


def _panel(panel: Panel, name: str) -> Iterator[str]:
    report, labels = panel.report, panel.labels
    # No level of heading is left out.
    level = 4 if panel.name else 3
    if panel.name:
        yield f"<h3>{escape(panel.name)}</h3>\n"
    charts = {chart.kind: chart for chart in charts_of(panel)}
    if any(not chart.has_names for chart in charts.values()):
        yield _legend(panel)
    if report.shapes:
        yield _pair(charts.get("latency"), latency_table(report, labels), f"{name}l", level)
        yield _pair(charts.get("throughput"), throughput_table(report, labels), f"{name}t", level)
    if report.compares:
        yield _pair(None, speed_up_table(report, labels), f"{name}u", level)
    yield _pair(charts.get("frontier"), accuracy_table(report, labels), f"{name}a", level)
    yield _pair(charts.get("build"), builds_table(report, labels), f"{name}b", level)


def _pair(chart: Chart | None, table: ReportTable | None, name: str, level: int = 3) -> str:
    """A chart with the table of the same figures beside it, or one of them alone."""
    # What has long names and many columns has the whole width to itself.
    is_big = table is not None and _has_long_names(table) and len(table.columns) > _MANY
    wide = "" if chart and table and not is_big else " wide"
    drawn = ""
    if chart:
        svg = inline_svg(svg_text(chart.drawing), name, chart.title, chart.description)
        drawn = (
            f'<figure><h{level} class="head">{escape(chart.title)}</h{level}>\n'
            f"<figcaption>{escape(chart.description)}</figcaption>\n{svg}\n</figure>\n"
        )
    shown = ""
    if table:
        shown = (
            f'<div><h{level} class="head" id="{name}-head">{escape(table.title)}</h{level}>\n<p class="soft">{escape(table.note)}</p>\n'
            f'<div class="scroll" role="region" aria-labelledby="{name}-head" tabindex="0">\n{_table(table)}</div></div>\n'
        )
    return f'<div class="pair{wide}">\n{drawn}{shown}</div>\n'


def _table(table: ReportTable) -> str:
    if not table.rows:
        return '<p class="soft">Nothing of it was measured.</p>'
    numeric = [column.endswith(">") for column in table.columns]
    heads = "".join(
        f'<th scope="col"{" class=number" * is_number}>{escape(column.rstrip(">")) or "engine and options"}</th>'
        for column, is_number in zip(table.columns, numeric, strict=True)
    )
    rows = "".join(
        "<tr>" + "".join(_cell(cell, at, numeric[at]) for at, cell in enumerate(row)) + "</tr>\n"
        for row in table.rows
    )
    return f"<table{' class=long' * _has_long_names(table)}>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _has_long_names(table: ReportTable) -> bool:
    return max((len(row[0].text) for row in table.rows), default=0) > _LONG


def _cell(cell: Cell, at: int, is_number: bool) -> str:
    order = "" if cell.order is None else f' data-order="{cell.order:.9g}"'
    if at == 0:
        return f'<th scope="row"{order}>{escape(cell.text)}</th>'
    kind = "number" if is_number else "short" if len(cell.text) <= _SHORT else "text"
    return f"<td class={kind}{order}>{escape(cell.text)}</td>"


def _legend(panel: Panel) -> str:
    items = []
    for at, line in enumerate(panel.report.lines):
        style = style_of(at)
        corners = " ".join(f"{17 + 5.5 * x:.1f},{8 - 5.5 * y:.1f}" for x, y in style.corners)
        dashes = f' stroke-dasharray="{style.dashes}"' if style.dashes else ""
        items.append(
            f'<li><svg viewBox="0 0 34 16" aria-hidden="true"><line x1="0" y1="8" x2="34" y2="8" stroke-width="2" '
            f'stroke="var(--line-{style.number})"{dashes}/><polygon points="{corners}" '
            f'fill="var(--line-{style.number})"/></svg><span>{escape(panel.labels[line.key])}</span></li>'
        )
    return f'<ul class="legend" aria-label="Lines of the charts">{"".join(items)}</ul>\n'
