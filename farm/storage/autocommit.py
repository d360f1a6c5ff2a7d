"""Statements that are each a transaction of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func

if TYPE_CHECKING:
    from sqlalchemy import Connection, Function

#: Of a connection whose statements are each a transaction.
AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
#: What a heartbeat returns as well, so that PostgreSQL does not wait for its disk: one that is lost with the power
#: is followed by another.
_NEED_NOT_LAST = func.set_config("synchronous_commit", "off", True)


def is_autocommit(connection: Connection) -> bool:
    """Whether each statement on a connection is its own transaction."""
    return AUTOCOMMIT.items() <= connection.get_execution_options().items()


def need_not_last(*, is_alone: bool) -> list[Function[str]]:
    """What a statement returns beside its answer, if it need not outlive a loss of power.

    Args:
        is_alone: whether it is its own transaction (`is_autocommit`): in another one it would speak for everything
            else there, so then it is nothing.
    """
    return [_NEED_NOT_LAST] if is_alone else []
