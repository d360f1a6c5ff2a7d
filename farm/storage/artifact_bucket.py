"""The artifact store in a bucket of an S3-compatible service: content-addressed, atomic, verified on read."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from farm.domain.digests import CHUNK_BYTES, Digest, chunks_of, digest_of_bytes, digest_of_chunks
from farm.domain.errors import FarmError, NotFoundError, StoreUnavailableError
from farm.domain.stores import Leftovers, StoredArtifact
from farm.storage.bucket_client import PATIENCE_S, no_bucket, open_bucket, translated
from farm.storage.bucket_download import ObjectChangedError, StoredObject, corrupt, download, wrong_size
from farm.storage.bucket_leftovers import clear_uploads
from farm.storage.bucket_upload import key_of, open_source, upload_bytes, upload_file
from farm.storage.store_errors import destination_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from obstore import ObjectMeta

    from farm.domain.stores import BucketUrl

#: Says that somebody made a store here: a mistyped prefix must not become another one.
_MARKER = "engine-farm-store"
_CLOCK = "clock"
#: Beside an artifact: when somebody last wanted it kept, and that it is being removed at this moment.
_TOUCHED, _REMOVING = "touched/", "removing/"
#: A removal takes three requests; one that took longer than the first is given up, and a writer waits no
#: longer than the second for one whose process was killed.
_REMOVAL_S, _REMOVAL_IS_DEAD_S = 15.0, 60.0
_POLL_S = 0.2
_TRIES = 5


class ArtifactBucket:
    """Implements `ArtifactStore` in objects `prefix/aa/bb/<sha256>`, each whole or absent whatever is killed when.

    Args:
        url: bucket and prefix.
        access: the variables `AWS_*`: credentials, endpoint, region.
        patience_s: how long a request is tried again while the store does not answer.
    """

    def __init__(self, url: BucketUrl, access: Mapping[str, str], *, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self._access = dict(access)
        self._client = open_bucket(url, access, patience_s)
        self._is_made = False

    def create(self) -> None:
        """Makes the store in a bucket that is there.

        Raises:
            StoreUnavailableError: there is no such bucket, or it can not be written.
        """
        try:
            upload_bytes(self._client, self.url, _MARKER, b"engine-farm\n")
        except FileNotFoundError:
            raise no_bucket(self.url) from None

    def put_file(self, path: Path) -> Digest:
        """Keeps a file's bytes.

        Raises:
            StoreUnavailableError: the store is missing, or can not be written.
            InvalidRequestError: the file can not be read, or changed meanwhile.
        """
        with open_source(path) as stream:
            digest = digest_of_chunks(chunks_of(stream))
        self._put(digest, lambda: upload_file(self._client, self.url, key_of(digest.sha256), path, digest))
        return digest

    def put_bytes(self, data: bytes) -> Digest:
        """Keeps a few bytes.

        Raises:
            StoreUnavailableError: the store is missing, or can not be written.
        """
        digest = digest_of_bytes(data)
        self._put(digest, lambda: upload_bytes(self._client, self.url, key_of(digest.sha256), data))
        return digest

    def has(self, digest: Digest) -> bool:
        """Whether the bytes are there, in their full size.

        Raises:
            StoreUnavailableError: the store is missing, or does not answer.
        """
        found = self._head(key_of(digest.sha256))
        if found is None:
            self._must_be_made()
        return found is not None and found["size"] == digest.size_bytes

    def touch(self, digest: Digest) -> bool:
        """As `has`; if so, they count as kept at this moment.

        Raises:
            StoreUnavailableError: the store is missing, or can not be written.
        """
        if not self.has(digest):
            return False
        # Not the object itself: only its bytes, sent once more, would change its time.
        self._write(_TOUCHED + digest.sha256, b"")
        return self._outlived_removal(digest)

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes in chunks.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptArtifactError: raised at the end, if these are not the digest's bytes.
            StoreUnavailableError: the store is missing, or does not answer.
        """
        source, seen = self._object(digest), hashlib.sha256()
        if source.size_bytes != digest.size_bytes:
            raise wrong_size(self.url, digest, source.size_bytes)
        try:
            for block in source.blocks:
                data = source.read(block)
                for start in range(0, len(data), CHUNK_BYTES):
                    chunk = bytes(data[start : start + CHUNK_BYTES])
                    seen.update(chunk)
                    yield chunk
        except FileNotFoundError:
            raise self._missing(digest) from None
        except ObjectChangedError:
            raise StoreUnavailableError(
                f"artifact {digest.short} was kept anew while it was read", hint="Try again."
            ) from None
        if seen.hexdigest() != digest.sha256:
            raise corrupt(self.url, digest)

    def fetch(self, digest: Digest, destination: Path, progress: Callable[[int], None] | None = None) -> None:
        """Writes the bytes to a file, which appears complete and verified or not at all.

        What is there of it after an interruption stays beside the file, and the next call asks for the rest.

        Raises:
            NotFoundError: the store has no such artifact.
            CorruptArtifactError: the stored bytes are not the digest's.
            StoreUnavailableError: the store does not answer, or the destination can not be written.
        """
        while True:
            source = self._object(digest)
            if source.size_bytes != digest.size_bytes:
                raise wrong_size(self.url, digest, source.size_bytes)
            try:
                download(source, digest, destination, progress)
            except ObjectChangedError:
                continue
            except FileNotFoundError as error:
                if destination.parent.is_dir():
                    raise self._missing(digest) from None
                raise destination_error(destination, error) from error
            except OSError as error:
                raise destination_error(destination, error) from error
            return

    # What garbage collection asks for

    def now(self) -> datetime:
        """The store's own clock.

        Raises:
            StoreUnavailableError: the store is missing, or can not be written.
        """
        self._must_be_made()
        self._write(_CLOCK, b"")
        found = self._head(_CLOCK)
        if found is None:
            raise no_bucket(self.url)
        return found["last_modified"]

    def listing(self) -> Iterator[StoredArtifact]:
        """Every artifact there is.

        Raises:
            StoreUnavailableError: the store is missing, or does not answer.
        """
        self._must_be_made()
        touched = {meta["path"][len(_TOUCHED) :]: meta["last_modified"] for meta in self._list(_TOUCHED)}
        for found in self._list():
            name = found["path"].rpartition("/")[2]
            if len(name) == 64 and found["path"] == key_of(name):
                latest = max(found["last_modified"], touched.get(name, found["last_modified"]))
                yield StoredArtifact(Digest(name, found["size"]), latest)

    def remove(self, digest: Digest, kept_before: datetime) -> bool:
        """Removes an artifact that nobody kept or touched since; false if somebody did.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        import obstore

        key, mark = key_of(digest.sha256), _REMOVING + digest.sha256
        begin = time.monotonic()
        # A writer that keeps the bytes from here on sees the mark, and looks again once it is gone.
        self._write(mark, b"")
        try:
            found = [self._head(key), self._head(_TOUCHED + digest.sha256)]
            if found[0] is None:
                return False
            if any(meta is not None and meta["last_modified"] >= kept_before for meta in found):
                return False
            if time.monotonic() - begin > _REMOVAL_S:
                return False
            with translated(self.url):
                obstore.delete(self._client, [key, _TOUCHED + digest.sha256])
            return True
        finally:
            with suppress(FarmError), translated(self.url):
                obstore.delete(self._client, mark)

    def clear_leftovers(self, left_before: datetime, *, dry_run: bool = False) -> Leftovers:
        """Removes what killed writers left: parts of uploads that were never completed, and marks.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        import obstore

        marks = [m["path"] for m in self._list(_REMOVING) if m["last_modified"] < left_before]
        if marks and not dry_run:
            with translated(self.url):
                obstore.delete(self._client, marks)
        return clear_uploads(self.url, self._access, left_before, dry_run=dry_run)

    def _put(self, digest: Digest, upload: Callable[[], None]) -> None:
        self._must_be_made()
        if self.touch(digest):
            return
        for _ in range(_TRIES):
            # Missing in mid-upload: it was removed between two requests.
            with suppress(FileNotFoundError):
                upload()
                if self._outlived_removal(digest):
                    return
        raise StoreUnavailableError(
            f"the artifact store {self.url} lost {digest.short} as soon as it was kept",
            hint="Does something else than `farm gc` remove objects there?",
        )

    def _outlived_removal(self, digest: Digest) -> bool:
        """Whether an object that was just kept or touched is there, once nobody is removing it."""
        end = time.monotonic() + _REMOVAL_IS_DEAD_S
        while self._head(_REMOVING + digest.sha256) is not None and time.monotonic() < end:
            time.sleep(_POLL_S)
        found = self._head(key_of(digest.sha256))
        return found is not None and found["size"] == digest.size_bytes

    def _object(self, digest: Digest) -> StoredObject:
        key = key_of(digest.sha256)
        found = self._head(key)
        if found is None:
            raise self._missing(digest)
        return StoredObject(self._client, self.url, key, found["e_tag"] or "*", found["size"])

    def _missing(self, digest: Digest) -> NotFoundError:
        self._must_be_made()
        return NotFoundError(
            f"the artifact store {self.url} has no {digest.short}",
            hint="It was removed; rebuild what it was.",
        )

    def _must_be_made(self) -> None:
        if not self._is_made and self._head(_MARKER) is None:
            raise no_bucket(self.url)
        self._is_made = True

    def _head(self, key: str) -> ObjectMeta | None:
        import obstore

        try:
            with translated(self.url):
                return obstore.head(self._client, key)
        except FileNotFoundError:
            return None

    def _write(self, key: str, data: bytes) -> None:
        import obstore

        try:
            with translated(self.url):
                obstore.put(self._client, key, data, use_multipart=False)
        except FileNotFoundError:
            raise no_bucket(self.url) from None

    def _list(self, prefix: str | None = None) -> Iterator[ObjectMeta]:
        import obstore

        with translated(self.url):
            for page in obstore.list(self._client, prefix):
                yield from page
