"""What most unit tests of services and workers start from."""

from __future__ import annotations

import pytest

from tests.behaviours.given import given_a_farm
from tests.fakes import InMemoryDatabase


@pytest.fixture
def database() -> InMemoryDatabase:
    """A farm in memory: a model, and one live worker `w-1`, which is idle."""
    made = InMemoryDatabase()
    given_a_farm(made)
    return made
