"""Runs migrations on the engine that `farm.storage.schema` hands over.

Two upgrades at once take turns: on SQLite the transaction holds the write lock from its beginning, on
PostgreSQL there is an advisory lock, and a lock timeout that keeps a migration from stopping the whole
farm behind one long transaction.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from alembic import context
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from farm.storage.grants import apply_grants
from farm.storage.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

#: Any number that nothing else in the database uses.
_ADVISORY_LOCK = 0x454E4746


@contextmanager
def _without_foreign_keys(connection: Connection) -> Iterator[None]:
    """On SQLite a table is changed by making it anew, which rows that refer to it forbid; they are checked at the end.

    The pragma has no effect within a transaction, so it is set before one begins.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def run() -> None:
    """Migrates in one transaction."""
    engine = context.config.attributes["engine"]
    with engine.connect() as connection, _without_foreign_keys(connection):
        context.configure(
            connection=connection,
            target_metadata=metadata,
            render_as_batch=connection.dialect.name == "sqlite",
            compare_type=True,
            # SQLite's too, since the farm begins its transactions itself: a migration happens or does not.
            transactional_ddl=True,
        )
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = '10s'"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
            context.run_migrations()
            apply_grants(connection)
            if (
                connection.dialect.name == "sqlite"
                and connection.execute(text("PRAGMA foreign_key_check")).first()
            ):
                raise IntegrityError("the migration left rows that refer to nothing", None, ValueError())


run()
