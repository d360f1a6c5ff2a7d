"""The artifact store in a bucket, on a private S3 server; also when that server dies."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.domain.digests import Digest, digest_of_file
from farm.domain.errors import (
    CorruptArtifactError,
    InvalidRequestError,
    NotFoundError,
    StoreUnavailableError,
)
from farm.domain.stores import BucketUrl
from farm.storage.artifact_bucket import ArtifactBucket
from farm.storage.bucket_upload import key_of
from farm.storage.part_file import BLOCK_BYTES
from tests.behaviours.artifact_store import ArtifactStoreBehaviour
from tests.services import S3Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
#: Five ranges, the last one short.
SIZE = 4 * BLOCK_BYTES + 1234


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
def later(store: ArtifactBucket) -> Callable[[], datetime]:
    """Waits until the store's clock, which counts seconds, has gone on."""

    def later() -> datetime:
        begin = moment = store.now()
        while moment <= begin:
            time.sleep(0.05)
            moment = store.now()
        return moment

    return later


class TestArtifactBucket(ArtifactStoreBehaviour):
    """What every store does."""


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


def ranges_of(server: S3Server) -> list[str]:
    """The ranges that somebody asked the server for."""
    return [request["range"] for request in server.requests() if request["range"]]


# Uploading.


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


# Downloading.


def test_a_download_that_was_cut_off_goes_on_where_it_was(own_server: S3Server, large: Path) -> None:
    store = a_store_on(own_server)
    digest = store.put_file(large)
    destination = large.with_name("fetched")
    own_server.forget_requests()
    own_server.die_at("GET", "bytes=", 5)
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        store.fetch(digest, destination)
    assert not destination.exists()
    done = large.with_name(f".{digest.sha256[:32]}.blocks").read_text().count("\n") - 1
    # The fifth range is asked for when one of the first four was written.
    assert 1 <= done <= 4

    own_server.restart()
    store = a_store_on(own_server)
    store.put_file(large)
    own_server.forget_requests()
    told: list[int] = []
    store.fetch(digest, destination, told.append)
    assert destination.read_bytes() == large.read_bytes()
    assert len(ranges_of(own_server)) == len(told) == 5 - done
    assert all(request["if_match"] for request in own_server.requests() if request["range"])
    assert told == sorted(told)
    assert told[-1] == SIZE
    assert sorted(path.name for path in large.parent.iterdir()) == ["fetched", "large.engine"]


def test_a_killed_process_leaves_its_download_to_the_next(
    s3_server: S3Server, bucket: BucketUrl, store: ArtifactBucket, large: Path
) -> None:
    digest = store.put_file(large)
    script = """
import os, signal, sys
from pathlib import Path
from farm.bootstrap import open_store
from farm.domain.digests import Digest
from farm.settings import read_settings
def die_at_the_second(done, told=[]):
    told.append(done)
    if len(told) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
open_store(read_settings()).fetch(Digest.parse(sys.argv[1]), Path(sys.argv[2]), die_at_the_second)
"""
    environment = {**os.environ, **s3_server.environment, "FARM_STORE": str(bucket), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", script, str(digest), large.with_name("fetched")], env=environment, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert not large.with_name("fetched").exists()
    told: list[int] = []
    store.fetch(digest, large.with_name("fetched"), told.append)
    assert len(told) == 3, "two of five ranges were there"
    assert large.with_name("fetched").read_bytes() == large.read_bytes()


def test_a_download_of_another_object_does_not_go_on_with_it(
    own_server: S3Server, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = a_store_on(own_server)
    digest = store.put_file(large)
    own_server.die_at("GET", "bytes=", 5)
    with pytest.raises(StoreUnavailableError):
        store.fetch(digest, large.with_name("fetched"))
    own_server.restart()
    store = a_store_on(own_server)
    # The same bytes in parts of another size: another ETag, as after a repair by hand.
    monkeypatch.setattr("farm.storage.bucket_upload.SINGLE_BYTES", 16 * MIB)
    store.put_file(large)
    own_server.forget_requests()
    store.fetch(digest, large.with_name("fetched"))
    assert len(ranges_of(own_server)) == 5
    assert large.with_name("fetched").read_bytes() == large.read_bytes()


def test_what_a_killed_download_left_is_not_believed(store: ArtifactBucket, large: Path) -> None:
    digest = store.put_file(large)
    destination = large.with_name("fetched")
    ended = {"count": 0}

    def stop(_done: int) -> None:
        ended["count"] += 1
        if ended["count"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.fetch(digest, destination, stop)
    part = large.with_name(f".{digest.sha256[:32]}.part")
    # A power cut: the list of blocks reached the disk, their bytes did not.
    part.write_bytes(bytes(SIZE))
    store.fetch(digest, destination)
    assert destination.read_bytes() == large.read_bytes()
    assert not part.exists()


def test_two_that_fetch_the_same_to_one_place_transfer_it_once(
    store: ArtifactBucket, s3_server: S3Server, large: Path
) -> None:
    digest = store.put_file(large)
    before = len(ranges_of(s3_server))
    destination = large.with_name("fetched")
    first_has_begun, second_may_end = threading.Event(), threading.Event()

    def wait(_done: int) -> None:
        first_has_begun.set()
        second_may_end.wait(60)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(store.fetch, digest, destination, wait)
        assert first_has_begun.wait(60)
        second = pool.submit(store.fetch, digest, destination)
        # It stands at the lock by then, or will find the file there: both transfer nothing.
        time.sleep(0.2)
        second_may_end.set()
        first.result(60)
        second.result(60)
    assert destination.read_bytes() == large.read_bytes()
    assert len(ranges_of(s3_server)) - before == 5


def test_an_object_that_is_removed_during_the_download_is_missing(store: ArtifactBucket, large: Path) -> None:
    digest = store.put_file(large)
    moment = store.now() + timedelta(hours=1)

    def remove(_done: int) -> None:
        store.remove(digest, moment)

    with pytest.raises((NotFoundError, StoreUnavailableError)) as caught:
        store.fetch(digest, large.with_name("fetched"), remove)
    assert isinstance(caught.value, NotFoundError)
    assert not large.with_name("fetched").exists()


def test_altered_bytes_in_the_middle_of_many_are_found(
    store: ArtifactBucket, spoil: Callable[[Digest, bytes], None], large: Path
) -> None:
    digest = store.put_file(large)
    data = bytearray(large.read_bytes())
    data[SIZE // 2] ^= 1
    spoil(digest, bytes(data))
    with pytest.raises(CorruptArtifactError, match=digest.short):
        store.fetch(digest, large.with_name("fetched"))
    assert [path.name for path in large.parent.iterdir()] == ["large.engine"]


# Removing.


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


# What is said when something is wrong.


def test_a_bucket_that_is_not_there_is_named(s3_server: S3Server) -> None:
    store = ArtifactBucket(BucketUrl("no-such-bucket"), s3_server.environment)
    for call in (store.create, lambda: store.put_bytes(b"engine"), store.now, lambda: list(store.listing())):
        with pytest.raises(StoreUnavailableError, match="s3://no-such-bucket is missing"):
            call()


def test_a_prefix_without_a_store_is_not_made_by_accident(s3_server: S3Server, bucket: BucketUrl) -> None:
    mistyped = ArtifactBucket(BucketUrl(bucket.bucket, "artefacts"), s3_server.environment)
    with pytest.raises(StoreUnavailableError, match="artefacts is missing") as caught:
        mistyped.put_bytes(b"engine")
    assert "farm db upgrade" in caught.value.hint
    with pytest.raises(StoreUnavailableError, match="artefacts is missing"):
        list(mistyped.chunks(Digest("a" * 64, 1)))


def test_a_server_that_is_away_is_named_without_its_credentials(own_server: S3Server) -> None:
    store = a_store_on(own_server)
    own_server.stop()
    with pytest.raises(StoreUnavailableError, match="does not answer") as caught:
        store.put_bytes(b"engine")
    said = f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"
    assert "AWS_ENDPOINT_URL" in said
    assert own_server.environment["AWS_SECRET_ACCESS_KEY"] not in said
    assert own_server.environment["AWS_ACCESS_KEY_ID"] not in said


def test_a_file_with_the_credentials_will_do(s3_server: S3Server, bucket: BucketUrl, tmp_path: Path) -> None:
    environment = dict(s3_server.environment)
    key, secret = environment.pop("AWS_ACCESS_KEY_ID"), environment.pop("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    file.write_text(f"[farm]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    environment |= {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "farm"}
    store = ArtifactBucket(bucket, environment)
    store.create()
    assert store.has(store.put_bytes(b"engine"))
    with pytest.raises(InvalidRequestError, match=r"no profile \[other\]"):
        ArtifactBucket(bucket, {**environment, "AWS_PROFILE": "other"})
    file.write_text(f"{secret}\n")
    with pytest.raises(InvalidRequestError, match="can not be read") as caught:
        ArtifactBucket(bucket, environment)
    assert secret not in caught.value.message


def test_without_obstore_the_message_says_how_to_get_it(
    bucket: BucketUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("obstore", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidRequestError, match="needs the package obstore") as caught:
        ArtifactBucket(bucket, {})
    assert caught.value.hint == "pip install 'engine-farm[s3]'"


def test_a_key_that_the_store_does_not_know_is_refused_in_words(own_server: S3Server) -> None:
    store = a_store_on(own_server)
    # From here on the server asks who somebody is.
    own_server.ask("POST", "moto-api/reset-auth", b"0")
    for call in (lambda: store.put_bytes(b"engine"), store.now, lambda: list(store.listing())):
        with pytest.raises(StoreUnavailableError, match="refuses these credentials") as caught:
            call()
        said = f"{caught.value.message} {caught.value.hint}"
        assert "AWS_ACCESS_KEY_ID" in said
        assert own_server.environment["AWS_ACCESS_KEY_ID"] not in said
