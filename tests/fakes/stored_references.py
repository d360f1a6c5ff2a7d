"""The in-memory stand-in for `StoredReferences`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farm.domain.stored_references import StoredReference


class InMemoryStoredReferences:
    """Implements `StoredReferences`."""

    def __init__(self, tables: Any) -> None:
        self._tables = tables

    def find(self, key_sha256: str) -> StoredReference | None:
        """The reference of a key."""
        found: StoredReference | None = self._tables.stored_references.get(key_sha256)
        return found

    def file(self, key_sha256: str, _model_sha256: str, new: StoredReference) -> bool:
        """Files a reference; false if one is there."""
        self._tables.artifacts.setdefault(new.digest.sha256, new.digest)
        return self._tables.stored_references.setdefault(key_sha256, new) is new

    def touch(self, key_sha256: str) -> None:
        """Nothing is given up here."""
