"""A database or a setting that the farm can not use: one clear line, and nothing queued."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.bad_input.good_model import GOOD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.driver import FarmCommand
    from tests.services import PostgresServer


def test_a_database_that_is_down(new_farm: FarmCommand, postgres_server: PostgresServer) -> None:
    url = postgres_server.createdb()
    store = str(new_farm.folder / "store")
    path = models.save(GOOD, new_farm.folder / "model.onnx")
    postgres_server.stop()
    try:
        for words in (("status",), ("submit", path), ("up",)):
            said = new_farm.refused(*words, code=6, FARM_DATABASE_URL=url, FARM_STORE=store)
            assert "can not be reached" in said
            assert "Is it up" in said
        doctor = new_farm.run("doctor", code=1, FARM_DATABASE_URL=url, FARM_STORE=store)
        assert "✗ database: " in doctor.out
    finally:
        postgres_server.start()


def test_a_password_is_never_shown(new_farm: FarmCommand) -> None:
    url = "postgresql+psycopg://farm:s3cret@127.0.0.1:1/farm"
    ended = new_farm.run("status", code=6, FARM_DATABASE_URL=url)
    assert "s3cret" not in ended.err + ended.out
    assert "farm:***@127.0.0.1" in ended.err


@pytest.mark.parametrize(
    ("url", "message"), [("mysql://localhost/farm", "not a database URL"), ("nonsense", "not a database URL")]
)
def test_a_database_that_the_farm_does_not_know(new_farm: FarmCommand, url: str, message: str) -> None:
    assert message in new_farm.refused("status", code=2, FARM_DATABASE_URL=url)


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FARM_LEASE_S", "soon"), ("FARM_STORE", "gs://bucket"), ("FARM_BUSY_S", "-1"), ("FARM_BROKER_URL", "redis:/x")],
)  # fmt: skip
def test_a_setting_that_means_nothing(farm: FarmCommand, variable: str, value: str) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    assert variable in farm.refused("submit", path, "--gpu", "cpu", code=2, **{variable: value})
    assert not farm.has_anything()


def test_a_locked_database(farm: FarmCommand) -> None:
    path = models.save(GOOD, farm.folder / "model.onnx")
    with _locked(farm.home / "farm.db"):
        begin = time.monotonic()
        said = farm.refused("submit", path, "--gpu", "cpu", code=6, FARM_BUSY_S="0.5")
        assert time.monotonic() - begin < 10
        assert "has been locked by another process for too long" in said
        assert "Find who holds it" in said
        assert farm.json("models", FARM_BUSY_S="0.5") == [], "reading goes on meanwhile"
    assert not farm.has_anything()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Another process that writes and does not come to an end."""
    code = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield


@pytest.mark.parametrize(
    ("revision", "message", "hint"),
    [("0000", "older than this release's", "Run `farm db upgrade`."), ("9999", "newer than this release's", "Upgrade engine-farm")],
)  # fmt: skip
def test_a_database_on_another_schema(farm: FarmCommand, revision: str, message: str, hint: str) -> None:
    with closing(sqlite3.connect(farm.home / "farm.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
        connection.execute("UPDATE schema_compatibility SET oldest = ?", [revision])
    path = models.save(GOOD, farm.folder / "model.onnx")
    for words in (("status",), ("submit", path), ("up",), ("worker",)):
        said = farm.refused(*words, code=4)
        assert message in said
        assert hint in said
    assert revision in farm.run("db", "current").out
    assert "✗ database: " in farm.run("doctor", code=1).out
    assert not farm.has_anything()


def test_a_file_that_is_no_database(farm: FarmCommand) -> None:
    (farm.home / "farm.db").write_bytes(b"this is no database, but long enough to be looked at\n" * 100)
    assert "is damaged or no database" in farm.refused("status", code=6)


def test_a_home_that_is_a_file(new_farm: FarmCommand) -> None:
    new_farm.home.write_text("a file")
    path = models.save(GOOD, new_farm.folder / "model.onnx")
    said = new_farm.refused("submit", path, code=6)
    assert "can not be made: " in said
    assert "Choose another with FARM_HOME or --home." in said
