"""A database without what this release needs says how to upgrade it; a bug stays a bug."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from farm.domain.errors import SchemaVersionError
from farm.storage.schema import upgrade
from tests.integration.database_failures.reports import opened, read, refused, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from farm.storage.database import SqlDatabase


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDatabase]:
    """A database without tables."""
    name = "postgres_url" if request.param == "postgresql" else ""
    url = request.getfixturevalue(name) if name else f"sqlite:///{tmp_path / 'empty.db'}"
    with opened(url) as database:
        yield database


@pytest.mark.parametrize("use", [read, write])
def test_a_database_without_tables_is_told_to_be_upgraded(
    empty: SqlDatabase, use: Callable[[SqlDatabase], Any]
) -> None:
    with refused(SchemaVersionError, "not on this release's schema", hint="farm db upgrade"):
        use(empty)


def test_a_database_that_lacks_a_column_is_told_to_be_upgraded(empty: SqlDatabase) -> None:
    upgrade(empty)
    with empty.engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME COLUMN worker_id TO worker"))
    with refused(SchemaVersionError, "not on this release's schema", hint="farm db upgrade"):
        read(empty)


def test_a_mistake_in_a_statement_is_a_bug_and_keeps_its_name(empty: SqlDatabase) -> None:
    with pytest.raises(DBAPIError), empty.translated(), empty.engine.connect() as connection:
        connection.execute(text("SELEKT 1"))
