"""The artifact store in a bucket does what every store does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.behaviours.artifact_store import ArtifactStoreBehaviour

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from farm.storage.artifact_bucket import ArtifactBucket


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
