"""A farm in memory whose builds are lent timing caches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.timing_caches.loans import Farm

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes import InMemoryDatabase


@pytest.fixture
def farm(tmp_path: Path, database: InMemoryDatabase) -> Farm:
    return Farm(tmp_path, database)
