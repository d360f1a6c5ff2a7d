"""The schema's version: which one the database is on, and how to move it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, text

from farm.domain.errors import SchemaVersionError
from farm.storage.database import hide_password
from farm.storage.grants import missing_roles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.storage.database import SqlDatabase

#: The newest migration; a test holds it against the folder. Known without loading Alembic, which is slow.
HEAD = "0007"

# Alembic keeps its context in a global of the process.
_ALEMBIC = threading.Lock()


def is_blank(database: SqlDatabase) -> bool:
    """Whether the database has no tables at all, of anybody."""
    with database.reading() as transaction:
        return not inspect(transaction.connection).get_table_names()


def current_revision(database: SqlDatabase) -> str | None:
    """The migration that the database is on; none for an empty one."""
    with database.reading() as transaction:
        connection = transaction.connection
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        return None if found is None else str(found)


def check_schema(database: SqlDatabase) -> None:
    """Refuses a database on another schema.

    Raises:
        SchemaVersionError: it is older (upgrade it) or newer (upgrade the farm).
    """
    found = current_revision(database)
    if found == HEAD:
        return
    where = hide_password(database.url)
    if found is None:
        raise SchemaVersionError(f"the database {where} has no tables yet", hint="Run `farm db upgrade`.")
    if found > HEAD:
        if _oldest_compatible(database) <= HEAD:
            return
        raise SchemaVersionError(
            f"the database {where} is on schema {found}, newer than this release's {HEAD}",
            hint="Upgrade engine-farm on this machine.",
        )
    raise SchemaVersionError(
        f"the database {where} is on schema {found}, older than this release's {HEAD}",
        hint="Run `farm db upgrade`.",
    )


def missing_sql_roles(database: SqlDatabase) -> list[str]:
    """The SQL roles that the database's cluster lacks; none on SQLite.

    Raises:
        DatabaseUnavailableError: the database can not be reached.
    """
    with database.reading() as transaction:
        return missing_roles(transaction.connection)


def _oldest_compatible(database: SqlDatabase) -> str:
    """The oldest release's schema whose code still works on the database's: a farm is upgraded while it runs."""
    with database.reading() as transaction:
        connection = transaction.connection
        if not inspect(connection).has_table("schema_compatibility"):
            return HEAD + "~"
        found = connection.execute(text("SELECT min(oldest) FROM schema_compatibility")).scalar_one_or_none()
        return HEAD + "~" if found is None else str(found)


def upgrade(database: SqlDatabase, revision: str = "head") -> None:
    """Moves the schema up; two at once take turns.

    Raises:
        DatabaseUnavailableError: the database can not be reached or written, or is locked for too long.
        SchemaVersionError: it is on a schema that this release does not know.
    """
    from alembic import command

    with _migrating(database):
        command.upgrade(_alembic(database), revision)


def downgrade(database: SqlDatabase, revision: str) -> None:
    """Moves the schema down.

    Raises:
        DatabaseUnavailableError: the database can not be reached or written, or is locked for too long.
        SchemaVersionError: it is on a schema that this release does not know.
    """
    from alembic import command

    with _migrating(database):
        command.downgrade(_alembic(database), revision)


@contextmanager
def _migrating(database: SqlDatabase) -> Iterator[None]:
    from alembic.util import CommandError

    try:
        with _ALEMBIC, database.translated():
            yield
    except CommandError as error:
        raise SchemaVersionError(
            f"the database {hide_password(database.url)} can not be migrated: {error}",
            hint="Is engine-farm on this machine the newest release that the farm uses?",
        ) from error


def _alembic(database: SqlDatabase) -> Any:
    from alembic.config import Config

    config = Config()
    # The option is a template, in which % has a meaning.
    config.set_main_option("script_location", str(files("migrations")).replace("%", "%%"))
    config.attributes["engine"] = database.engine
    return config
