"""What a database's driver says, as the farm's own errors; what is none of these is a bug and stays.

`where` is the database's URL without its password, `said` the driver's words without it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from farm.domain.errors import DatabaseUnavailableError, SchemaVersionError
from farm.storage.sql_rights import OPERATOR, roles_that_may

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

    from farm.domain.errors import FarmError


def first_line(error: DBAPIError) -> str:
    """The first line of what the driver said, or the name of its error."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def sqlite_error(error: DBAPIError, where: str, said: str) -> FarmError | None:
    """The farm's error for one of SQLite's; none for a bug."""
    code = getattr(error.orig, "sqlite_errorname", "")
    if "no such table" in said or "no such column" in said:
        return _other_schema(where, said)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseUnavailableError(
            f"the database {where} has been locked by another process for too long",
            hint="Find who holds it (`fuser` on the file), then try again.",
        )
    if code == "SQLITE_FULL":
        return _disk_full(where)
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return DatabaseUnavailableError(
            f"the database {where} can not be opened or written: {said}",
            hint="Check that its folder exists, and the owner and mode of folder and file.",
        )
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return DatabaseUnavailableError(
            f"the file of {where} is damaged or no database: {said}",
            hint="Put a backup in its place, or name another file with FARM_DATABASE_URL.",
        )
    if code.startswith(("SQLITE_IOERR", "SQLITE_NOMEM", "SQLITE_PROTOCOL")):
        return DatabaseUnavailableError(
            f"the database {where} can not be read or written: {said}", hint="Is the disk under it healthy?"
        )
    return None


def postgresql_error(error: DBAPIError, where: str, said: str) -> FarmError | None:
    """The farm's error for one of PostgreSQL's; none for a bug."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state in ("42P01", "42703", "3F000"):  # no such table, column, schema
        return _other_schema(where, said)
    if state == "53100":
        return _disk_full(where)
    if state == "55P03":
        return DatabaseUnavailableError(
            f"the database {where} has been locked by another process for too long",
            hint="See who holds the lock in pg_stat_activity, then try again.",
        )
    if state.startswith("40"):  # deadlock, serialization
        return DatabaseUnavailableError(
            f"the database {where} gave another transaction precedence: {said}", hint="Try again."
        )
    if state == "42501":
        return _not_allowed(error, where, said)
    if state == "25006":
        return DatabaseUnavailableError(
            f"the database {where} can not be written: {said}",
            hint="It is a standby, or set to read only: use the primary server.",
        )
    if state.startswith("54"):
        return None
    is_at_connecting = error.statement is None and not state
    if is_at_connecting or isinstance(error, OperationalError) or error.connection_invalidated:
        return DatabaseUnavailableError(
            f"the database {where} can not be reached: {said}",
            hint="Is it up, and are host, port, user and password of FARM_DATABASE_URL right? `farm doctor` checks.",
        )
    return None


def _not_allowed(error: DBAPIError, where: str, said: str) -> DatabaseUnavailableError:
    table = re.search(r"permission denied for table (\w+)", said)
    who = (*roles_that_may(table[1], error.statement or ""), OPERATOR) if table else (OPERATOR,)
    return DatabaseUnavailableError(
        f"this login of the database {where} may not do that: {said}",
        hint=f"The rights for it have: {', '.join(who)}. `farm doctor` says what this login may not do.",
    )


def _other_schema(where: str, said: str) -> SchemaVersionError:
    return SchemaVersionError(
        f"the database {where} is not on this release's schema: {said}", hint="Run `farm db upgrade`."
    )


def _disk_full(where: str) -> DatabaseUnavailableError:
    return DatabaseUnavailableError(
        f"the disk under the database {where} is full", hint="Free some space, then try again."
    )
