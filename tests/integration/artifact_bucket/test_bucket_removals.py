"""What is removed from a bucket, and what a writer keeps anew meanwhile."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from farm.storage.artifact_bucket import ArtifactBucket
from farm.storage.bucket_upload import key_of

if TYPE_CHECKING:
    import pytest

    from farm.domain.stores import BucketUrl
    from tests.services import S3Server


def test_a_writer_waits_for_a_removal_and_keeps_the_bytes_anew(
    s3_server: S3Server, bucket: BucketUrl, store: ArtifactBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.put_bytes(b"engine")
    moment = store.now() + timedelta(hours=1)
    writer = ArtifactBucket(bucket, s3_server.environment)
    has_touched = threading.Event()
    look = store._head  # the moment between its look and its deletion

    def look_and_be_overtaken(key: str) -> object:
        found = look(key)
        if key == key_of(digest.sha256):
            # By now the removal believes that nobody wants it.
            kept.append(pool.submit(writer.put_bytes, b"engine"))
            path = f"/{bucket.bucket}/{bucket.prefix}/touched/{digest.sha256}"
            while not any(request["path"] == path for request in s3_server.requests()):
                time.sleep(0.01)
            has_touched.set()
        return found

    kept: list[object] = []
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(store, "_head", look_and_be_overtaken)
        assert store.remove(digest, moment)
    assert has_touched.is_set()
    monkeypatch.undo()
    assert b"".join(store.chunks(digest)) == b"engine"


def test_uploads_in_parts_that_nobody_completed_are_ended_once_they_are_old(
    s3_server: S3Server, bucket: BucketUrl, store: ArtifactBucket
) -> None:
    def begin(key: str) -> str:
        answer = s3_server.ask("POST", f"{bucket.bucket}/{key}?uploads")
        upload = answer.split("<UploadId>")[1].split("<")[0]
        s3_server.ask("PUT", f"{bucket.bucket}/{key}?partNumber=1&uploadId={upload}", b"half an engine")
        return upload

    begin(f"{bucket.prefix}/aa/bb/{'a' * 64}")
    begin("of-somebody-else/file")
    # The server gives every upload the same date, in November 2010.
    assert store.clear_leftovers(datetime(2010, 1, 1, tzinfo=UTC)).count == 0
    moment = store.now()
    looked = store.clear_leftovers(moment, dry_run=True)
    assert (looked.count, looked.size_bytes, looked.note) == (1, 14, "")
    assert store.clear_leftovers(moment) == looked
    assert store.clear_leftovers(moment).count == 0
    left = s3_server.ask("GET", f"{bucket.bucket}?uploads")
    assert left.count("<Upload>") == 1
    assert "of-somebody-else" in left


def test_without_a_fixed_key_somebody_is_told_to_look_after_uploads(
    s3_server: S3Server, store: ArtifactBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_access", {"AWS_ENDPOINT_URL": s3_server.environment["AWS_ENDPOINT_URL"]})
    assert "lifecycle rule" in store.clear_leftovers(store.now()).note
