"""Artifacts are verified when they are read, and fetched to a file whole or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from farm.domain.digests import CHUNK_BYTES, Digest, digest_of_bytes
from farm.domain.errors import CorruptArtifactError, StoreUnavailableError
from tests.integration.artifact_folder.folders import MIB, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from farm.storage.artifact_folder import ArtifactFolder


@pytest.mark.parametrize("place", [0, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 16])
def test_one_altered_bit_anywhere_is_found(store: ArtifactFolder, tmp_path: Path, place: int) -> None:
    data = os.urandom(3 * CHUNK_BYTES + 17)
    digest = store.put_bytes(data)
    path = store.path_of(digest)
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(bytes([data[place] ^ 1]))
    assert store.has(digest), "a look at the size does not tell"
    with pytest.raises(CorruptArtifactError, match=r"was altered.*holds") as caught:
        store.fetch(digest, tmp_path / "engine.plan")
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_has_grown_is_not_read_to_its_end(store: ArtifactFolder) -> None:
    digest = store.put_bytes(bytes(10))
    path = store.path_of(digest)
    path.chmod(0o644)
    os.truncate(path, 1 << 40)
    with pytest.raises(CorruptArtifactError, match="more than 10 bytes"):
        list(store.chunks(digest))


def test_a_fetched_file_has_the_mode_that_the_user_wants(store: ArtifactFolder, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        store.fetch(store.put_bytes(b"engine"), tmp_path / "engine.plan")
    finally:
        os.umask(before)
    assert (tmp_path / "engine.plan").stat().st_mode & 0o777 == 0o640


def test_a_name_of_the_greatest_length_can_be_fetched_to(store: ArtifactFolder, tmp_path: Path) -> None:
    store.fetch(store.put_bytes(b"engine"), tmp_path / ("n" * 255))
    assert (tmp_path / ("n" * 255)).read_bytes() == b"engine"


def test_a_destination_without_a_folder_is_reported_as_what_it_is(
    store: ArtifactFolder, tmp_path: Path
) -> None:
    digest = store.put_bytes(b"engine")
    with pytest.raises(StoreUnavailableError, match=f"there is no folder {tmp_path / 'missing'}") as caught:
        store.fetch(digest, tmp_path / "missing" / "engine.plan")
    assert "FARM_STORE" not in caught.value.hint


def test_a_destination_that_is_a_folder_is_reported_and_left_alone(
    store: ArtifactFolder, tmp_path: Path
) -> None:
    (tmp_path / "engine.plan").mkdir()
    with pytest.raises(StoreUnavailableError, match="Is a directory"):
        store.fetch(store.put_bytes(b"engine"), tmp_path / "engine.plan")
    assert [path.name for path in tmp_path.iterdir()] == ["engine.plan"]


def test_threads_that_fetch_to_one_file_leave_it_whole(store: ArtifactFolder, tmp_path: Path) -> None:
    digests = [store.put_bytes(bytes([number]) * 3 * MIB) for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda turn: store.fetch(digests[turn % 4], tmp_path / "engine.plan"), range(40)))
    assert digest_of_bytes((tmp_path / "engine.plan").read_bytes()) in digests
    assert [path.name for path in tmp_path.iterdir()] == ["engine.plan"]


FETCH = """
import sys
from pathlib import Path
from farm.domain.digests import Digest
from farm.storage.artifact_folder import ArtifactFolder

def tell(done):
    if done == 4 << 20:
        print("fetching", flush=True)
        sys.stdin.readline()

ArtifactFolder(Path(sys.argv[1])).fetch(Digest.parse(sys.argv[2]), Path(sys.argv[3]), tell)
"""


def test_a_kill_in_mid_fetch_leaves_an_older_file_alone(store: ArtifactFolder, tmp_path: Path) -> None:
    digest = store.put_bytes(os.urandom(8 * MIB))
    destination = tmp_path / "engine.plan"
    destination.write_bytes(b"an older engine")
    with subprocess.Popen(
        [sys.executable, "-c", FETCH, str(store.root), str(digest), str(destination)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert destination.read_bytes() == b"an older engine"
    store.fetch(digest, destination)
    assert digest_of_bytes(destination.read_bytes()) == digest


def test_memory_stays_small_however_large_an_artifact_is(store: ArtifactFolder, tmp_path: Path) -> None:
    source = tmp_path / "engine.plan"
    block = os.urandom(MIB)
    seen = hashlib.sha256()
    with source.open("wb") as stream:
        for _ in range(300):
            stream.write(block)
            seen.update(block)
    tracemalloc.start()
    try:
        digest = store.put_file(source)
        source.unlink()
        store.fetch(digest, source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert digest == Digest(seen.hexdigest(), 300 * MIB)
    assert peak < 8 * MIB
    source.unlink()
    store.path_of(digest).unlink()
