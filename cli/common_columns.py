"""Columns of a table that say the same in every row: said once above it, so that the rest fits a screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.render import NONE, text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


def without_common(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], names: Collection[str]
) -> tuple[str, list[str], list[list[Any]]]:
    """What all rows have in common, as a line such as `all: device type cpu, method plain`, and the rest of the table.

    Empty cells repeat the row above them. A column that is empty or a dash in every row goes without a word.

    Args:
        columns: of the table.
        rows: of the table.
        names: of the columns that may go, without the sign for their alignment.
    """
    said, gone = [], set()
    for at, column in enumerate(columns):
        if column.rstrip(">") not in names or not rows:
            continue
        values = [text for row in rows if (text := text_of(row[at]))]
        if set(values) <= {NONE}:
            gone.add(at)
        elif len(values) > 1 and len(set(values)) == 1:
            gone.add(at)
            said.append(f"{column.rstrip('>')} {values[0]}")
    kept = [at for at in range(len(columns)) if at not in gone]
    return (
        f"all: {', '.join(said)}" if said else "",
        [columns[at] for at in kept],
        [[row[at] for at in kept] for row in rows],
    )
