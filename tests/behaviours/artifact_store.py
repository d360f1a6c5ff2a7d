"""What every store of artifacts must do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.digests import CHUNK_BYTES, Digest, digest_of_bytes
from farm.domain.errors import CorruptArtifactError, NotFoundError
from tests.factories import a_digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from farm.services.ports import ArtifactStore

#: Several chunks and a bit more.
LONG = bytes(range(256)) * (CHUNK_BYTES // 256) * 2 + b"tail"


class ArtifactStoreBehaviour:
    """Tests of an artifact store.

    Fixtures to give:
        store: an empty one that can be written.
        spoil: `spoil(digest, data)` puts other bytes in place of an artifact's, behind the store's back.
        later: `later()` lets the store's clock go on, and tells the moment.
    """

    def test_kept_bytes_are_found_by_their_digest(self, store: ArtifactStore) -> None:
        digest = store.put_bytes(b"engine")
        assert digest == digest_of_bytes(b"engine")
        assert store.has(digest)
        assert b"".join(store.chunks(digest)) == b"engine"

    def test_a_kept_file_is_found_by_its_digest(self, store: ArtifactStore, tmp_path: Path) -> None:
        source = tmp_path / "engine.plan"
        source.write_bytes(LONG)
        digest = store.put_file(source)
        assert digest == digest_of_bytes(LONG)
        assert b"".join(store.chunks(digest)) == LONG
        assert source.read_bytes() == LONG

    def test_keeping_the_same_bytes_twice_changes_nothing(self, store: ArtifactStore) -> None:
        assert store.put_bytes(b"engine") == store.put_bytes(b"engine")
        assert b"".join(store.chunks(digest_of_bytes(b"engine"))) == b"engine"

    def test_no_bytes_are_an_artifact_too(self, store: ArtifactStore, tmp_path: Path) -> None:
        digest = store.put_bytes(b"")
        assert store.has(digest)
        store.fetch(digest, tmp_path / "empty")
        assert (tmp_path / "empty").read_bytes() == b""

    def test_nothing_is_read_whole(self, store: ArtifactStore) -> None:
        digest = store.put_bytes(LONG)
        assert max(len(chunk) for chunk in store.chunks(digest)) < len(LONG)

    def test_what_was_never_kept_is_not_there(self, store: ArtifactStore) -> None:
        assert not store.has(a_digest("never kept"))
        with pytest.raises(NotFoundError):
            b"".join(store.chunks(a_digest("never kept")))

    def test_bytes_of_another_size_are_not_the_artifact(self, store: ArtifactStore) -> None:
        digest = store.put_bytes(b"engine")
        other = Digest(digest.sha256, digest.size_bytes + 1)
        assert not store.has(other)
        with pytest.raises(CorruptArtifactError):
            b"".join(store.chunks(other))

    def test_fetching_writes_the_bytes_to_a_file(self, store: ArtifactStore, tmp_path: Path) -> None:
        digest = store.put_bytes(LONG)
        store.fetch(digest, tmp_path / "engine.plan")
        assert (tmp_path / "engine.plan").read_bytes() == LONG
        assert [path.name for path in tmp_path.iterdir()] == ["engine.plan"]

    def test_fetching_tells_how_many_bytes_are_done(self, store: ArtifactStore, tmp_path: Path) -> None:
        digest = store.put_bytes(LONG)
        told: list[int] = []
        store.fetch(digest, tmp_path / "engine.plan", told.append)
        assert told == sorted(set(told))
        assert told[-1] == len(LONG)

    def test_fetching_takes_the_place_of_an_older_file(self, store: ArtifactStore, tmp_path: Path) -> None:
        (tmp_path / "engine.plan").write_bytes(b"an older engine")
        store.fetch(store.put_bytes(b"engine"), tmp_path / "engine.plan")
        assert (tmp_path / "engine.plan").read_bytes() == b"engine"

    def test_fetching_what_is_not_there_leaves_no_file(self, store: ArtifactStore, tmp_path: Path) -> None:
        with pytest.raises(NotFoundError):
            store.fetch(a_digest("never kept"), tmp_path / "engine.plan")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("altered", [b"Engine", b"engine, and more", b"", b"eng"])
    def test_altered_bytes_are_never_handed_out(
        self, store: ArtifactStore, spoil: Callable[[Digest, bytes], None], tmp_path: Path, altered: bytes
    ) -> None:
        digest = store.put_bytes(b"engine")
        spoil(digest, altered)
        with pytest.raises(CorruptArtifactError):
            b"".join(store.chunks(digest))
        with pytest.raises(CorruptArtifactError):
            store.fetch(digest, tmp_path / "engine.plan")
        assert list(tmp_path.iterdir()) == []

    def test_a_failed_fetch_leaves_an_older_file_alone(
        self, store: ArtifactStore, spoil: Callable[[Digest, bytes], None], tmp_path: Path
    ) -> None:
        digest = store.put_bytes(b"engine")
        spoil(digest, b"Engine")
        (tmp_path / "engine.plan").write_bytes(b"an older engine")
        with pytest.raises(CorruptArtifactError):
            store.fetch(digest, tmp_path / "engine.plan")
        assert (tmp_path / "engine.plan").read_bytes() == b"an older engine"

    def test_keeping_the_bytes_again_heals_a_cut_artifact(
        self, store: ArtifactStore, spoil: Callable[[Digest, bytes], None]
    ) -> None:
        digest = store.put_bytes(b"engine")
        spoil(digest, b"eng")
        assert not store.has(digest)
        store.put_bytes(b"engine")
        assert b"".join(store.chunks(digest)) == b"engine"

    def test_touching_tells_whether_the_bytes_are_there(self, store: ArtifactStore) -> None:
        digest = store.put_bytes(b"engine")
        assert store.touch(digest)
        assert not store.touch(a_digest("never kept"))
        assert not store.touch(Digest(digest.sha256, digest.size_bytes + 1))
        assert b"".join(store.chunks(digest)) == b"engine"

    def test_the_listing_names_every_artifact_once(self, store: ArtifactStore, tmp_path: Path) -> None:
        begin = store.now()
        (tmp_path / "long").write_bytes(LONG)
        kept = {store.put_bytes(b"engine"), store.put_bytes(b""), store.put_file(tmp_path / "long")}
        store.put_bytes(b"engine")
        found = list(store.listing())
        assert {item.digest for item in found} == kept
        assert len(found) == len(kept)
        assert all(begin <= item.kept_at <= store.now() for item in found)

    def test_what_was_removed_is_gone_and_can_be_kept_again(
        self, store: ArtifactStore, later: Callable[[], datetime], tmp_path: Path
    ) -> None:
        digest = store.put_bytes(b"engine")
        assert store.remove(digest, later())
        assert not store.has(digest)
        assert list(store.listing()) == []
        with pytest.raises(NotFoundError):
            store.fetch(digest, tmp_path / "engine.plan")
        assert not store.remove(digest, later())
        assert store.put_bytes(b"engine") == digest
        assert b"".join(store.chunks(digest)) == b"engine"

    def test_what_was_kept_since_is_not_removed(
        self, store: ArtifactStore, later: Callable[[], datetime]
    ) -> None:
        moment = later()
        digest = store.put_bytes(b"engine")
        assert not store.remove(digest, moment)
        assert b"".join(store.chunks(digest)) == b"engine"

    @pytest.mark.parametrize("way", ["touched", "kept again", "kept again as a file"])
    def test_what_was_wanted_again_since_is_not_removed(
        self, store: ArtifactStore, later: Callable[[], datetime], tmp_path: Path, way: str
    ) -> None:
        digest = store.put_bytes(b"engine")
        (tmp_path / "engine.plan").write_bytes(b"engine")
        moment = later()
        again = {
            "touched": lambda: store.touch(digest),
            "kept again": lambda: store.put_bytes(b"engine"),
            "kept again as a file": lambda: store.put_file(tmp_path / "engine.plan"),
        }
        again[way]()
        assert [item.kept_at >= moment for item in store.listing()] == [True]
        assert not store.remove(digest, moment)
        assert b"".join(store.chunks(digest)) == b"engine"
        assert store.remove(digest, later())

    def test_a_store_that_nobody_was_killed_in_has_no_leftovers(
        self, store: ArtifactStore, later: Callable[[], datetime]
    ) -> None:
        digest = store.put_bytes(b"engine")
        found = store.clear_leftovers(later())
        assert (found.count, found.size_bytes) == (0, 0)
        assert store.has(digest)
