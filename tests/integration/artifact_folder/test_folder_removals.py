"""What killed writers and removals left in a folder."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from farm.storage import folder_removal

if TYPE_CHECKING:
    from farm.storage.artifact_folder import ArtifactFolder


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
