"""A disk that is full, a store that is gone or forbidden."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.domain.digests import digest_of_bytes
from farm.domain.errors import StoreUnavailableError
from farm.storage.artifact_folder import ArtifactFolder
from tests.factories import a_digest
from tests.integration.artifact_folder.folders import MIB, ROOT, files_of
from tests.rights import without_rights
from tests.small_disk import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def full_soon(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


def test_a_full_disk_is_reported_and_nothing_is_left_of_what_did_not_fit(full_soon: Path) -> None:
    store = ArtifactFolder(full_soon / "artifacts")
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
    store: ArtifactFolder, full_soon: Path
) -> None:
    digest = store.put_bytes(os.urandom(2 * MIB))
    with pytest.raises(StoreUnavailableError, match="no space left"):
        store.fetch(digest, full_soon / "engine.plan")
    assert list(full_soon.iterdir()) == []


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
