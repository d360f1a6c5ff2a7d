"""A database that is down, locked, full, damaged, forbidden or another one: one clear line, and what to do."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from farm.domain.errors import (
    DatabaseUnavailableError,
    FarmError,
    InvalidRequestError,
    SchemaVersionError,
)
from farm.storage.database import SqlDatabase, hide_password
from farm.storage.schema import check_schema, upgrade
from tests.behaviours.given import given_a_farm, given_a_queued_job
from tests.factories import a_model
from tests.services import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "hunter2:/?"  # noqa: S105
SECRET_IN_A_URL = "hunter2%3A%2F%3F"  # noqa: S105


@contextmanager
def refused(kind: type[FarmError], words: str, *, hint: str = "") -> Iterator[None]:
    """The block ends in one line of the farm's, with a hint and the driver's own error as its cause."""
    with pytest.raises(kind, match=words) as caught:
        yield
    error = caught.value
    assert type(error) is kind
    assert "\n" not in error.message
    assert hint in error.hint
    assert error.hint
    assert "sqlalche.me" not in error.message
    assert "Background on this error" not in error.message
    assert "hunter2" not in error.message + error.hint
    if kind is DatabaseUnavailableError:
        assert isinstance(error.__cause__, DBAPIError)


# SQLite.


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a farm with a schema and a job."""
    path = tmp_path / "farm.db"
    with opened(path) as database:
        upgrade(database)
        given_a_farm(database)
        given_a_queued_job(database)
    return path


@contextmanager
def opened(path: Path | str, **options: Any) -> Iterator[SqlDatabase]:
    """A database that is closed at the end of the block."""
    database = SqlDatabase(path if isinstance(path, str) else f"sqlite:///{path}", **options)
    try:
        yield database
    finally:
        database.close()


def read(database: SqlDatabase) -> int:
    """The number of jobs."""
    with database.reading() as transaction:
        return len(transaction.jobs.jobs())


def write(database: SqlDatabase) -> None:
    """One more model."""
    with database.transaction() as transaction:
        transaction.models.add(a_model("another"))


def test_a_locked_file_is_waited_for_and_then_reported(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with opened(path, busy_s=0.1) as database:
        with refused(
            DatabaseUnavailableError, "locked by another process for too long", hint="Find who holds it"
        ):
            write(database)
        assert read(database) == 1, "readers do not wait"
        holder.execute("COMMIT")
        write(database)
    holder.close()


def test_a_lock_that_is_let_go_in_time_is_no_error(path: Path) -> None:
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, holder.execute, ["COMMIT"]).start()
    with opened(path, busy_s=10) as database:
        write(database)
    holder.close()


def test_a_new_file_that_is_locked_as_a_whole_is_reported(tmp_path: Path) -> None:
    holder = sqlite3.connect(tmp_path / "farm.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("CREATE TABLE of_somebody (id)")
    with (
        opened(tmp_path / "farm.db", busy_s=0.1) as database,
        refused(DatabaseUnavailableError, "locked by another process"),
    ):
        read(database)
    holder.close()


def test_a_transaction_that_only_read_so_far_does_not_lose_to_a_writer(path: Path) -> None:
    with opened(path, busy_s=5) as database, database.reading():
        pass
    with opened(path, busy_s=5) as database:
        # The connection of the reader is used again: the next transaction must take the lock at its beginning.
        read(database)
        with database.transaction() as transaction:
            transaction.jobs.jobs()
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other = sqlite3.connect(path, isolation_level=None, timeout=0)
                try:
                    other.execute("BEGIN IMMEDIATE")
                finally:
                    other.close()
            transaction.models.add(a_model("another"))


def test_a_folder_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "missing" / "farm.db") as database,
        refused(DatabaseUnavailableError, "unable to open", hint="folder exists"),
    ):
        read(database)


def test_a_folder_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    with opened(tmp_path) as database, refused(DatabaseUnavailableError, "unable to open"):
        read(database)


def test_a_folder_that_may_not_be_written_is_reported(open_folder: Path) -> None:
    with (
        without_rights(open_folder),
        opened(open_folder / "farm.db") as database,
        refused(DatabaseUnavailableError, "can not be opened or written", hint="owner and mode"),
    ):
        write(database)


def test_a_file_that_may_not_be_written_is_reported(open_folder: Path) -> None:
    with opened(open_folder / "farm.db") as database:
        upgrade(database)
    with (
        without_rights(open_folder),
        opened(open_folder / "farm.db") as database,
        refused(DatabaseUnavailableError, "can not be opened or written", hint="owner and mode"),
    ):
        write(database)


@pytest.mark.parametrize(
    "content", [b"this is a letter to my aunt " * 100, b"SQLite format 3\0" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_reported(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "farm.db").write_bytes(content)
    with (
        opened(tmp_path / "farm.db") as database,
        refused(DatabaseUnavailableError, "damaged or no database", hint="backup"),
    ):
        read(database)
    assert (tmp_path / "farm.db").read_bytes() == content


def test_a_damaged_page_is_reported_when_it_is_read(path: Path) -> None:
    with path.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(4096)
        stream.write(b"\xa5" * (size - 4096))
    with opened(path) as database, refused(DatabaseUnavailableError, "damaged or no database", hint="backup"):
        read(database)


def test_a_file_that_was_cut_is_reported(path: Path) -> None:
    os.truncate(path, 8192)
    with opened(path) as database, refused(DatabaseUnavailableError, "damaged|can not be read"):
        read(database)


def test_a_full_disk_is_reported_and_nothing_is_half_written(path: Path) -> None:
    with opened(path) as database:
        with database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with (
            refused(DatabaseUnavailableError, "is full", hint="Free some space"),
            database.transaction() as transaction,
        ):
            transaction.models.add(a_model("another", producer="x" * 100_000))
        assert read(database) == 1
        with database.reading() as transaction:
            assert len(transaction.models.names()) == 1


# PostgreSQL.


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


# Both.


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDatabase]:
    """A database without tables."""
    name = "postgres_url" if request.param == "postgresql" else ""
    url = request.getfixturevalue(name) if name else f"sqlite:///{tmp_path / 'empty.db'}"
    with opened(url) as database:
        yield database


@pytest.mark.parametrize("use", [read, write])
def test_a_database_without_tables_is_told_to_be_upgraded(
    empty: SqlDatabase, use: Callable[[SqlDatabase], Any]
) -> None:
    with refused(SchemaVersionError, "not on this release's schema", hint="farm db upgrade"):
        use(empty)


def test_a_database_that_lacks_a_column_is_told_to_be_upgraded(empty: SqlDatabase) -> None:
    upgrade(empty)
    with empty.engine.begin() as connection:
        connection.execute(text("ALTER TABLE jobs RENAME COLUMN worker_id TO worker"))
    with refused(SchemaVersionError, "not on this release's schema", hint="farm db upgrade"):
        read(empty)


def test_a_mistake_in_a_statement_is_a_bug_and_keeps_its_name(empty: SqlDatabase) -> None:
    with pytest.raises(DBAPIError), empty.translated(), empty.engine.connect() as connection:
        connection.execute(text("SELEKT 1"))


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


def test_what_a_person_is_shown_has_no_trace_of_the_driver(path: Path) -> None:
    path.write_bytes(b"nonsense" * 1000)
    with opened(path) as database, pytest.raises(FarmError) as caught:
        read(database)
    shown = "".join(traceback.format_exception_only(caught.value))
    assert "sqlalchemy" not in shown
    assert len(shown.splitlines()) == 1


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """In the block nothing in the folder can be written: root becomes somebody else, others take their rights."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    for path in (*folder.iterdir(), folder):
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        yield
    finally:
        folder.chmod(0o755)
