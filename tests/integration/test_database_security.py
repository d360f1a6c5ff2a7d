"""PostgreSQL over TLS with a password: whom the farm believes, and whom it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from farm.domain.errors import DatabaseUnavailableError
from farm.settings import read_settings
from farm.storage.database import SqlDatabase
from farm.storage.schema import check_schema, upgrade
from tests.certificates import Authority
from tests.services import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSWORD = "p@ss/w:rd?#%41"  # noqa: S105 - of a server that lives for one test


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of this fleet."""
    return Authority(tmp_path_factory.mktemp("tls"), "ours")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[PostgresServer]:
    """A PostgreSQL that speaks TLS, with the database and login `farm`, which needs its password."""
    made = PostgresServer(certificate=authority.issue("127.0.0.1"))
    try:
        made.start()
    except RuntimeError as error:
        made.close()
        if "not supported by this build" not in str(error):
            raise
        pytest.skip("this PostgreSQL was built without TLS")
    try:
        with psycopg.connect(made.url.replace("+psycopg", ""), autocommit=True) as admin:
            admin.execute(f"CREATE ROLE farm LOGIN PASSWORD '{PASSWORD}'".encode())
            admin.execute(b"CREATE DATABASE farm OWNER farm")
        rules = made.folder / "data" / "pg_hba.conf"
        rules.write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        made.restart()
        yield made
    finally:
        made.close()


def database(server: PostgresServer, folder: Path, query: str, password: str = PASSWORD) -> SqlDatabase:
    """As a URL without the password and a file with it come to."""
    file = folder / "password"
    file.write_text(password)
    url = f"postgresql+psycopg://farm@127.0.0.1:{server.port}/farm?{query}"
    environment = {"FARM_DATABASE_URL": url, "FARM_DATABASE_PASSWORD_FILE": str(file)}
    return SqlDatabase(read_settings(folder, environment).database_url)


def refused(made: SqlDatabase) -> str:
    with pytest.raises(DatabaseUnavailableError) as caught:
        check_schema(made)
    made.close()
    return caught.value.message


def test_a_farm_works_over_tls_with_the_fleets_own_authority(
    server: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    made = database(server, tmp_path, f"sslmode=verify-full&sslrootcert={authority.path}")
    upgrade(made)
    check_schema(made)
    with made.reading() as transaction:
        raw = transaction.connection.connection.driver_connection
        assert raw is not None
        assert raw.pgconn.ssl_in_use
    made.close()


def test_a_server_that_another_authority_vouches_for_is_refused(
    server: PostgresServer, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    said = refused(database(server, tmp_path, f"sslmode=verify-full&sslrootcert={other.path}"))
    assert "certificate verify failed" in said


def test_a_name_that_is_not_the_certificates_is_refused(
    server: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    made = database(server, tmp_path, f"sslmode=verify-full&sslrootcert={authority.path}")
    url = made.engine.url.set(host="localhost").render_as_string(hide_password=False)
    made.close()
    assert "does not match host name" in refused(SqlDatabase(url))


def test_a_server_that_wants_tls_is_not_spoken_to_without_it(server: PostgresServer, tmp_path: Path) -> None:
    assert "no encryption" in refused(database(server, tmp_path, "sslmode=disable"))


def test_a_wrong_password_is_refused_and_not_shown(
    server: PostgresServer, authority: Authority, tmp_path: Path
) -> None:
    made = database(server, tmp_path, "sslmode=require", password="canary-1234")  # noqa: S106 - wrong
    said = refused(made)
    assert "password authentication failed" in said
    assert "canary" not in said
