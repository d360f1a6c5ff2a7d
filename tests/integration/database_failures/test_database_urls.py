"""Which URLs of databases are taken, and how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidRequestError
from farm.storage.database import SqlDatabase, hide_password
from tests.integration.database_failures.reports import opened, refused

if TYPE_CHECKING:
    from tests.services import PostgresServer


@pytest.mark.parametrize(
    "url",
    [
        "",
        "farm",
        "farm.db",
        "/tmp/farm.db",
        "sqlite://",
        "sqlite:///:memory:",
        "oracle://me:hunter2@host/farm",
        "mysql+pymysql://me:hunter2@host/farm",
        "postgresql+asyncpg://me:hunter2@host/farm",
        "postgresql+psycopg://me:hunter2@host:fifty/farm",
        "postgresql//me:hunter2@host/farm",
        "me:hunter2@host/farm",
        "postgresql+nothing://me:hun@ter:hunter2@host/farm",
        "x://me@host/farm?password=hunter2&sslmode=require",
    ],
)
def test_a_url_that_the_farm_does_not_know_is_refused(url: str) -> None:
    with refused(InvalidRequestError, "not a database URL", hint="sqlite:///path"):
        SqlDatabase(url)


def test_the_usual_names_of_postgresql_mean_the_driver_that_is_installed(server: PostgresServer) -> None:
    for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        with opened(server.url.replace("postgresql+psycopg", scheme)) as database:
            assert database.engine.dialect.driver == "psycopg"
            with database.reading() as transaction:
                transaction.now()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:hunter2@host:5432/farm", "postgresql+psycopg://me:***@host:5432/farm"),
        ("postgresql://me:hun@ter:2@host/farm", "postgresql://me:***@host/farm"),
        ("redis://:hunter2@host:6379/0", "redis://:***@host:6379/0"),
        ("postgresql://me@host:5432/farm", "postgresql://me@host:5432/farm"),
        ("postgresql:///farm?user=me&password=hunter2&x=1", "postgresql:///farm?user=me&password=***&x=1"),
        ("sqlite:////home/a:b@c/farm.db", "sqlite:////home/a:b@c/farm.db"),
        ("memory://", "memory://"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert hide_password(url) == shown
