"""Opening a farm: made once whoever comes first, whole or not at all, and faults that are told apart."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farm.bootstrap import Farm, make_farm, open_database, open_farm
from farm.domain.errors import (
    DatabaseUnavailableError,
    FarmError,
    InvalidRequestError,
    NotFoundError,
    SchemaVersionError,
    StoreUnavailableError,
)
from farm.settings import Settings, read_settings
from farm.storage.database import SqlDatabase
from farm.storage.schema import HEAD, current_revision
from tests.behaviours.given import given_a_farm
from tests.factories import a_digest
from tests.rights import without_rights

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An embedded farm in a folder that is not there yet."""
    return read_settings(tmp_path / "new" / "farm", {})


@contextmanager
def opened(settings: Settings, *, create: bool = True) -> Iterator[Farm]:
    """A farm whose connections are closed at the end of the block."""
    farm = open_farm(settings, create=create)
    try:
        yield farm
    finally:
        assert isinstance(farm.database, SqlDatabase)
        farm.database.close()


def test_a_new_farm_is_ready_for_work(settings: Settings) -> None:
    with opened(settings) as farm:
        given_a_farm(farm.database)
        assert farm.store.has(farm.store.put_bytes(b"engine"))
    assert sorted(path.name for path in settings.home.iterdir()) == ["artifacts", "farm.db", "signing.key"]


def test_a_farm_is_made_once_and_keeps_what_it_holds(settings: Settings) -> None:
    with opened(settings) as farm:
        given_a_farm(farm.database)
        digest = farm.store.put_bytes(b"engine")
    for create in (True, False):
        with opened(settings, create=create) as farm, farm.database.reading() as transaction:
            assert [name.name for name in transaction.models.names()] == ["resnet"]
            assert farm.store.has(digest)


def test_where_there_is_no_farm_none_is_made_unless_it_may_be(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="there is no farm in") as caught:
        open_farm(settings, create=False)
    assert "farm up" in caught.value.hint
    assert not settings.home.exists()


def test_a_database_and_a_store_in_other_places_are_made_there(tmp_path: Path) -> None:
    settings = read_settings(
        tmp_path / "home",
        {
            "FARM_DATABASE_URL": f"sqlite:///{tmp_path}/db/my.db?timeout=3",
            "FARM_STORE": str(tmp_path / "store"),
        },
    )
    with opened(settings) as farm:
        farm.store.put_bytes(b"engine")
    assert (tmp_path / "db" / "my.db").exists()
    assert [path.name for path in settings.home.iterdir()] == ["signing.key"]


# Several at once, and one that is killed.


def test_processes_that_open_a_new_folder_at_the_same_moment_all_get_the_same_farm(tmp_path: Path) -> None:
    rounds, count = 5, 4
    gate, results = SPAWN.Barrier(count), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=_open_each, args=(tmp_path, rounds, number, gate, results))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    said = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    results.close()
    assert said == ["fine"] * count
    for number in range(rounds):
        with opened(read_settings(tmp_path / str(number), {}), create=False) as farm:
            with farm.database.reading() as transaction:
                names = {name.name for name in transaction.models.names()}
            assert names == {f"model of {process}" for process in range(count)}


def _open_each(folder: Path, rounds: int, number: int, gate: Any, results: Any) -> None:
    from tests.behaviours.given import given_a_model
    from tests.factories import a_model

    try:
        for turn in range(rounds):
            gate.wait(30)
            with opened(read_settings(folder / str(turn), {})) as farm:
                given_a_model(farm.database, a_model(), f"model of {number}")
                farm.store.put_bytes(b"engine")
        results.put("fine")
    except BaseException as error:  # noqa: BLE001 - told to the test
        gate.abort()
        results.put(repr(error))


DIE_WHILE_CREATING = """
import os, signal, sys
from pathlib import Path
from alembic.operations import Operations
from farm.bootstrap import open_farm
from farm.settings import read_settings

create_table = Operations.create_table
left = [int(sys.argv[2])]

def create_a_few(self, name, *columns, **options):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    return create_table(self, name, *columns, **options)

Operations.create_table = create_a_few
open_farm(read_settings(Path(sys.argv[1]), {}))
"""


@pytest.mark.parametrize("tables", [0, 7])
def test_a_farm_whose_maker_was_killed_is_made_by_the_next_one(settings: Settings, tables: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIE_WHILE_CREATING, str(settings.home), str(tables)], cwd=ROOT, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert settings.sqlite_path is not None
    assert settings.sqlite_path.exists()
    with opened(settings) as farm:
        given_a_farm(farm.database)
        farm.store.put_bytes(b"engine")


@pytest.mark.parametrize("content", [None, b""], ids=["looked at", "touched"])
def test_a_file_without_tables_is_no_farm_yet(settings: Settings, content: bytes | None) -> None:
    if content is None:
        database = open_database(settings)
        assert current_revision(database) is None
        database.close()
    else:
        assert settings.sqlite_path is not None
        settings.home.mkdir(parents=True)
        settings.sqlite_path.write_bytes(content)
    with opened(settings) as farm:
        farm.store.put_bytes(b"engine")


# Faults.


def test_a_store_that_was_removed_under_a_database_is_a_fault_and_not_made_anew(settings: Settings) -> None:
    with opened(settings) as farm:
        digest = farm.store.put_bytes(b"engine")
    shutil.rmtree(settings.store)
    with opened(settings) as farm:
        with pytest.raises(StoreUnavailableError, match="is missing"):
            farm.store.put_bytes(b"another")
        with pytest.raises(StoreUnavailableError, match="is missing"):
            list(farm.store.chunks(digest))
        with pytest.raises(StoreUnavailableError, match="is missing"):
            farm.store.fetch(a_digest(), settings.home / "engine.plan")
    assert not settings.store.exists()


def test_a_folder_that_can_not_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for opening in (open_farm, open_database):
        with pytest.raises(DatabaseUnavailableError, match="can not be made") as caught:
            opening(read_settings(tmp_path / "file" / "farm", {}))
        assert "FARM_HOME" in caught.value.hint


def test_a_folder_that_may_not_be_written_is_reported() -> None:
    parent = Path(tempfile.mkdtemp(dir="/tmp"))
    parent.chmod(0o755)
    (parent / "there").mkdir()
    with without_rights(parent, parent / "there"):
        for home, words in (
            (parent / "new", "can not be made: Permission"),
            (parent / "there", "can not be"),
        ):
            with pytest.raises((DatabaseUnavailableError, StoreUnavailableError), match=words) as caught:
                open_farm(read_settings(home, {}))
            assert caught.value.hint
    shutil.rmtree(parent)


def test_a_store_that_can_not_be_made_leaves_a_farm_that_can_be_made_later(settings: Settings) -> None:
    settings.home.mkdir(parents=True)
    settings.store.write_bytes(b"in the way")
    with pytest.raises(StoreUnavailableError):
        open_farm(settings)
    settings.store.unlink()
    with opened(settings) as farm:
        farm.store.put_bytes(b"engine")


def test_a_database_of_something_else_is_not_written_to(settings: Settings) -> None:
    database = open_database(settings)
    with database.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE invoices (id integer)")
    with pytest.raises(SchemaVersionError):
        open_farm(settings)
    with database.engine.connect() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
    database.close()
    assert names == ["invoices"]


def test_an_older_or_newer_farm_is_not_touched(settings: Settings) -> None:
    with opened(settings):
        pass
    for version in ("0000", "9999"):
        database = open_database(settings)
        with database.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = ?", (version,))
            connection.exec_driver_sql("UPDATE schema_compatibility SET oldest = ?", (version,))
        with pytest.raises(SchemaVersionError, match=version):
            open_farm(settings)
        assert current_revision(database) == version
        database.close()


# A fleet.


def test_a_fleets_database_is_never_given_tables_by_the_way(postgres_url: str, tmp_path: Path) -> None:
    settings = read_settings(tmp_path / "home", {"FARM_DATABASE_URL": postgres_url})
    with pytest.raises(SchemaVersionError, match="has no tables") as caught:
        open_farm(settings)
    assert "farm db upgrade" in caught.value.hint
    assert make_farm(settings) == (None, HEAD)
    with opened(settings) as farm:
        given_a_farm(farm.database)
        farm.store.put_bytes(b"engine")


def test_a_fleets_store_is_never_made_by_the_way(postgres_url: str, tmp_path: Path) -> None:
    settings = read_settings(tmp_path / "home", {"FARM_DATABASE_URL": postgres_url})
    make_farm(settings)
    shutil.rmtree(settings.store)
    with opened(settings) as farm, pytest.raises(StoreUnavailableError, match="is missing"):
        farm.store.put_bytes(b"engine")
    assert not settings.store.exists()


def test_a_wrong_url_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    settings = read_settings(tmp_path / "home", {"FARM_DATABASE_URL": "mysql://me:hunter2@host/farm"})
    with pytest.raises(InvalidRequestError) as caught:
        open_farm(settings)
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_every_fault_of_opening_is_the_farms_own(settings: Settings) -> None:
    assert settings.sqlite_path is not None
    settings.home.mkdir(parents=True)
    settings.sqlite_path.write_bytes(os.urandom(10_000))
    with pytest.raises(FarmError, match="damaged or no database"):
        open_farm(settings)
