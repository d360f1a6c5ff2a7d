"""What the login that a farm is connected as may do on PostgreSQL, asked of the server itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from farm.storage.grants import ROLES
from farm.storage.sql_rights import OPERATOR, roles_with

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from farm.storage.database import SqlDatabase

#: What commands write first, as (table, privilege, column of an update); who may not do that may not do these.
_NEEDS = (
    ("`farm submit`, `farm cancel`, `farm retry`", "submissions", "INSERT", ""),
    ("`farm up`, `farm worker`, `farm sweep`", "workers", "INSERT", ""),
    ("`farm worker drain`", "worker_drains", "INSERT", ""),
    ("`farm worker resume`", "worker_drains", "DELETE", ""),
    ("`farm caches drop`", "timing_caches", "DELETE", ""),
    ("`farm gc`, `farm pin`, `farm unpin`", "engines", "UPDATE", "pinned_at"),
    ("`farm keys trust`, `farm keys revoke`", "signing_keys", "INSERT", ""),
)


@dataclass(frozen=True)
class Login:
    """A login of PostgreSQL.

    Attributes:
        name: as the server knows it.
        roles: of the farm's that it has.
        is_operator: whether it owns the tables, or is above rights.
        refused: what it may not do: commands, and which role they need.
    """

    name: str
    roles: tuple[str, ...]
    is_operator: bool
    refused: tuple[tuple[str, str], ...]


def login_of(database: SqlDatabase) -> Login | None:
    """The login that a database is used with; none on SQLite, which has none.

    Raises:
        DatabaseUnavailableError: the database can not be reached.
        SchemaVersionError: it has no tables yet.
    """
    if database.engine.dialect.name != "postgresql":
        return None
    with database.reading() as transaction:
        connection = transaction.connection
        owns = "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = 'jobs'::regclass"
        is_operator = _is_so(connection, owns)
        refused = [
            (commands, " or ".join((*roles_with(table, privilege, column), OPERATOR)))
            for commands, table, privilege, column in _NEEDS
            if not _may(connection, table, privilege, column)
        ]
        if not is_operator:
            refused.append(("`farm db upgrade`", OPERATOR))
        return Login(
            name=str(connection.execute(text("SELECT current_user")).scalar_one()),
            roles=tuple(_roles_of(connection)),
            is_operator=is_operator,
            refused=tuple(refused),
        )


def _roles_of(connection: Connection) -> list[str]:
    """Of the roles those that it was made a member of: a superuser is none for that."""
    query = text(
        "SELECT r.rolname FROM pg_roles r JOIN pg_auth_members m ON m.roleid = r.oid"
        " JOIN pg_roles u ON u.oid = m.member WHERE u.rolname = current_user AND r.rolname = ANY(:names)"
    )
    found = set(connection.execute(query, {"names": list(ROLES)}).scalars())
    return [role for role in ROLES if role in found]


def _is_so(connection: Connection, query: str, **values: str) -> bool:
    return bool(connection.execute(text(query), values).scalar_one())


def _may(connection: Connection, table: str, privilege: str, column: str) -> bool:
    if column:
        query = "SELECT has_column_privilege(:t, :c, :p)"
        return _is_so(connection, query, t=table, c=column, p=privilege)
    return _is_so(connection, "SELECT has_table_privilege(:t, :p)", t=table, p=privilege)
