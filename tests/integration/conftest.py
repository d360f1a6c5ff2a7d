"""Servers and farms for integration tests: one server of each for the whole session, a fresh database for every test."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from farm.storage import tables
from farm.storage.database import SqlDatabase
from farm.storage.schema import upgrade
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test
from tests.services import PostgresServer, RedisServer, S3Server
from workers.interpreters import Interpreter, probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database that is this test's alone."""
    url = postgres_server.createdb()
    yield url
    postgres_server.dropdb(url)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server of this test session; a test that kills one has its own."""
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "farm.db"
    database = SqlDatabase(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_with_schema(postgres_server: PostgresServer) -> Iterator[SqlDatabase]:
    """A database with the schema, to be emptied before every test."""
    url = postgres_server.createdb()
    database = SqlDatabase(url)
    upgrade(database)
    yield database
    database.close()
    postgres_server.dropdb(url)


@pytest.fixture
def postgres_database(postgres_with_schema: SqlDatabase) -> SqlDatabase:
    """A database with the schema and without a row."""
    empty(postgres_with_schema)
    return postgres_with_schema


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> Iterator[SqlDatabase]:
    """A farm of this test's alone."""
    shutil.copy(sqlite_template, tmp_path / "farm.db")
    database = SqlDatabase(f"sqlite:///{tmp_path / 'farm.db'}")
    yield database
    database.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> SqlDatabase:
    """An empty database with its schema in place."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_database")  # type: ignore[no-any-return]
    return request.getfixturevalue("postgres_database")  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def own(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """This interpreter, which has ONNX Runtime."""
    return probe_interpreter(Path(sys.executable), tmp_path_factory.mktemp("probe"))


@pytest.fixture
def place(tmp_path: Path, own: Interpreter) -> Iterator[FarmOfTest]:
    """An embedded farm of one host with nothing in it, and a fake toolchain beside."""
    with farm_of_test(tmp_path, own) as made:
        yield made


def empty(database: SqlDatabase) -> None:
    """Removes every row, which is faster than to truncate tables of a few rows."""
    statements = "; ".join(f"DELETE FROM {table.name}" for table in reversed(tables.metadata.sorted_tables))  # noqa: S608
    with database.engine.begin() as connection:
        connection.execute(text(statements))
