"""A PostgreSQL that is down, forbidden or of another mind: one clear line, and what to do."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text

from farm.domain.errors import DatabaseUnavailableError, FarmError
from farm.storage.schema import check_schema, upgrade
from tests.factories import a_model
from tests.integration.database_failures.reports import opened, read, refused, write

if TYPE_CHECKING:
    from farm.storage.database import SqlDatabase
    from tests.services import PostgresServer

SECRET = "hunter2:/?"  # noqa: S105
SECRET_IN_A_URL = "hunter2%3A%2F%3F"  # noqa: S105


def test_a_server_that_is_stopped_is_reported_and_used_again_when_it_is_back(
    server: PostgresServer, postgres: SqlDatabase
) -> None:
    assert read(postgres) == 1
    server.stop()
    try:
        for use in (read, write, check_schema, upgrade):
            with refused(DatabaseUnavailableError, "can not be reached", hint="farm doctor"):
                use(postgres)
    finally:
        server.restart()
    assert read(postgres) == 1
    write(postgres)


def test_a_server_that_dies_in_a_transaction_is_reported_and_nothing_is_half_written(
    server: PostgresServer, postgres: SqlDatabase
) -> None:
    with (
        refused(DatabaseUnavailableError, "can not be reached", hint="Is it up"),
        postgres.transaction() as transaction,
    ):
        transaction.models.add(a_model("another"))
        server.kill()
        server.restart()
        transaction.models.name("another", a_model("another").digest.sha256)
    with postgres.reading() as transaction:
        assert [name.name for name in transaction.models.names()] == ["resnet"]
    write(postgres)


def test_a_server_that_dies_before_the_commit_is_reported(
    server: PostgresServer, postgres: SqlDatabase
) -> None:
    with (
        refused(DatabaseUnavailableError, "can not be reached"),
        postgres.transaction() as transaction,
    ):
        transaction.models.name("other", a_model().digest.sha256)
        server.kill()
        server.restart()
    assert read(postgres) == 1


def test_an_error_of_the_callers_own_is_not_hidden_by_a_server_that_died(
    server: PostgresServer, postgres: SqlDatabase
) -> None:
    with pytest.raises(RuntimeError, match="mine"), postgres.transaction():
        server.kill()
        server.restart()
        raise RuntimeError("mine")


def test_a_port_where_nobody_listens_is_reported() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://me:{SECRET_IN_A_URL}@127.0.0.1:{taken.getsockname()[1]}/farm"
        with (
            opened(url) as database,
            refused(
                DatabaseUnavailableError, r"me:\*\*\*@127.* can not be reached: .*refused", hint="host, port"
            ),
        ):
            read(database)


def test_a_host_that_does_not_exist_is_reported() -> None:
    url = f"postgresql+psycopg://me:{SECRET_IN_A_URL}@nowhere.invalid/farm"
    with opened(url) as database, refused(DatabaseUnavailableError, "can not be reached"):
        read(database)


def test_a_database_that_does_not_exist_is_reported(server: PostgresServer) -> None:
    url = server.url.replace("postgres@", f"postgres:{SECRET_IN_A_URL}@").rpartition("/")[0] + "/missing"
    with opened(url) as database, refused(DatabaseUnavailableError, 'database "missing" does not exist'):
        read(database)


def test_a_user_without_rights_is_reported(server: PostgresServer, postgres: SqlDatabase) -> None:
    with postgres.engine.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS guest"))
        connection.execute(text("CREATE ROLE guest LOGIN"))
    with (
        opened(postgres.url.replace("//postgres@", f"//guest:{SECRET_IN_A_URL}@")) as database,
        refused(DatabaseUnavailableError, "permission denied", hint="rights"),
    ):
        read(database)


def test_a_server_that_only_reads_is_reported(postgres: SqlDatabase) -> None:
    url = f"{postgres.url}?options=-c%20default_transaction_read_only%3Don"
    with opened(url) as database:
        assert read(database) == 1
        with refused(DatabaseUnavailableError, "read-only transaction", hint="primary"):
            write(database)


def test_a_deadlock_is_reported_as_something_to_try_again(postgres: SqlDatabase) -> None:
    given = [f"resnet-{number}" for number in range(2)]
    for name in given:
        with postgres.transaction() as transaction:
            transaction.models.name(name, a_model().digest.sha256)
    gate = threading.Barrier(2)
    seen: list[BaseException] = []

    def cross(first: str, second: str) -> None:
        try:
            with postgres.translated(), postgres.engine.begin() as connection:
                connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
                for name in (first, second):
                    statement = text("SELECT * FROM model_names WHERE name = :name FOR UPDATE")
                    connection.execute(statement, {"name": name})
                    if name == first:
                        gate.wait()
        except FarmError as error:
            seen.append(error)

    threads = [threading.Thread(target=cross, args=order) for order in (given, given[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with refused(DatabaseUnavailableError, "deadlock detected", hint="Try again"):
        (error,) = seen
        raise error


def test_more_threads_than_connections_are_told_to_wait(
    postgres: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres.engine.pool, "_timeout", 0.05)
    held = [postgres.engine.connect() for _ in range(15)]
    with pytest.raises(DatabaseUnavailableError, match="every connection"):
        read(postgres)
    for connection in held:
        connection.close()
    assert read(postgres) == 1


def test_a_password_that_the_server_repeats_is_not_shown(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(server.url.replace("postgres@", f"postgres:{SECRET_IN_A_URL}@")) as database:

        def refuse(*_args: object, **_options: object) -> None:
            raise psycopg.OperationalError(f'password authentication failed for "{SECRET}"\nsecond line')

        monkeypatch.setattr(psycopg, "connect", refuse)
        monkeypatch.setattr(psycopg.Connection, "connect", refuse)
        with refused(DatabaseUnavailableError, r'failed for "\*\*\*"'):
            read(database)
