"""The artifact store in a folder: what every store does, and what a kill, a full disk and strangers do to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.domain.digests import CHUNK_BYTES, Digest, digest_of_bytes
from farm.domain.errors import CorruptArtifactError, InvalidRequestError, NotFoundError, StoreUnavailableError
from farm.storage import folder_removal
from farm.storage.artifact_folder import ArtifactFolder
from tests.behaviours.artifact_store import ArtifactStoreBehaviour
from tests.factories import a_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactFolder:
    """An empty store, beside the test's own folder."""
    store = ArtifactFolder(tmp_path_factory.mktemp("store"))
    store.create()
    return store


@pytest.fixture
def spoil(store: ArtifactFolder) -> Callable[[Digest, bytes], None]:
    """Puts other bytes in place of an artifact's."""

    def spoil(digest: Digest, data: bytes) -> None:
        path = store.path_of(digest)
        path.chmod(0o644)
        path.write_bytes(data)

    return spoil


@pytest.fixture
def later(store: ArtifactFolder) -> Callable[[], datetime]:
    """Waits until the store's clock has gone on."""

    def later() -> datetime:
        begin = moment = store.now()
        while moment <= begin:
            moment = store.now()
        return moment

    return later


class TestArtifactFolder(ArtifactStoreBehaviour):
    """`ArtifactFolder`."""


def files_of(store: ArtifactFolder) -> list[Path]:
    """Every file of a store, unfinished ones too."""
    return [path for path in store.root.rglob("*") if path.is_file()]


# Putting.


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


# A disk that is full, a store that is gone or forbidden.


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one mebibyte."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "farm-test", folder],  # noqa: S607 - wherever it is
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("no right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)  # noqa: S607
    folder.rmdir()


def test_a_full_disk_is_reported_and_nothing_is_left_of_what_did_not_fit(small_disk: Path) -> None:
    store = ArtifactFolder(small_disk / "artifacts")
    store.create()
    kept = store.put_bytes(b"engine")
    too_much = os.urandom(2 * MIB)
    with pytest.raises(StoreUnavailableError, match="no space left") as caught:
        store.put_bytes(too_much)
    assert "Free some space" in caught.value.hint
    assert files_of(store) == [store.path_of(kept)]
    assert not store.has(digest_of_bytes(too_much))
    assert store.has(store.put_bytes(os.urandom(MIB // 2))), "the space is free again"


def test_a_full_disk_at_the_destination_is_reported_and_leaves_no_part(
    store: ArtifactFolder, small_disk: Path
) -> None:
    digest = store.put_bytes(os.urandom(2 * MIB))
    with pytest.raises(StoreUnavailableError, match="no space left"):
        store.fetch(digest, small_disk / "engine.plan")
    assert list(small_disk.iterdir()) == []


PUT_BEYOND_A_LIMIT = """
import resource, sys
from pathlib import Path
from farm.domain.errors import StoreUnavailableError
from farm.storage.artifact_folder import ArtifactFolder

resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    ArtifactFolder(Path(sys.argv[1])).put_bytes(bytes(2 << 20))
except StoreUnavailableError as error:
    print(error)
"""


def test_a_file_that_may_not_grow_is_reported_and_nothing_is_left(store: ArtifactFolder) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PUT_BEYOND_A_LIMIT, str(store.root)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "File too large" in done.stdout
    assert files_of(store) == []


def test_a_store_that_is_missing_is_reported_at_every_use(tmp_path: Path) -> None:
    store = ArtifactFolder(tmp_path / "not mounted")
    (tmp_path / "engine").write_bytes(b"engine")
    uses: list[Callable[[], object]] = [
        lambda: store.put_bytes(b"engine"),
        lambda: store.put_file(tmp_path / "engine"),
        lambda: list(store.chunks(a_digest())),
        lambda: store.fetch(a_digest(), tmp_path / "fetched"),
    ]
    for use in uses:
        with pytest.raises(StoreUnavailableError, match="is missing") as caught:
            use()
        assert "FARM_STORE" in caught.value.hint
    assert not store.has(a_digest())
    assert not store.root.exists(), "nobody but `create` makes it: it may be a mount that is away"


def test_a_store_that_may_not_be_written_is_reported() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    store = ArtifactFolder(folder / "artifacts")
    store.create()
    digest = store.put_bytes(b"engine")
    with without_rights(store.root, store.root / "incoming"):
        with pytest.raises(StoreUnavailableError, match="can not be written: Permission denied"):
            store.put_bytes(b"another")
        assert b"".join(store.chunks(digest)) == b"engine", "it can still be read"
        with pytest.raises(StoreUnavailableError, match="can not be written"):
            ArtifactFolder(store.root / "deeper").create()
    shutil.rmtree(folder)


def test_a_store_whose_place_is_taken_by_a_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_bytes(b"")
    store = ArtifactFolder(tmp_path / "artifacts")
    with pytest.raises(StoreUnavailableError):
        store.create()
    with pytest.raises(StoreUnavailableError):
        store.put_bytes(b"engine")
    with pytest.raises(StoreUnavailableError):
        list(store.chunks(a_digest()))


def test_an_artifact_that_can_not_be_read_is_reported(store: ArtifactFolder, tmp_path: Path) -> None:
    path = store.path_of(a_digest())
    path.mkdir(parents=True)
    with pytest.raises(StoreUnavailableError, match="can not be read"):
        store.fetch(a_digest(), tmp_path / "engine.plan")
    assert list(tmp_path.iterdir()) == []


# Reading and fetching.


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


@contextlib.contextmanager
def without_rights(*folders: Path) -> Iterator[None]:
    """In the block the folders can not be written: root becomes somebody else, others take their own rights."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    for folder in folders:
        folder.chmod(0o555)
    try:
        yield
    finally:
        for folder in folders:
            folder.chmod(0o755)


# Removing.


def test_temporary_files_of_killed_writers_are_cleared_once_they_are_old(store: ArtifactFolder) -> None:
    kept = store.put_bytes(b"engine")
    old, young = store.root / "incoming" / "tmpold", store.root / "incoming" / "tmpyoung"
    for path in (old, young):
        path.write_bytes(b"half an eng")
    os.utime(old, (0, 0))
    moment = store.now() - timedelta(hours=1)
    looked = store.clear_leftovers(moment, dry_run=True)
    assert (looked.count, looked.size_bytes) == (1, 11)
    assert old.exists()
    assert store.clear_leftovers(moment) == looked
    assert (old.exists(), young.exists(), store.has(kept)) == (False, True, True)


def test_a_removal_that_was_killed_half_way_is_undone_by_the_next_reader(
    store: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.put_bytes(b"engine")
    with monkeypatch.context() as patch:
        patch.setattr(folder_removal, "_decide", killed)
        with pytest.raises(KeyboardInterrupt):
            store.remove(digest, store.now() + timedelta(hours=1))
    assert not store.has(digest)
    assert b"".join(store.chunks(digest)) == b"engine"


@pytest.mark.parametrize("was_wanted", [True, False])
def test_a_removal_that_was_killed_half_way_is_ended_by_the_next_collection(
    store: ArtifactFolder, monkeypatch: pytest.MonkeyPatch, was_wanted: bool
) -> None:
    digest = store.put_bytes(b"engine")
    if not was_wanted:
        os.utime(store.path_of(digest), (0, 0))
    moment = store.now() - timedelta(hours=1)
    with monkeypatch.context() as patch:
        patch.setattr(folder_removal, "_decide", killed)
        with pytest.raises(KeyboardInterrupt):
            store.remove(digest, moment)
    store.clear_leftovers(moment)
    assert store.has(digest) == was_wanted
    assert list((store.root / "incoming").iterdir()) == []


def killed(*_arguments: object) -> bool:
    """What a process does that is killed there."""
    raise KeyboardInterrupt
