"""Immutable bytes, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.stores import Leftovers, StoredArtifact


class ArtifactStore(Protocol):
    """Immutable bytes by digest. Reads are verified, writes are atomic, nothing is read whole."""

    def put_file(self, path: Path) -> Digest:
        """Keeps a file's bytes. Raises StoreUnavailableError."""

    def put_bytes(self, data: bytes) -> Digest:
        """Keeps a few bytes. Raises StoreUnavailableError."""

    def has(self, digest: Digest) -> bool:
        """Whether the bytes are there, in their full size."""

    def touch(self, digest: Digest) -> bool:
        """As `has`; if so, they count as kept at this moment. False where only keeping them anew would do that."""

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes in chunks. Raises CorruptArtifactError at the end if they are not the digest's."""

    def fetch(self, digest: Digest, destination: Path, progress: Callable[[int], None] | None = None) -> None:
        """Writes the bytes to a file, which appears complete and verified or not at all."""

    def now(self) -> datetime:
        """The store's own clock, by which it says when an artifact was kept."""

    def listing(self) -> Iterator[StoredArtifact]:
        """Every artifact there is."""

    def remove(self, digest: Digest, kept_before: datetime) -> bool:
        """Removes an artifact, unless somebody kept or touched it since; whether it did."""

    def clear_leftovers(self, left_before: datetime, *, dry_run: bool = False) -> Leftovers:
        """Removes what writers that were killed before a moment left; what it found."""
