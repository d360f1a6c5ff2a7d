"""The artifact store in a folder: content-addressed, atomic, verified on read."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from farm.domain.digests import Digest, chunks_of
from farm.domain.errors import (
    CorruptArtifactError,
    InvalidRequestError,
    NotFoundError,
    StoreUnavailableError,
)
from farm.storage import folder_removal
from farm.storage.store_errors import destination_error, store_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from farm.domain.stores import Leftovers, StoredArtifact

_INCOMING = "incoming"


class ArtifactFolder:
    """Implements `ArtifactStore` in `root/aa/bb/<sha256>`.

    A file appears under its digest by a hard link from a complete, synced temporary file, so it is
    whole or absent whatever is killed when.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        """Makes the folder.

        Raises:
            StoreUnavailableError: it can not be made.
        """
        with self._translated():
            self._incoming.mkdir(parents=True, exist_ok=True)

    def put_file(self, path: Path) -> Digest:
        """Keeps a file's bytes.

        Raises:
            StoreUnavailableError: the store is missing, full, or can not be written.
            InvalidRequestError: the file can not be read.
        """
        try:
            stream = path.open("rb")
        except OSError as error:
            raise InvalidRequestError(f"{path} can not be read: {error.strerror}") from error
        with stream:
            return self._put(chunks_of(stream))

    def put_bytes(self, data: bytes) -> Digest:
        """Keeps a few bytes.

        Raises:
            StoreUnavailableError: the store is missing, full, or can not be written.
        """
        return self._put([data])

    def has(self, digest: Digest) -> bool:
        """Whether the bytes are there, in their full size."""
        try:
            return self.path_of(digest).stat().st_size == digest.size_bytes
        except OSError:
            return False

    def touch(self, digest: Digest) -> bool:
        """As `has`; if so, they count as kept at this moment. False as well where only their owner could say so.

        Raises:
            StoreUnavailableError: the store can not be written.
        """
        if not self.has(digest):
            return False
        try:
            # Fails if a removal has taken the file away since.
            os.utime(self.path_of(digest))
        except (FileNotFoundError, PermissionError):
            return False
        except OSError as error:
            raise store_error(self.root, error) from error
        return True

    def path_of(self, digest: Digest) -> Path:
        """Where the bytes lie, or would."""
        return self.root / digest.sha256[:2] / digest.sha256[2:4] / digest.sha256

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes in chunks.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptArtifactError: raised at the end, if these are not the digest's bytes.
            StoreUnavailableError: the store is missing or can not be read.
        """
        seen, size = hashlib.sha256(), 0
        path = self.path_of(digest)
        if not path.exists():
            folder_removal.put_back(path, self._incoming)
        try:
            with path.open("rb") as stream:
                for chunk in chunks_of(stream):
                    seen.update(chunk)
                    size += len(chunk)
                    if size > digest.size_bytes:
                        break
                    yield chunk
        except (FileNotFoundError, NotADirectoryError):
            raise self._missing(digest) from None
        except OSError as error:
            raise StoreUnavailableError(
                f"{path} can not be read: {error.strerror}", hint="Check its owner and mode, and the disk."
            ) from error
        if seen.hexdigest() != digest.sha256 or size != digest.size_bytes:
            found = f"more than {digest.size_bytes}" if size > digest.size_bytes else str(size)
            raise CorruptArtifactError(
                f"artifact {digest.short} was altered: {path} holds {found} bytes with sha256 "
                f"{seen.hexdigest()[:12]}…, not {digest.size_bytes} with {digest.short}…",
                hint="Nothing was handed out. Find out what wrote there; then remove the file and rebuild.",
            )

    def fetch(self, digest: Digest, destination: Path, progress: Callable[[int], None] | None = None) -> None:
        """Writes the bytes to a file, which appears complete and verified or not at all.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptArtifactError: the stored bytes are not the digest's.
            StoreUnavailableError: the destination can not be written.
        """
        with _appearing(destination) as stream:
            done = 0
            for chunk in self.chunks(digest):
                stream.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done)

    # What garbage collection asks for

    def now(self) -> datetime:
        """The clock of the store's file system, which may be another host's.

        Raises:
            StoreUnavailableError: the store is missing or can not be written.
        """
        with self._translated():
            return folder_removal.clock(self._incoming)

    def listing(self) -> Iterator[StoredArtifact]:
        """Every artifact there is.

        Raises:
            StoreUnavailableError: the store is missing or can not be read.
        """
        with self._translated():
            yield from folder_removal.listing(self.root)

    def remove(self, digest: Digest, kept_before: datetime) -> bool:
        """Removes an artifact that nobody kept or touched since; false if somebody did.

        Raises:
            StoreUnavailableError: the store can not be written.
        """
        with self._translated():
            return folder_removal.remove(self.path_of(digest), self._incoming, kept_before)

    def clear_leftovers(self, left_before: datetime, *, dry_run: bool = False) -> Leftovers:
        """Removes temporary files of killed writers, and ends removals of a killed collection.

        Raises:
            StoreUnavailableError: the store can not be written.
        """
        with self._translated():
            return folder_removal.clear_leftovers(self._incoming, self.path_of, left_before, dry_run=dry_run)

    @property
    def _incoming(self) -> Path:
        return self.root / _INCOMING

    def _put(self, chunks: Iterable[bytes]) -> Digest:
        seen, size = hashlib.sha256(), 0
        with self._translated():
            if self.root.is_dir():
                # Only below a folder that is there: a store that is not mounted must not be made anew.
                self._incoming.mkdir(exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._incoming)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    for chunk in chunks:
                        seen.update(chunk)
                        size += len(chunk)
                        stream.write(chunk)
                    stream.flush()
                    os.fsync(stream.fileno())
                    os.fchmod(stream.fileno(), 0o444)
                digest = Digest(seen.hexdigest(), size)
                self._link(Path(name), digest)
            finally:
                Path(name).unlink(missing_ok=True)
        return digest

    def _link(self, temporary: Path, digest: Digest) -> None:
        final = self.path_of(digest)
        is_new_folder = not final.parent.is_dir()
        final.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(temporary, final)
        except FileExistsError:
            if self.touch(digest):
                return
            # A file of another size under this name is damage, and another user's file can not be touched: the
            # good bytes take its place.
            temporary.replace(final)
        _sync_folder(final.parent)
        if is_new_folder:
            _sync_folder(final.parent.parent)
            _sync_folder(self.root)

    def _missing(self, digest: Digest) -> NotFoundError | StoreUnavailableError:
        if not self.root.is_dir():
            return StoreUnavailableError(
                f"the artifact store {self.root} is missing",
                hint="Is it mounted? FARM_STORE says where it is.",
            )
        return NotFoundError(
            f"the artifact store {self.root} has no {digest.short}",
            hint="It was removed; rebuild what it was.",
        )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise store_error(self.root, error) from error


@contextmanager
def _appearing(destination: Path) -> Iterator[BinaryIO]:
    """A file that takes its name only at the end of the block."""
    # A name of its own for each: two threads may fetch to one destination, and the name may be long already.
    partial = destination.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with partial.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(destination)
    except OSError as error:
        raise destination_error(destination, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _sync_folder(path: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
