"""An artifact store in a folder."""

from __future__ import annotations

import pytest

from farm.storage.artifact_folder import ArtifactFolder


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactFolder:
    """An empty store, beside the test's own folder."""
    store = ArtifactFolder(tmp_path_factory.mktemp("store"))
    store.create()
    return store
