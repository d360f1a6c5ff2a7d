"""Column types and expressions that SQLite and PostgreSQL understand alike."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, DateTime, Float, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy import Dialect

#: JSONB on PostgreSQL, text on SQLite; no document is the database's own null.
JsonDocument = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def storable_text(text: str) -> str:
    """The text without what a database can not hold: NUL (PostgreSQL) and halves of surrogate pairs (both)."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def storable(value: Any) -> Any:
    """A JSON value without what a database can not hold; JSON has no NaN and no infinity either."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value


def json_text(value: Any) -> str:
    """How documents are written, on both databases."""
    return _plain_text(value) or json.dumps(storable(value), allow_nan=False)


def is_storable(value: Any) -> bool:
    """Whether a JSON value holds nothing but what a database can."""
    return bool(_plain_text(value)) or storable(value) == value


def _plain_text(value: Any) -> str:
    """The value written, if it surely needs no replacing; looking at its text is ten times as fast as at its parts."""
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        return ""
    return "" if "\\u0000" in text or "\\ud" in text else text


class AnyText(TypeDecorator[str]):
    """Text from outside, of any length; what no database can hold of it becomes a replacement character."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        """Replace it on the way in, in comparisons as well."""
        return None if value is None else storable_text(value)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware times in UTC on both databases; SQLite has no time zones, so they are dropped on the way."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times: nobody would know whose clock they are of."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone can not be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Put the zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class DatabaseNow(FunctionElement[datetime]):
    """The database's clock, at the moment of the statement (not of the transaction)."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(DatabaseNow, "sqlite")
def _sqlite_now(_element: DatabaseNow, _compiler: Any, **_kw: Any) -> str:
    # %f gives milliseconds; SQLAlchemy writes and reads microseconds.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(DatabaseNow, "postgresql")
def _postgresql_now(_element: DatabaseNow, _compiler: Any, **_kw: Any) -> str:
    return "clock_timestamp()"


class SecondsFromNow(FunctionElement[datetime]):
    """The database's clock so many seconds ahead, so that nobody has to ask for the time first."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(SecondsFromNow, "sqlite")
def _sqlite_from_now(element: SecondsFromNow, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', printf('%+.3f seconds', {seconds}))"


@compiles(SecondsFromNow, "postgresql")
def _postgresql_from_now(element: SecondsFromNow, compiler: Any, **kw: Any) -> str:
    return f"clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **kw)})"


class SecondsBetween(FunctionElement[float]):
    """Seconds from one time to another."""

    type = Float()
    inherit_cache = True


def seconds_between(begin: Any, end: Any) -> SecondsBetween:
    """Seconds from one time column to another."""
    return SecondsBetween(begin, end)


@compiles(SecondsBetween, "sqlite")
def _sqlite_seconds(element: SecondsBetween, compiler: Any, **kw: Any) -> str:
    begin, end = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"((julianday({end}) - julianday({begin})) * 86400.0)"


@compiles(SecondsBetween, "postgresql")
def _postgresql_seconds(element: SecondsBetween, compiler: Any, **kw: Any) -> str:
    begin, end = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"EXTRACT(EPOCH FROM ({end} - {begin}))"
