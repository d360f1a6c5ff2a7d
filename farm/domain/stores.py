"""Where artifacts are kept, and what is known of one without reading it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.digests import Digest

#: So long the bytes stay that nothing refers to, unless the operator says otherwise.
DEFAULT_GRACE_S = 24 * 3600.0
#: No operator may say less: a writer keeps the bytes first, and files what refers to them later.
LEAST_GRACE_S = 3600.0

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PART = re.compile(r"[A-Za-z0-9!_.'()*-]+")


@dataclass(frozen=True)
class BucketUrl:
    """A place in an S3-compatible store: `s3://bucket/prefix`.

    Attributes:
        bucket: its name.
        prefix: what every key begins with, without slashes at its ends; may be empty.
    """

    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        """The URL; it never holds credentials."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @classmethod
    def parse(cls, url: str) -> BucketUrl:
        """The inverse of `str(url)`.

        Raises:
            InvalidRequestError: not such a URL; the message does not repeat what could be a password.
        """
        found = re.fullmatch(r"s3://([^/]*)(/.*)?", url, re.DOTALL)
        if not found:
            raise InvalidRequestError(
                "the artifact store is neither a folder nor s3://bucket/prefix",
                hint="Name a folder that all hosts mount, or a bucket; FARM_STORE says which.",
            )
        bucket, prefix = found[1], (found[2] or "").strip("/")
        if "@" in bucket or "?" in url:
            raise InvalidRequestError(
                "FARM_STORE holds more than s3://bucket/prefix",
                hint="Credentials and endpoint come from AWS_ACCESS_KEY_ID and the like, or from a file.",
            )
        if not _BUCKET.fullmatch(bucket):
            raise InvalidRequestError(
                f"{bucket!r} can not be the name of a bucket",
                hint="3 to 63 lower-case letters, digits, dots and hyphens.",
            )
        parts = prefix.split("/") if prefix else []
        if not all(_PART.fullmatch(part) and part not in (".", "..") for part in parts):
            raise InvalidRequestError(
                f"{prefix!r} can not be the prefix of keys",
                hint="Letters, digits, and _ . - between slashes.",
            )
        return cls(bucket, prefix)


@dataclass(frozen=True)
class StoredArtifact:
    """What a listing of the store says of an artifact.

    Attributes:
        digest: its name and its size in the store, which is another than its own if it was cut.
        kept_at: when it was last kept or touched, by the store's own clock.
    """

    digest: Digest
    kept_at: datetime


@dataclass(frozen=True)
class Leftovers:
    """What killed writers left in a store, which nobody sees.

    Attributes:
        count: temporary files, or uploads in parts.
        size_bytes: what they take, as far as the store tells.
        note: what could not be looked at, and who has to; empty if nothing.
    """

    count: int = 0
    size_bytes: int = 0
    note: str = ""
