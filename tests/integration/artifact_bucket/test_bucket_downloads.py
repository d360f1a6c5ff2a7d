"""Downloads from a bucket: cut off, killed, shared and altered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import CorruptArtifactError, NotFoundError, StoreUnavailableError
from tests.integration.artifact_bucket.buckets import MIB, ROOT, SIZE, a_store_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.stores import BucketUrl
    from farm.storage.artifact_bucket import ArtifactBucket
    from tests.services import S3Server


def ranges_of(server: S3Server) -> list[str]:
    """The ranges that somebody asked the server for."""
    return [request["range"] for request in server.requests() if request["range"]]


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
