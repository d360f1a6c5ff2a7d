"""A farm on a database that fails, and what is said of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import DBAPIError

from farm.domain.errors import DatabaseUnavailableError, FarmError
from farm.storage.database import SqlDatabase
from tests.factories import a_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def refused(kind: type[FarmError], words: str, *, hint: str = "") -> Iterator[None]:
    """The block ends in one line of the farm's, with a hint and the driver's own error as its cause."""
    with pytest.raises(kind, match=words) as caught:
        yield
    error = caught.value
    assert type(error) is kind
    assert "\n" not in error.message
    assert hint in error.hint
    assert error.hint
    assert "sqlalche.me" not in error.message
    assert "Background on this error" not in error.message
    assert "hunter2" not in error.message + error.hint
    if kind is DatabaseUnavailableError:
        assert isinstance(error.__cause__, DBAPIError)


@contextmanager
def opened(path: Path | str, **options: Any) -> Iterator[SqlDatabase]:
    """A database that is closed at the end of the block."""
    database = SqlDatabase(path if isinstance(path, str) else f"sqlite:///{path}", **options)
    try:
        yield database
    finally:
        database.close()


def read(database: SqlDatabase) -> int:
    """The number of jobs."""
    with database.reading() as transaction:
        return len(transaction.jobs.jobs())


def write(database: SqlDatabase) -> None:
    """One more model."""
    with database.transaction() as transaction:
        transaction.models.add(a_model("another"))
