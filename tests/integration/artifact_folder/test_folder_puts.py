"""Artifacts appear in a folder whole or not at all, whoever is killed or writes beside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from farm.domain.digests import digest_of_bytes
from farm.domain.errors import InvalidRequestError, NotFoundError
from tests.integration.artifact_folder.folders import MIB, ROOT, files_of

if TYPE_CHECKING:
    from pathlib import Path

    from farm.storage.artifact_folder import ArtifactFolder


def test_an_artifact_can_not_be_written_by_accident(store: ArtifactFolder) -> None:
    assert store.path_of(store.put_bytes(b"engine")).stat().st_mode & 0o777 == 0o444


def test_an_artifact_is_one_file_and_nothing_else_is_left(store: ArtifactFolder) -> None:
    for _ in range(3):
        digest = store.put_bytes(b"engine")
    assert files_of(store) == [store.path_of(digest)]


def test_creating_a_store_that_is_there_keeps_what_is_in_it(store: ArtifactFolder) -> None:
    digest = store.put_bytes(b"engine")
    store.create()
    assert store.has(digest)


def test_a_file_that_can_not_be_read_is_not_the_stores_fault(store: ArtifactFolder, tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(InvalidRequestError, match="can not be read"):
            store.put_file(path)
    assert files_of(store) == []


PUT_SLOWLY = """
import sys, time
from pathlib import Path
from farm.storage.artifact_folder import ArtifactFolder

def chunks():
    for number in range(1_000_000):
        yield bytes([number % 256]) * 4096
        if number == 200:
            print("writing", flush=True)

ArtifactFolder(Path(sys.argv[1]))._put(chunks())
"""


def test_a_kill_in_mid_write_leaves_nothing_under_any_digest(store: ArtifactFolder) -> None:
    kept = store.put_bytes(b"engine")
    with subprocess.Popen(
        [sys.executable, "-c", PUT_SLOWLY, str(store.root)], cwd=ROOT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    named = [path for path in files_of(store) if path.parent.name != "incoming"]
    assert named == [store.path_of(kept)]
    assert store.has(store.put_bytes(b"another"))


PUT_THE_SAME = """
import sys
from pathlib import Path
from farm.storage.artifact_folder import ArtifactFolder

store = ArtifactFolder(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    digest = store.put_bytes(f"engine {number}".encode() * 10_000)
    assert b"".join(store.chunks(digest)) == f"engine {number}".encode() * 10_000
"""


def test_sixteen_processes_that_put_the_same_bytes_leave_one_artifact(store: ArtifactFolder) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUT_THE_SAME, str(store.root)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(16)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        process.communicate(b"go\n", timeout=60)
    assert [process.returncode for process in processes] == [0] * 16
    assert sorted(path.name for path in files_of(store)) == sorted(
        digest_of_bytes(f"engine {number}".encode() * 10_000).sha256 for number in range(20)
    )


def test_a_reader_never_sees_a_part_of_what_is_being_put(store: ArtifactFolder) -> None:
    data = os.urandom(8 * MIB)
    digest = digest_of_bytes(data)
    stop = threading.Event()

    def look() -> int:
        seen = 0
        while not stop.is_set():
            with contextlib.suppress(NotFoundError):
                assert sum(map(len, store.chunks(digest))) == len(data)
                seen += 1
        return seen

    with ThreadPoolExecutor(2) as pool:
        looks = [pool.submit(look) for _ in range(2)]
        store.put_bytes(data)
        stop.set()
        assert all(look.exception() is None for look in looks)
    assert store.has(digest)
