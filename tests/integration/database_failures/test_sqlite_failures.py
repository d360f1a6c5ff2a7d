"""A SQLite file that is locked, full, damaged or forbidden: one clear line, and what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import DatabaseUnavailableError, FarmError
from farm.storage.schema import upgrade
from tests.factories import a_model
from tests.integration.database_failures.reports import opened, read, refused, write
from tests.rights import without_rights

if TYPE_CHECKING:
    from collections.abc import Iterator


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
