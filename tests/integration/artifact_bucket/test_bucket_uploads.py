"""Uploads to a bucket: invisible until complete, never twice, in little memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from farm.domain.digests import Digest, digest_of_file
from farm.domain.errors import InvalidRequestError, StoreUnavailableError
from farm.storage.artifact_bucket import ArtifactBucket
from farm.storage.bucket_upload import key_of
from tests.integration.artifact_bucket.buckets import MIB, ROOT, SIZE, a_store_on, write_large

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.stores import BucketUrl
    from tests.services import S3Server


def test_an_upload_in_parts_is_invisible_until_it_is_complete(own_server: S3Server, large: Path) -> None:
    store = a_store_on(own_server)
    own_server.die_at("PUT", "partNumber=3", 1)
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        store.put_file(large)
    own_server.restart()
    store = a_store_on(own_server)
    digest = digest_of_file(large)
    assert not store.has(digest)
    assert store.put_file(large) == digest
    assert b"".join(store.chunks(digest)) == large.read_bytes()


def test_an_upload_outlives_a_server_that_is_back_soon(own_server: S3Server, tmp_path: Path) -> None:
    store = a_store_on(own_server, patience_s=60.0)
    (tmp_path / "engine").write_bytes(b"engine")
    own_server.forget_requests()
    own_server.die_at("PUT", "/farm/", 1)
    with ThreadPoolExecutor(1) as pool:
        kept = pool.submit(store.put_file, tmp_path / "engine")
        while not any(request["method"] == "PUT" for request in own_server.requests()):
            time.sleep(0.01)
        # It loses everything, so the bucket must be there before the client can ask for it again.
        own_server.buckets = ["engines"]
        own_server.restart()
        assert kept.result(timeout=120) == digest_of_file(tmp_path / "engine")
    assert store.put_bytes(b"engine") == digest_of_file(tmp_path / "engine")


def test_a_file_that_changes_while_it_is_sent_is_not_kept(
    store: ArtifactBucket, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = digest_of_file(large)

    def change(_digest: Digest) -> bool:
        with large.open("r+b") as file:
            file.seek(SIZE - 1)
            file.write(b"!")
        return False

    monkeypatch.setattr(store, "touch", change)
    with pytest.raises(InvalidRequestError, match="changed while it was read"):
        store.put_file(large)
    assert not store.has(digest)
    assert list(store.listing()) == []


def test_bytes_that_are_there_are_not_sent_again(
    store: ArtifactBucket, s3_server: S3Server, bucket: BucketUrl, large: Path
) -> None:
    digest = store.put_file(large)
    before = len(s3_server.requests())
    assert store.put_file(large) == digest
    key = f"/{bucket.bucket}/{bucket.prefix}/{key_of(digest.sha256)}"
    assert [r["method"] for r in s3_server.requests()[before:] if r["path"] == key] == ["HEAD", "HEAD"]


def test_many_may_create_the_same_artifact_at_once(
    s3_server: S3Server, bucket: BucketUrl, store: ArtifactBucket, large: Path
) -> None:
    def create(number: int) -> set[Digest]:
        own = ArtifactBucket(bucket, s3_server.environment)
        return {own.put_bytes(b"engine"), own.put_file(large)} if number % 2 else {own.put_bytes(b"engine")}

    with ThreadPoolExecutor(8) as pool:
        digests = set().union(*pool.map(create, range(8)))
    assert len(digests) == 2
    assert {item.digest for item in store.listing()} == digests
    for digest in digests:
        assert sum(map(len, store.chunks(digest))) == digest.size_bytes
    created = f"/{bucket.bucket}/{bucket.prefix}/{key_of(hashlib.sha256(b'engine').hexdigest())}"
    puts = [r for r in s3_server.requests() if r["path"] == created and r["method"] == "PUT"]
    assert puts
    assert all(request["if_none_match"] == "*" for request in puts)


@pytest.mark.slow
def test_300_mb_go_there_and_back_in_a_few_blocks_of_memory(
    s3_server: S3Server, bucket: BucketUrl, store: ArtifactBucket, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    write_large(path, 300 * MIB)
    # In a process of its own, whose peak is its own: the interpreter with the client loaded, then both ways.
    script = """
import resource, sys
from pathlib import Path
from farm.domain.stores import BucketUrl
from farm.settings import read_settings
from farm.bootstrap import open_store
store = open_store(read_settings())
store.put_bytes(b"engine")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
digest = store.put_file(Path(sys.argv[1]))
store.fetch(digest, Path(sys.argv[2]))
print(digest.sha256, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, path, tmp_path / "back"],
        env={**os.environ, **s3_server.environment, "FARM_STORE": str(bucket), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    sha256, grown_mib = ended.stdout.split()
    assert sha256 == digest_of_file(path).sha256 == digest_of_file(tmp_path / "back").sha256
    # Four parts of 8 MiB on their way and copies of them; far from 300.
    assert int(grown_mib) < 150
