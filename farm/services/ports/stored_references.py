"""References that hosts share, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from farm.domain.stored_references import StoredReference


class StoredReferences(Protocol):
    """What models compute from some inputs; of two for one key the first is kept, as long as its bytes are there."""

    def find(self, key_sha256: str) -> StoredReference | None:
        """The reference of a key; none where nobody has filed one, or its bytes were given up."""

    def file(self, key_sha256: str, model_sha256: str, new: StoredReference) -> bool:
        """Files a reference; false if one is there."""

    def touch(self, key_sha256: str) -> None:
        """Notes that one was lent, which keeps its bytes."""
