"""Connections and transactions; foreign errors become the farm's own here."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import ArgumentError as BadUrlError

from farm.domain.errors import DatabaseUnavailableError, InvalidRequestError, SchemaVersionError
from farm.storage.columns import DatabaseNow
from farm.storage.sql_engines import SqlEngineFiles
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.sql_jobs import SqlJobLedger
from farm.storage.sql_models import SqlModelCatalog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine

#: How long SQLite waits for another writer before it says that the database is locked.
SQLITE_BUSY_S = 15


class SqlTransaction:
    """One transaction and the stores that write in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.models = SqlModelCatalog(connection)
        self.fleet = SqlFleetCatalog(connection)
        self.jobs = SqlJobLedger(connection)
        self.engines = SqlEngineFiles(connection)

    def now(self) -> datetime:
        """The database's clock."""
        return self._connection.execute(select(DatabaseNow())).scalar_one()


class SqlDatabase:
    """SQLite in WAL mode, or PostgreSQL."""

    def __init__(self, url: str, *, busy_s: float = SQLITE_BUSY_S) -> None:
        self.url = url
        try:
            self.engine = _new_engine(url, busy_s)
        except (BadUrlError, NoSuchModuleError) as error:
            raise InvalidRequestError(
                f"not a database URL that the farm knows: {hide_password(url)}",
                hint="Use sqlite:///path or postgresql+psycopg://user:password@host/name.",
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """A transaction that writes; committed at the end of the block unless it raises."""
        with self._translated(), self.engine.connect() as connection:
            connection.info["writes"] = True
            with connection.begin():
                yield SqlTransaction(connection)

    @contextmanager
    def reading(self) -> Iterator[SqlTransaction]:
        """A transaction that only reads."""
        with self._translated(), self.engine.connect() as connection:
            connection.info["writes"] = False
            with connection.begin():
                yield SqlTransaction(connection)

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            raise self._as_farm_error(error) from error

    def _as_farm_error(self, error: DBAPIError) -> Exception:
        text = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        where = hide_password(self.url)
        if "no such table" in text or "no such column" in text or re.search(r'(relation|column) ".*" .*not exist', text):
            return SchemaVersionError(
                f"the database {where} is not on this release's schema: {text}", hint="Run `farm db upgrade`."
            )
        if "locked" in text:
            return DatabaseUnavailableError(
                f"the database {where} has been locked by another process for too long",
                hint="Find who holds it (`fuser` on the file), then try again.",
            )
        if "disk is full" in text or "No space left" in text:
            return DatabaseUnavailableError(f"the disk under the database {where} is full", hint="Free some space.")
        if "readonly" in text or "read-only" in text or "unable to open" in text:
            return DatabaseUnavailableError(
                f"the database {where} can not be written: {text}", hint="Check the folder's owner and mode."
            )
        if "not a database" in text or "malformed" in text:
            return DatabaseUnavailableError(f"the file of {where} is damaged or no database: {text}")
        if isinstance(error, OperationalError) or error.connection_invalidated:
            return DatabaseUnavailableError(
                f"the database {where} can not be reached: {text}", hint="Is it up? `farm doctor` checks."
            )
        return error


def hide_password(url: str) -> str:
    """A URL that may be shown."""
    return re.sub(r"://([^:/@]+):[^@]*@", r"://\1:***@", url)


def _new_engine(url: str, busy_s: float) -> Engine:
    if url.startswith("sqlite"):
        engine = create_engine(url, connect_args={"timeout": busy_s, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 10})


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and too late (at the first write).
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: what `submit` acknowledged survives a power cut, not only a crash.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock now: upgrading a read later can fail at once, whatever the timeout.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.get("writes", True) else "BEGIN")
