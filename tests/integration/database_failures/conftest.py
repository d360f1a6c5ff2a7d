"""A farm in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.storage.schema import upgrade
from tests.behaviours.given import given_a_farm, given_a_queued_job
from tests.integration.database_failures.reports import opened
from tests.services import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm.storage.database import SqlDatabase


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a farm with a schema and a job."""
    path = tmp_path / "farm.db"
    with opened(path) as database:
        upgrade(database)
        given_a_farm(database)
        given_a_queued_job(database)
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own, which its tests stop and kill."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres(server: PostgresServer) -> Iterator[SqlDatabase]:
    """A farm with a job."""
    with opened(server.createdb()) as database:
        upgrade(database)
        given_a_farm(database)
        given_a_queued_job(database)
        yield database
