"""Everything in SQL that refers to an artifact: what garbage collection must leave alone.

Foreign keys are found by themselves. Digests within documents have to be listed; a test asks for a decision on
every document column.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, Column, literal, select

from farm.domain.stored_references import KEPT_S
from farm.storage.columns import SecondsFromNow
from farm.storage.tables import (
    artifacts,
    attempts,
    canaries,
    cells,
    engines,
    follow_ups,
    jobs,
    measurements,
    metadata,
    models,
    runs,
    stored_references,
    submissions,
    toolchains,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Connection, Select

#: Documents with digests of artifacts: the column, and the path to a text with one; none for "look through all".
DOCUMENTS: tuple[tuple[Column[Any], tuple[str, ...] | None], ...] = (
    (models.c.files, None),
    (jobs.c.request, ("verification", "inputs_sha256")),
    (follow_ups.c.request, ("verification", "inputs_sha256")),
    (jobs.c.request, ("verification", "metrics")),
    (follow_ups.c.request, ("verification", "metrics")),
    (runs.c.benchmark, ("verified_with", "metrics")),
    (submissions.c.request, ("inputs_sha256",)),
    (runs.c.benchmark, ("inputs_sha256",)),
    (runs.c.benchmark, ("nsys_sha256",)),
    # A spec's other digests are of contents and keys.
    (jobs.c.spec, ("calibration", "data")),
    (cells.c.spec, ("calibration", "data")),
    (engines.c.spec, ("calibration", "data")),
    (jobs.c.spec, ("plugins",)),
    (cells.c.spec, ("plugins",)),
    (engines.c.spec, ("plugins",)),
    (jobs.c.spec, ("program",)),
    (cells.c.spec, ("program",)),
    (engines.c.spec, ("program",)),
    # The engine that a refit starts from must be there until it has been done.
    (jobs.c.spec, ("refit_of",)),
)

#: Documents without: a manifest names its own row's artifact.
NO_DIGESTS: frozenset[Column[Any]] = frozenset(
    {
        models.c.inputs,
        models.c.outputs,
        models.c.operators,
        toolchains.c.description,
        submissions.c.tags,
        attempts.c.seconds,
        attempts.c.environment,
        attempts.c.timing_cache,
        engines.c.details,
        engines.c.manifest,
        runs.c.accuracy,
        runs.c.environment,
        runs.c.taints,
        runs.c.startup,
        runs.c.comparison,
        measurements.c.shapes,
        measurements.c.details,
        measurements.c.taints,
        canaries.c.conditions,
    }
)

#: Rows whose reference counts only so long: a retired engine has given up its bytes, and so has a model's
#: reference that nobody was lent for months.
_COUNTS: dict[Column[Any], ColumnElement[bool]] = {
    engines.c.artifact_sha256: engines.c.retired_at.is_(None),
    stored_references.c.artifact_sha256: stored_references.c.created_at > SecondsFromNow(literal(-KEPT_S)),
}
_SHA256 = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def referring_columns() -> list[Column[Any]]:
    """Every column with a foreign key to an artifact."""
    return [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if any(key.column is artifacts.c.sha256 for key in column.foreign_keys)
    ]


def document_columns() -> list[Column[Any]]:
    """Every column that holds a document."""
    return [
        column
        for table in metadata.sorted_tables
        for column in table.columns
        if isinstance(column.type, JSON)
    ]


def referenced(connection: Connection, among: Collection[str] | None = None) -> set[str]:
    """The digests that something refers to.

    Args:
        connection: in whose transaction to look.
        among: only these digests; all if none. At most some hundred: they are parameters of the statement.
    """
    found: set[str] = set()
    for column in referring_columns():
        query = select(column).where(column.is_not(None), *_conditions(column, among))
        found |= set(connection.execute(query.distinct()).scalars())
    for column, path in DOCUMENTS:
        for text in connection.execute(_texts(column, path)).scalars():
            found |= set(_SHA256.findall(str(text)))
    return found if among is None else found & set(among)


def _conditions(column: Column[Any], among: Collection[str] | None) -> list[ColumnElement[bool]]:
    counts = [_COUNTS[column]] if column in _COUNTS else []
    return counts if among is None else [*counts, column.in_(among)]


def _texts(column: Column[Any], path: tuple[str, ...] | None) -> Select[Any]:
    if path is None:
        return select(column)
    value: Any = column
    for name in path:
        value = value[name]
    return select(value.as_string()).where(value.as_string() != "").distinct()
