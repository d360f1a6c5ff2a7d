"""Charts inside a page: SVG of matplotlib made part of it, in the page's own colours and with names of its own."""

from __future__ import annotations

import re
from html import escape

from cli.report_styles import COLOURS, GRID, INK, PAPER

_VARIABLES = {
    **{colour: f"var(--line-{number})" for number, colour in enumerate(COLOURS)},
    INK: "var(--ink)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
}
#: Of what the page is set in; matplotlib's own letters are wider, so nothing that fitted runs over.
_FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def inline_svg(svg: str, name: str, title: str, description: str) -> str:
    """An `<svg>` for a page.

    Args:
        svg: as matplotlib writes it.
        name: put before every id, which must be the only one of its kind in the page.
        title: what the chart is called.
        description: what it shows, for those who do not see it.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    head, rest = body.split(">", 1)
    box = re.search(r'viewBox="([^"]+)"', head)
    assert box is not None  # noqa: S101 - matplotlib writes one
    rest = re.sub(r'\bid="', f'id="{name}-', rest)
    rest = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", rest)
    rest = rest.replace("'DejaVu Sans'", _FONT)
    for colour, variable in _VARIABLES.items():
        rest = rest.replace(colour, variable)
    return (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box[1]}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>{rest.strip()}'
    )
