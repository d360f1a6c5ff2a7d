"""The artifact store in a folder does what every store does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.behaviours.artifact_store import ArtifactStoreBehaviour

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from farm.domain.digests import Digest
    from farm.storage.artifact_folder import ArtifactFolder


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
