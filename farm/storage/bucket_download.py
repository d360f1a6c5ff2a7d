"""Downloads from a bucket: ranges side by side, resumed where they stopped, verified over the whole."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.digests import digest_of_file
from farm.domain.errors import CorruptArtifactError, StoreUnavailableError
from farm.storage.bucket_client import translated
from farm.storage.part_file import BLOCK_BYTES, PartFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obstore.store import S3Store

    from farm.domain.digests import Digest
    from farm.domain.stores import BucketUrl

#: So many ranges are asked for at once; each is in memory until it is written.
_RANGES_AT_ONCE = 4
#: A connection that breaks in the middle of a range is made anew so often; before it, the client tries again.
_TRIES = 3


@dataclass(frozen=True)
class StoredObject:
    """One version of an object in a bucket.

    Attributes:
        client: of the bucket.
        url: for messages.
        key: of the object.
        version: its ETag; a range of another version is refused.
        size_bytes: as the store says.
    """

    client: S3Store
    url: BucketUrl
    key: str
    version: str
    size_bytes: int

    @property
    def blocks(self) -> range:
        """The numbers of its ranges."""
        return range(-(-self.size_bytes // BLOCK_BYTES))

    def read(self, block: int) -> memoryview:
        """One range.

        Raises:
            ObjectChangedError: another object has taken its place.
            StoreUnavailableError: the store does not answer.
            FileNotFoundError: it was removed.
        """
        import obstore
        from obstore.exceptions import PreconditionError

        start = block * BLOCK_BYTES
        end = min(start + BLOCK_BYTES, self.size_bytes)
        left = _TRIES
        while True:
            left -= 1
            try:
                with translated(self.url):
                    found = obstore.get(
                        self.client, self.key, options={"range": (start, end), "if_match": self.version}
                    )
            except PreconditionError:
                raise ObjectChangedError from None
            try:
                with translated(self.url):
                    data = memoryview(found.bytes())
            except StoreUnavailableError:
                if not left:
                    raise
                continue
            if len(data) == end - start:
                return data
            if not left:
                raise StoreUnavailableError(
                    f"the artifact store {self.url} sent {len(data)} bytes of {end - start}",
                    hint="Is there a proxy before it that cuts answers?",
                )


class ObjectChangedError(Exception):
    """The object is another one than a moment ago; whoever reads it begins anew."""


def download(
    source: StoredObject, digest: Digest, destination: Path, progress: Callable[[int], None] | None
) -> None:
    """Writes an object's bytes to a file, which appears complete and verified or not at all.

    What a killed or cut off download has written stays beside the destination, and the next one asks for the
    rest alone. Two that fetch the same artifact to one place take turns, and the second finds it there.

    Raises:
        CorruptArtifactError: the stored bytes are not the digest's.
        StoreUnavailableError: the store does not answer.
        ObjectChangedError: another object has taken its place.
        OSError: the destination can not be written.
    """
    with PartFile.locked(destination, digest) as (part, waited):
        if waited and destination.is_file() and digest_of_file(destination) == digest:
            part.remove()
            return
        part.resume(source.version, source.size_bytes)
        was_resumed = bool(part.done)
        try:
            _fill(part, source, progress)
            if was_resumed and not part.holds(digest):
                # What an earlier process left may have been lost in a power cut: the store is asked for all.
                part.restart(source.size_bytes)
                _fill(part, source, None)
                was_resumed = False
        except ObjectChangedError:
            part.remove()
            raise
        if not was_resumed and not part.holds(digest):
            part.remove()
            raise corrupt(source.url, digest)
        part.become(destination)


def corrupt(url: BucketUrl, digest: Digest) -> CorruptArtifactError:
    """The stored bytes are other ones."""
    return CorruptArtifactError(
        f"artifact {digest.short} was altered: the bytes under its name in {url} are not those of its digest",
        hint="Nothing was handed out. Find out what wrote there; then remove the object and rebuild.",
    )


def wrong_size(url: BucketUrl, digest: Digest, size_bytes: int) -> CorruptArtifactError:
    """There are more or fewer stored bytes than the digest says."""
    return CorruptArtifactError(
        f"artifact {digest.short} was altered: {url} holds {size_bytes} bytes under its name, "
        f"not {digest.size_bytes}",
        hint="Nothing was handed out. Find out what wrote there; then remove the object and rebuild.",
    )


def _fill(part: PartFile, source: StoredObject, progress: Callable[[int], None] | None) -> None:
    todo = [block for block in source.blocks if block not in part.done]
    done_bytes = source.size_bytes - sum(_length(source, block) for block in todo)
    with ThreadPoolExecutor(_RANGES_AT_ONCE, thread_name_prefix="fetch") as pool:
        running = {pool.submit(source.read, block): block for block in todo[:_RANGES_AT_ONCE]}
        # No more than what is being read is in memory: the next is asked for when one is written.
        waiting = iter(todo[_RANGES_AT_ONCE:])
        try:
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    block = running.pop(future)
                    part.write(block, future.result())
                    done_bytes += _length(source, block)
                    if progress is not None:
                        progress(done_bytes)
                    following = next(waiting, None)
                    if following is not None:
                        running[pool.submit(source.read, following)] = following
        finally:
            for future in running:
                future.cancel()


def _length(source: StoredObject, block: int) -> int:
    return min(BLOCK_BYTES, source.size_bytes - block * BLOCK_BYTES)
