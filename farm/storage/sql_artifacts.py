"""What an artifact of the store is, in SQL; every table that refers to one notes it first."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam
from sqlalchemy.dialects import postgresql, sqlite

from farm.storage.columns import DatabaseNow
from farm.storage.tables import artifacts

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from farm.domain.digests import Digest


def note_artifact(connection: Connection, digest: Digest, kind: str) -> None:
    """Notes what an artifact is, and that its bytes are in the store, whether or not it was removed before.

    From here to the end of the transaction garbage collection waits for the row, and so sees what refers to it.
    """
    connection.execute(noting(connection.dialect.name), noted(digest, kind))


def noted(digest: Digest, kind: str, name: str = "noted") -> dict[str, Any]:
    """What `noting` is given."""
    return {f"{name}_sha256": digest.sha256, f"{name}_size_bytes": digest.size_bytes, f"{name}_kind": kind}


@cache
def noting(dialect_name: str, name: str = "noted") -> Any:
    """The statement of `note_artifact`, which PostgreSQL takes as a part of another one as well.

    Args:
        dialect_name: of the database.
        name: what the statement's parameters begin with, which tells several of them in one statement apart.
    """
    dialect: Any = postgresql if dialect_name == "postgresql" else sqlite
    return (
        dialect.insert(artifacts)
        .values(
            sha256=bindparam(f"{name}_sha256"),
            size_bytes=bindparam(f"{name}_size_bytes"),
            kind=bindparam(f"{name}_kind"),
            created_at=DatabaseNow(),
        )
        .on_conflict_do_update(
            index_elements=[artifacts.c.sha256],
            set_={"deleted_at": None},
            # Locks the row even where this does not hold, and then writes nothing.
            where=artifacts.c.deleted_at.is_not(None),
        )
    )
