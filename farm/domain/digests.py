"""Digests: sha256 and size of bytes, and of values by way of canonical JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO

from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, order=True)
class Digest:
    """The identity of a string of bytes.

    Attributes:
        sha256: 64 lower-case hexadecimal digits.
        size_bytes: how many bytes; an integral part of the digest, as in the Remote Execution API.
    """

    sha256: str
    size_bytes: int

    def __post_init__(self) -> None:
        """Refuse what can not be a digest, so that no other code has to check."""
        if len(self.sha256) != 64 or not _HEX.issuperset(self.sha256):
            raise InvalidRequestError(f"not a sha256 in lower-case hexadecimal: {self.sha256!r}")
        if self.size_bytes < 0:
            raise InvalidRequestError(f"a size can not be negative: {self.size_bytes}")

    @property
    def short(self) -> str:
        """The first twelve digits, for people."""
        return self.sha256[:12]

    def __str__(self) -> str:
        """`sha256:<hex>/<bytes>`, the form in JSON and logs."""
        return f"sha256:{self.sha256}/{self.size_bytes}"

    @classmethod
    def parse(cls, text: str) -> Digest:
        """The inverse of `str(digest)`.

        Raises:
            InvalidRequestError: the text has another form.
        """
        head, _, size = text.partition("/")
        algorithm, _, sha256 = head.partition(":")
        if algorithm != "sha256" or not size.isdecimal():
            raise InvalidRequestError(f"not a digest (sha256:<hex>/<bytes>): {text!r}")
        return cls(sha256, int(size))


def digest_of_bytes(data: bytes) -> Digest:
    """The digest of bytes in memory."""
    return Digest(hashlib.sha256(data).hexdigest(), len(data))


def digest_of_file(path: Path) -> Digest:
    """The digest of a file, read in chunks."""
    with path.open("rb") as stream:
        return digest_of_chunks(chunks_of(stream))


def digest_of_chunks(chunks: Iterator[bytes]) -> Digest:
    """The digest of a stream of chunks."""
    seen = hashlib.sha256()
    size = 0
    for chunk in chunks:
        seen.update(chunk)
        size += len(chunk)
    return Digest(seen.hexdigest(), size)


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """The rest of a stream, a mebibyte at a time: nothing is ever read whole."""
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def canonical_json(value: Any) -> bytes:
    """One byte string per value: sorted keys, sorted sets, no floats, no white space.

    Floats are refused because their text differs between writers; a spec uses an integer or a
    string instead. Sets are written as sorted lists.

    Raises:
        InvalidRequestError: the value holds a float, half a character, or something that is not JSON.
    """
    text = json.dumps(
        _canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        # What is not UTF-8 on a command line arrives as halves of surrogate pairs.
        raise InvalidRequestError(f"not valid text: {text[error.start : error.end]!r}") from error


def digest_of_json(value: Any) -> Digest:
    """The digest of a value's canonical JSON."""
    return digest_of_bytes(canonical_json(value))


def _canonical(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str, Enum)):
        # An enum member that is a str or int is written as its plain value, never by its name.
        return _canonical(value.value) if isinstance(value, Enum) else value
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise InvalidRequestError("canonical JSON wants text as keys")
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_canonical(item) for item in value), key=lambda item: (str(type(item)), item))
    raise InvalidRequestError(f"canonical JSON can not hold {type(value).__name__}: {value!r}")
