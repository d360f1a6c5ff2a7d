"""The in-memory stand-in for `ArtifactStore`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from farm.domain.digests import CHUNK_BYTES, Digest, digest_of_bytes
from farm.domain.errors import CorruptArtifactError, NotFoundError
from farm.domain.stores import Leftovers, StoredArtifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class InMemoryArtifactStore:
    """Implements `ArtifactStore`."""

    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}
        self._kept_at: dict[str, datetime] = {}
        self.puts = 0
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def put_file(self, path: Path) -> Digest:
        """Keeps a file's bytes."""
        return self.put_bytes(path.read_bytes())

    def put_bytes(self, data: bytes) -> Digest:
        """Keeps a few bytes."""
        self.puts += 1
        digest = digest_of_bytes(data)
        if not self.touch(digest):
            self._bytes[digest.sha256] = data
            self._kept_at[digest.sha256] = self.moment
        return digest

    def touch(self, digest: Digest) -> bool:
        """Counts as kept now."""
        if self.has(digest):
            self._kept_at[digest.sha256] = self.moment
        return self.has(digest)

    def now(self) -> datetime:
        """A clock that tests move."""
        return self.moment

    def listing(self) -> Iterator[StoredArtifact]:
        """Every artifact."""
        for sha256, data in list(self._bytes.items()):
            yield StoredArtifact(Digest(sha256, len(data)), self._kept_at[sha256])

    def remove(self, digest: Digest, kept_before: datetime) -> bool:
        """Unless somebody kept it since."""
        if digest.sha256 not in self._bytes or self._kept_at[digest.sha256] >= kept_before:
            return False
        del self._bytes[digest.sha256]
        return True

    def clear_leftovers(self, left_before: datetime, *, dry_run: bool = False) -> Leftovers:
        """Nobody is killed in memory."""
        del left_before, dry_run
        return Leftovers()

    def has(self, digest: Digest) -> bool:
        """Whether the bytes are there, in their full size."""
        return digest.sha256 in self._bytes and len(self._bytes[digest.sha256]) == digest.size_bytes

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes, checked at the end."""
        if digest.sha256 not in self._bytes:
            raise NotFoundError(f"the store has no {digest.short}")
        data = self._bytes[digest.sha256]
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]
        if digest_of_bytes(data) != digest:
            raise CorruptArtifactError(f"artifact {digest.short} was altered")

    def fetch(self, digest: Digest, destination: Path, progress: Callable[[int], None] | None = None) -> None:
        """Writes the bytes to a file, whole or not at all."""
        data = b""
        for chunk in self.chunks(digest):
            data += chunk
            if progress is not None:
                progress(len(data))
        destination.write_bytes(data)

    def spoil(self, digest: Digest, data: bytes) -> None:
        """Puts other bytes in place of an artifact's."""
        self._bytes[digest.sha256] = data
