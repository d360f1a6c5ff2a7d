"""Connections and transactions; foreign errors become the farm's own here."""

from __future__ import annotations

import re
import select as select_module
import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import ArgumentError as BadUrlError
from sqlalchemy.exc import DBAPIError, DisconnectionError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from farm.domain.errors import DatabaseUnavailableError, InvalidRequestError
from farm.storage.autocommit import AUTOCOMMIT
from farm.storage.columns import json_text
from farm.storage.database_errors import first_line, postgresql_error, sqlite_error
from farm.storage.rows import database_now
from farm.storage.sql_caches import SqlTimingCaches
from farm.storage.sql_calibration_caches import SqlCalibrationCaches
from farm.storage.sql_canaries import SqlCanaries
from farm.storage.sql_engines import SqlEngineFiles
from farm.storage.sql_fleet import SqlFleetCatalog
from farm.storage.sql_garbage import SqlGarbageRecords
from farm.storage.sql_jobs import SqlJobLedger
from farm.storage.sql_keys import SqlSigningKeys
from farm.storage.sql_metrics import SqlMetrics
from farm.storage.sql_models import SqlModelCatalog
from farm.storage.sql_stored_references import SqlStoredReferences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import URL, Connection, Dialect, Engine

#: How long SQLite waits for another writer before it says that the database is locked.
SQLITE_BUSY_S = 15
#: A machine that freezes in mid-transaction must not hold its rows against those who rescue its jobs. And no
#: statement of the farm runs for long, so compiling one takes more than it saves: 390 ms of a claim's 391.
_POSTGRESQL_OPTIONS = "-c idle_in_transaction_session_timeout=15s -c lock_timeout=15s -c jit=off"
#: Execution option of a connection whose transaction does not take the write lock.
_READS_ONLY = "farm_reads_only"


class SqlTransaction:
    """One transaction and the stores that write in it.

    Attributes:
        connection: for statements about the database itself.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.models = SqlModelCatalog(connection)
        self.fleet = SqlFleetCatalog(connection)
        self.jobs = SqlJobLedger(connection)
        self.engines = SqlEngineFiles(connection)
        self.caches = SqlTimingCaches(connection)
        self.calibration_caches = SqlCalibrationCaches(connection)
        self.references = SqlStoredReferences(connection)
        self.canaries = SqlCanaries(connection)
        self.keys = SqlSigningKeys(connection)
        self.garbage = SqlGarbageRecords(connection)
        self.metrics = SqlMetrics(connection)

    def now(self) -> datetime:
        """The database's clock."""
        return database_now(self.connection)


class SqlDatabase:
    """SQLite in WAL mode, or PostgreSQL."""

    def __init__(self, url: str, *, busy_s: float = SQLITE_BUSY_S) -> None:
        self.url = url
        parsed = _parse_url(url)
        self._password = parsed.password
        self.engine = _new_engine(parsed, busy_s)
        is_sqlite = self.engine.dialect.name == "sqlite"
        self._autocommit = self.engine if is_sqlite else self.engine.execution_options(**AUTOCOMMIT)

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        """A transaction that writes; committed at the end of the block unless it raises."""
        with self.translated(), self.engine.connect() as connection, connection.begin():
            yield SqlTransaction(connection)

    @contextmanager
    def autocommit(self) -> Iterator[SqlTransaction]:
        """As `transaction`, for statements of which each may count without the others.

        PostgreSQL commits each by itself, which saves the round trips of BEGIN and COMMIT.
        """
        with self.translated(), self._autocommit.connect() as connection, connection.begin():
            yield SqlTransaction(connection)

    @contextmanager
    def reading(self) -> Iterator[SqlTransaction]:
        """A transaction that only reads."""
        with self.translated(), self.engine.connect() as connection:
            connection.execution_options(**{_READS_ONLY: True})
            with connection.begin():
                yield SqlTransaction(connection)

    def close(self) -> None:
        """Closes every connection."""
        self.engine.dispose()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turns what the driver says in the block into the farm's errors; anything else is a bug and stays.

        Raises:
            DatabaseUnavailableError: down, locked, full, damaged, or not to be written.
            SchemaVersionError: a table or column is missing.
        """
        try:
            yield
        except IntegrityError:
            raise
        except DBAPIError as error:
            said = self._without_password(first_line(error))
            found = (sqlite_error if self.engine.dialect.name == "sqlite" else postgresql_error)(
                error, hide_password(self.url), said
            )
            if found is None:
                raise
            raise found from error
        except PoolTimeoutError as error:
            raise DatabaseUnavailableError(
                f"every connection to the database {hide_password(self.url)} is in use",
                hint="Too many threads wait for it; try again.",
            ) from error

    def _without_password(self, text: str) -> str:
        return text.replace(self._password, "***") if self._password else text


def hide_password(url: str) -> str:
    """A URL that may be shown, whatever is wrong with it."""
    if url.startswith("sqlite"):
        return url
    shown = re.sub(r":(?!//).*@", ":***@", url, count=1)
    return re.sub(r"([?&][a-z]*password=)[^&]*", r"\1***", shown)


def _parse_url(url: str) -> URL:
    wrong = InvalidRequestError(
        f"not a database URL that the farm knows: {hide_password(url)}",
        hint="Use sqlite:///path or postgresql+psycopg://user:password@host/name.",
    )
    try:
        parsed = make_url(url)
    except (BadUrlError, ValueError) as error:
        raise wrong from error
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise wrong
    if parsed.drivername != "postgresql+psycopg" and parsed.database in (None, "", ":memory:"):
        # Every connection would see a database of its own.
        raise wrong
    return parsed


def _new_engine(url: URL, busy_s: float) -> Engine:
    if url.drivername.startswith("sqlite"):
        engine = create_engine(
            url, json_serializer=json_text, connect_args={"timeout": busy_s, "check_same_thread": False}
        )

        def prepare(connection: sqlite3.Connection, _record: object) -> None:
            _prepare_sqlite(connection, busy_s)

        event.listen(engine, "connect", prepare)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    # Not at the top: a farm on SQLite does without.
    from psycopg import RawCursor

    # What the URL itself says comes last and wins.
    options = f"{_POSTGRESQL_OPTIONS} {url.query.get('options', '')}".strip()
    engine = create_engine(
        url,
        json_serializer=json_text,
        # PostgreSQL's own placeholders ($1): with any others the driver takes every statement apart each time.
        paramstyle="numeric_dollar",
        connect_args={"connect_timeout": 10, "options": options, "cursor_factory": RawCursor},
    )

    def check(connection: Any, _record: object, _proxy: object) -> None:
        _check_resting(engine.dialect, connection)

    event.listen(engine, "checkout", check)
    return engine


def _check_resting(dialect: Dialect, connection: Any) -> None:
    """Has the pool replace a connection that its server has closed.

    A server says nothing of its own accord to one that rests, but for its farewell. So a round trip is made only
    where something waits to be read, not before every transaction.
    """
    resting = select_module.poll()
    resting.register(connection.fileno(), select_module.POLLIN)
    if not resting.poll(0):
        return
    try:
        dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise DisconnectionError("the server has closed the connection") from error


def _prepare_sqlite(connection: sqlite3.Connection, busy_s: float) -> None:
    # The driver would begin transactions by itself, and too late (at the first write).
    connection.isolation_level = None
    deadline = time.monotonic() + busy_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # Two processes that open a new file at once: SQLite does not wait here by itself.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    # FULL: what `submit` acknowledged survives a power cut, not only a crash.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock now: upgrading a read later can fail at once, whatever the timeout.
    reads_only = connection.get_execution_options().get(_READS_ONLY, False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")
