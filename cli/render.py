"""The only module that prints: tables, JSON, notes and errors."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from farm.credentials import redacted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from farm.domain.errors import FarmError

NONE = "–"
_WIDE = 1000


def console(*, stderr: bool = False, fits_terminal: bool = False) -> Console:
    """A console for tables.

    Args:
        stderr: whether it writes there.
        fits_terminal: whether what is too wide is cut, as a table that is drawn again in place must be.
            Otherwise the terminal wraps long lines: figures that are cut off mislead.
    """
    from rich.console import Console

    width = None if fits_terminal else _WIDE
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=True)


def show_line(text: str = "") -> None:
    """A plain line to standard output."""
    click.echo(text)


def show_text(text: str) -> None:
    """Text as it is, without a line end of its own."""
    click.echo(text, nl=False)


def show_note(text: str) -> None:
    """A line for people, kept out of what a pipe reads."""
    click.echo(text, err=True)


def show_json(value: Any) -> None:
    """A document for programs."""
    click.echo(json.dumps(value, indent=2, default=_plain, ensure_ascii=False))


def show_json_line(value: Any) -> None:
    """A document on a line of its own, for programs that read a stream."""
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False))


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", empty: str = ""
) -> None:
    """A table; columns whose name ends in `>` are aligned to the right."""
    rows = [[text_of(value) for value in row] for row in rows]
    if not rows:
        show_note(empty or "Nothing yet.")
        return
    console().print(table(columns, rows, title=title))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> Any:
    """A table to be printed or shown live."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(
        title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for column in columns:
        made.add_column(
            column.rstrip(">"),
            justify="right" if column.endswith(">") else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        made.add_row(*(Text(value) for value in row))
    return made


def show_error(error: FarmError, *, as_json: bool = False) -> None:
    """One line that says what happened, and one that says what to do next."""
    # What foreign programs say of a URL is not known beforehand.
    message, hint = redacted(error.message), redacted(error.hint)
    if as_json:
        document = {
            "error": type(error).__name__,
            "message": message,
            "hint": hint,
            "exit_code": error.exit_code,
        }
        click.echo(json.dumps(document, ensure_ascii=False), err=True)
        return
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    if hint:
        click.echo(f"{click.style('hint:', fg='cyan')}  {hint}", err=True)


def text_of(value: Any) -> str:
    """A value in a cell: none as a dash, times in local form, floats as given."""
    if value is None:
        return NONE
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def ms(value: float | None) -> str:
    """Milliseconds with three significant digits or more."""
    if value is None:
        return NONE
    return f"{value:.3f}" if value < 10 else f"{value:.2f}" if value < 100 else f"{value:.1f}"


def per_second(value: float | None) -> str:
    """A rate, with thousands apart."""
    return NONE if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def size(value: int | None) -> str:
    """Bytes in the unit that fits."""
    if value is None:
        return NONE
    amount = float(value)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.2f} GiB"


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes}:{rest:02d} min"


def age(moment: datetime, now: datetime) -> str:
    """How long ago something was."""
    gone = max((now - moment).total_seconds(), 0.0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if gone >= length:
            return f"{gone / length:.0f} {unit} ago"
    return f"{gone:.0f} s ago"


def decibel(value: float | None) -> str:
    """A signal-to-noise ratio."""
    if value is None:
        return NONE
    return "exact" if value >= 999 else f"{value:.1f} dB"


def percent(value: float | None) -> str:
    """A share."""
    return NONE if value is None else f"{100 * value:.1f} %"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)
