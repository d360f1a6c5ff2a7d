"""Servers for integration tests: one of each for the whole session, a fresh database for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.services import PostgresServer, RedisServer, S3Server

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
