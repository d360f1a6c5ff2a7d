"""An artifact store in a bucket of a private S3 server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.stores import BucketUrl
from farm.storage.artifact_bucket import ArtifactBucket
from farm.storage.bucket_upload import key_of
from tests.integration.artifact_bucket.buckets import SIZE, write_large
from tests.services import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from farm.domain.digests import Digest


@pytest.fixture
def bucket(s3_server: S3Server) -> BucketUrl:
    """A store's place in a bucket of the test's own."""
    return BucketUrl(s3_server.create_bucket(), "team/artifacts")


@pytest.fixture
def store(s3_server: S3Server, bucket: BucketUrl) -> ArtifactBucket:
    """An empty store."""
    made = ArtifactBucket(bucket, s3_server.environment)
    made.create()
    return made


@pytest.fixture
def spoil(s3_server: S3Server, bucket: BucketUrl) -> Callable[[Digest, bytes], None]:
    """Puts other bytes in place of an artifact's."""

    def spoil(digest: Digest, data: bytes) -> None:
        s3_server.ask("PUT", f"{bucket.bucket}/{bucket.prefix}/{key_of(digest.sha256)}", data)

    return spoil


@pytest.fixture
def own_server() -> Iterator[S3Server]:
    """A server that a test may kill."""
    with S3Server() as server:
        yield server


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of several ranges, no two of them alike."""
    path = tmp_path / "large.engine"
    write_large(path, SIZE)
    return path
