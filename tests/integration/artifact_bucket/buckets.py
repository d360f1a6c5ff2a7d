"""Buckets on private S3 servers, and large files for them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from farm.domain.stores import BucketUrl
from farm.storage.artifact_bucket import ArtifactBucket
from farm.storage.part_file import BLOCK_BYTES

if TYPE_CHECKING:
    from tests.services import S3Server


ROOT = Path(__file__).parents[3]
MIB = 1 << 20
#: Five ranges, the last one short.
SIZE = 4 * BLOCK_BYTES + 1234


def write_large(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        for number in range(-(-size_bytes // MIB)):
            file.write(hashlib.sha256(str(number).encode()).digest() * (MIB // 32))
        file.truncate(size_bytes)


def a_store_on(server: S3Server, bucket: str = "engines", patience_s: float = 1.0) -> ArtifactBucket:
    """A store on a server that was just started, and so has nothing."""
    server.create_bucket(bucket)
    store = ArtifactBucket(BucketUrl(bucket, "farm"), server.environment, patience_s=patience_s)
    store.create()
    return store
