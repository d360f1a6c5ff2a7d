"""References that hosts share, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from farm.domain.digests import Digest
from farm.domain.stored_references import StoredReference
from farm.storage.columns import DatabaseNow
from farm.storage.rows import insert_once
from farm.storage.sql_artifacts import note_artifact
from farm.storage.tables import artifacts, stored_references

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SqlStoredReferences:
    """Implements `StoredReferences`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, key_sha256: str) -> StoredReference | None:
        """The reference of a key; none where nobody has filed one, or its bytes were given up."""
        row = self._connection.execute(
            select(stored_references.c.name, artifacts.c.sha256, artifacts.c.size_bytes)
            .join(artifacts, artifacts.c.sha256 == stored_references.c.artifact_sha256)
            .where(stored_references.c.key_sha256 == key_sha256, artifacts.c.deleted_at.is_(None))
        ).one_or_none()
        return None if row is None else StoredReference(Digest(row.sha256, row.size_bytes), row.name)

    def file(self, key_sha256: str, model_sha256: str, new: StoredReference) -> bool:
        """Files a reference; false if one is there."""
        if self.find(key_sha256) is not None:
            return False
        note_artifact(self._connection, new.digest, "reference")
        if insert_once(
            self._connection,
            stored_references,
            key_sha256=key_sha256,
            model_sha256=model_sha256,
            artifact_sha256=new.digest.sha256,
            name=new.name,
            created_at=DatabaseNow(),
        ):
            return True
        # Its row is there: its bytes were given up, or somebody else filed it a moment ago, which is as good.
        gone = select(artifacts.c.sha256).where(artifacts.c.deleted_at.is_not(None))
        revived = self._connection.execute(
            update(stored_references)
            .where(
                stored_references.c.key_sha256 == key_sha256, stored_references.c.artifact_sha256.in_(gone)
            )
            .values(artifact_sha256=new.digest.sha256, created_at=DatabaseNow())
        )
        return revived.rowcount == 1

    def touch(self, key_sha256: str) -> None:
        """Notes that one was lent, which keeps its bytes."""
        self._connection.execute(
            update(stored_references)
            .where(stored_references.c.key_sha256 == key_sha256)
            .values(created_at=DatabaseNow())
        )
