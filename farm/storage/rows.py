"""Statements that every table needs, and values that several tables hold."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.jobs import Failure, FailureClass
from farm.domain.signatures import signature_of
from farm.storage.columns import DatabaseNow, storable_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Table

#: Of one statement: SQLite takes 32766, PostgreSQL 65535; a shorter list is planned sooner.
MOST_PARAMETERS = 1000
T = TypeVar("T")


def database_now(connection: Connection) -> datetime:
    """The database's clock, which is the only one."""
    return connection.execute(select(DatabaseNow())).scalar_one()


def insert_once(connection: Connection, table: Table, **values: Any) -> bool:
    """Inserts a row unless one like it is there, by any unique key; whether it did."""
    clocks = frozenset(name for name, value in values.items() if isinstance(value, DatabaseNow))
    given = {name: value for name, value in values.items() if name not in clocks}
    statement = _inserting_once(table, clocks, connection.dialect.name)
    return connection.execute(statement, given).first() is not None


@cache
def _inserting_once(table: Table, clocks: frozenset[str], dialect_name: str) -> Any:
    """The statement, built once: that takes longer than to run it."""
    dialect: Any = postgresql if dialect_name == "postgresql" else sqlite
    # Returned, since the count of an INSERT's rows is not known on PostgreSQL.
    key = next(iter(table.primary_key))
    statement = dialect.insert(table).values(dict.fromkeys(clocks, DatabaseNow()))
    return statement.on_conflict_do_nothing().returning(key)


def failure_values(failure: Failure | None) -> dict[str, str]:
    """The columns of a failure; empty texts for none."""
    return {
        "failure_class": failure.failure_class.value if failure else "",
        "failure_code": failure.code if failure else "",
        "failure_message": failure.message if failure else "",
        "failure_hint": failure.hint if failure else "",
        "failure_phase": failure.phase if failure else "",
        "failure_signature": signature_of(failure) if failure and not failure.is_release else "",
    }


def failure_from_row(row: Row[Any]) -> Failure | None:
    """The failure in a row's columns."""
    if not row.failure_class:
        return None
    return Failure(
        FailureClass(row.failure_class),
        row.failure_code,
        row.failure_message,
        row.failure_hint,
        row.failure_phase,
    )


def full_id(connection: Connection, table: Table, prefix: str, noun: str) -> str:
    """The id that begins like this.

    Raises:
        NotFoundError: there is none.
        InvalidRequestError: several begin like that.
    """
    prefix = storable_text(prefix)
    query = select(table.c.id).where(table.c.id.startswith(prefix, autoescape=True)).limit(2)
    found = connection.execute(query).scalars().all()
    if prefix in found:
        return prefix
    if not found:
        raise NotFoundError(f"there is no {noun} {prefix!r}", hint="`farm status` lists the newest.")
    if len(found) > 1:
        raise InvalidRequestError(f"several {noun}s begin with {prefix!r}", hint="Give more of the id.")
    return str(found[0])


def portions(values: Sequence[T], size: int = MOST_PARAMETERS) -> Iterator[Sequence[T]]:
    """The values in portions, each small enough for the parameters of one statement."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
