"""Which SQL roles have a right, on paper: for hints of what a login lacks."""

from __future__ import annotations

from farm.storage.grants import GRANTS, ROLES

#: Who owns the tables; may do everything.
OPERATOR = "the operator, who owns the tables"


def roles_that_may(table: str, statement: str) -> tuple[str, ...]:
    """The farm's roles with a right to what a statement begins with, on a table; for a hint.

    Args:
        table: a table of the farm; one of somebody else has none.
        statement: that was refused.
    """
    return roles_with(table, statement.split(maxsplit=1)[0].upper() if statement.strip() else "", "")


def roles_with(table: str, privilege: str, column: str) -> tuple[str, ...]:
    """The farm's roles that have a right to a table.

    Args:
        table: a table of the farm; one of somebody else has none.
        privilege: SELECT, INSERT, UPDATE or DELETE; any other has none.
        column: for an update of just this one; empty for any.
    """
    if privilege == "SELECT":
        return ROLES
    of_roles = GRANTS.get(table, {})
    return tuple(
        role
        for role, rights in of_roles.items()
        if (privilege == "INSERT" and rights.insert)
        or (privilege == "DELETE" and rights.delete)
        or (privilege == "UPDATE" and (column in rights.update if column else bool(rights.update)))
    )
