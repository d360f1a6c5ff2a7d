"""Farms for the tests of the command line: one of a test's own, and one with a worker that a module shares."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec
from tests.services import PostgresServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def new_farm(tmp_path: Path) -> FarmCommand:
    """A farm that does not exist yet, in a folder of the test's own."""
    return FarmCommand(tmp_path)


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a farm that has looked at this machine and has never been given anything."""
    farm = FarmCommand(tmp_path_factory.mktemp("empty"))
    farm.run(
        "submit", models.save(models.dense(batch=1), farm.folder / "dense.onnx"), "--gpu", "cpu", "--dry-run"
    )
    return farm.home


@pytest.fixture
def farm(tmp_path: Path, empty_home: Path) -> FarmCommand:
    """A farm in a folder of the test's own; it knows this machine, and nothing was submitted to it."""
    shutil.copytree(empty_home, tmp_path / "home", symlinks=True)
    return FarmCommand(tmp_path)


@pytest.fixture(scope="module")
def busy_farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarmCommand]:
    """A farm with a worker for the CPU, shared by a module."""
    farm = FarmCommand(tmp_path_factory.mktemp("farm"))
    with farm.up():
        yield farm


@pytest.fixture(scope="session")
def filled_home(tmp_path_factory: pytest.TempPathFactory) -> FarmCommand:
    """A farm without a worker that holds `dense` in two batch sizes on the CPU; for tests that only read."""
    farm = FarmCommand(tmp_path_factory.mktemp("filled"))
    path = models.save(models.dense(), farm.folder / "dense.onnx")
    farm.run(
        "submit", path, "--spec", fast_spec(farm.folder), "--gpu", "cpu", "--batch", "1,4", "--local",
        "--tag", "team=vision",
    )  # fmt: skip
    return farm


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this test session; a test that kills it restarts it."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this test session; a test that kills it restarts it."""
    with PostgresServer() as server:
        yield server
