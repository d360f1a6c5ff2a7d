"""The schema's version: which one the database is on, and how to move it."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from sqlalchemy import inspect, text

from farm.domain.errors import SchemaVersionError
from farm.storage.database import hide_password

if TYPE_CHECKING:
    from farm.storage.database import SqlDatabase

#: The newest migration; a test holds it against the folder. Known without loading Alembic, which is slow.
HEAD = "0001"


def current_revision(database: SqlDatabase) -> str | None:
    """The migration that the database is on; none for an empty one."""
    with database.reading() as transaction:
        connection = transaction._connection  # noqa: SLF001 - the schema is storage's own
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
        raise SchemaVersionError(
            f"the database {where} is on schema {found}, newer than this release's {HEAD}",
            hint="Upgrade engine-farm on this machine.",
        )
    raise SchemaVersionError(
        f"the database {where} is on schema {found}, older than this release's {HEAD}", hint="Run `farm db upgrade`."
    )


def upgrade(database: SqlDatabase, revision: str = "head") -> None:
    """Moves the schema up."""
    from alembic import command

    command.upgrade(_alembic(database), revision)


def downgrade(database: SqlDatabase, revision: str) -> None:
    """Moves the schema down."""
    from alembic import command

    command.downgrade(_alembic(database), revision)


def _alembic(database: SqlDatabase) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    config.attributes["engine"] = database.engine
    return config
