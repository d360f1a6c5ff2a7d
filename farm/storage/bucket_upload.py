"""Uploads to a bucket: streamed in parts, complete only if the bytes are those of the key."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO

from farm.domain.digests import Digest, chunks_of
from farm.domain.errors import InvalidRequestError
from farm.storage.bucket_client import translated

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obstore.store import S3Store

    from farm.domain.stores import BucketUrl

#: Up to here one request carries all, and the server itself refuses a second object under the key.
SINGLE_BYTES = 8 << 20
#: S3 takes no more parts in an upload (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html).
_MOST_PARTS = 10_000
#: So many parts are in memory at once.
_PARTS_AT_ONCE = 4


def key_of(sha256: str) -> str:
    """The key of an artifact, below the store's prefix."""
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def upload_bytes(client: S3Store, url: BucketUrl, key: str, data: bytes) -> None:
    """Keeps a few bytes; whoever was first under the key keeps it, unless that object was cut.

    Raises:
        StoreUnavailableError: the bucket can not be written.
    """
    import obstore
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    with translated(url):
        try:
            obstore.put(client, key, data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            if obstore.head(client, key)["size"] != len(data):
                # An object of another size under this name is damage: the good bytes take its place.
                obstore.put(client, key, data, use_multipart=False)


def upload_file(client: S3Store, url: BucketUrl, key: str, path: Path, digest: Digest) -> None:
    """Keeps a file's bytes; it is read a part at a time, and digested once more on its way.

    The upload is completed only if the bytes sent were the digest's: until then nobody sees anything of it.
    S3 has no condition on what completes an upload in parts that obstore could set; a second writer of the
    key sends the same bytes, so it does not matter who is last.

    Raises:
        StoreUnavailableError: the bucket can not be written.
        InvalidRequestError: the file can not be read, or changed since its digest was computed.
    """
    import obstore

    with open_source(path) as stream:
        if digest.size_bytes <= SINGLE_BYTES:
            upload_bytes(client, url, key, b"".join(_checked(stream, path, digest)))
            return
        with translated(url):
            obstore.put(
                client,
                key,
                _checked(stream, path, digest),
                use_multipart=True,
                chunk_size=_part_bytes(digest.size_bytes),
                max_concurrency=_PARTS_AT_ONCE,
            )


def open_source(path: Path) -> BinaryIO:
    """Opens a file that is to be kept.

    Raises:
        InvalidRequestError: it can not be read.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise InvalidRequestError(f"{path} can not be read: {error.strerror}") from error


def _checked(stream: BinaryIO, path: Path, digest: Digest) -> Iterator[bytes]:
    """The chunks of a file; raises before the end is reached if they are not the digest's."""
    seen, size = hashlib.sha256(), 0
    for chunk in chunks_of(stream):
        seen.update(chunk)
        size += len(chunk)
        if size >= digest.size_bytes and (size, seen.hexdigest()) != (digest.size_bytes, digest.sha256):
            break
        yield chunk
    if (size, seen.hexdigest()) != (digest.size_bytes, digest.sha256):
        raise InvalidRequestError(f"{path} changed while it was read", hint="Try it again.")


def _part_bytes(size_bytes: int) -> int:
    """The least size of a part with which all fit into one upload."""
    return max(SINGLE_BYTES, -(-size_bytes // _MOST_PARTS))
