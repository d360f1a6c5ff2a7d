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


def noted(digest: Digest, kind: str) -> dict[str, Any]:
    """What `noting` is given."""
    return {"noted_sha256": digest.sha256, "noted_size_bytes": digest.size_bytes, "noted_kind": kind}


@cache
def noting(dialect_name: str) -> Any:
    """The statement of `note_artifact`, which PostgreSQL takes as a part of another one as well."""
    dialect: Any = postgresql if dialect_name == "postgresql" else sqlite
    return (
        dialect.insert(artifacts)
        .values(
            sha256=bindparam("noted_sha256"),
            size_bytes=bindparam("noted_size_bytes"),
            kind=bindparam("noted_kind"),
            created_at=DatabaseNow(),
        )
        .on_conflict_do_update(
            index_elements=[artifacts.c.sha256],
            set_={"deleted_at": None},
            # Locks the row even where this does not hold, and then writes nothing.
            where=artifacts.c.deleted_at.is_not(None),
        )
    )
