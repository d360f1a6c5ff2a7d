"""(f) Disks that are full under the store, the scratch folder and the database; a database file that is locked."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg

from tests.chaos.ordeal import Scenario
from tests.server_programs import open_to_all
from tests.services import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.ordeal import Stage

_DISK = "16m"
#: A new cluster of PostgreSQL takes 60 MB, the first pieces of its log included.
_DISK_OF_POSTGRES = "192m"
_LARGEST = 1 << 30
_MAY_PANIC = 0.5
#: More than it has made in advance.
_PIECES_OF_LOG = 8
_CHUNK = bytes(4096)


def no_mounts() -> str:
    """Why nothing can be mounted here; empty if it can."""
    if os.geteuid() != 0:
        return "only root can mount a small file system"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)  # noqa: S607
    return "" if done.returncode == 0 else "this machine lets nobody mount"


@contextmanager
def small_disk(folder: Path, size: str = _DISK) -> Iterator[Path]:
    """A file system of a few megabytes; whoever still uses it keeps it until then."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", folder], check=True)  # noqa: S607
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607


@contextmanager
def postgres_on_a_small_disk() -> Iterator[PostgresServer]:
    """A PostgreSQL whose disk can be filled; it may run as somebody else, so the disk is where all may go."""
    places = (Path(tempfile.gettempdir()), Path("/tmp"))
    folder = Path(tempfile.mkdtemp(prefix="farm-disk-", dir=next(filter(open_to_all, places))))
    folder.chmod(0o755)
    try:
        with small_disk(folder, _DISK_OF_POSTGRES), PostgresServer(folder) as server:
            yield server
    finally:
        folder.rmdir()


def fill(folder: Path) -> Path:
    """Leaves no byte free; removing the file that it returns ends that."""
    assert shutil.disk_usage(folder).total < _LARGEST, f"{folder} is on a disk that others use"
    ballast = folder / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as stream:
        while True:
            stream.write(_CHUNK)
    return ballast


def full(stage: Stage) -> None:
    """The store's disk, then a worker's scratch disk, then both are full for a while."""
    fleet = stage.fleet
    scratch = stage.stack.enter_context(small_disk(stage.folder / "small-scratch"))
    fleet.worker()
    fleet.worker(scratch=scratch)
    fleet.client(stage.size, gap_s=1.0)
    fleet.wait_until_ready()
    for disks in ([fleet.settings.store], [scratch], [fleet.settings.store, scratch]):
        fleet.pause(0.3, 1.5)
        ballast = [fill(Path(str(disk))) for disk in disks]
        for _ in disks:
            fleet.fault("disk full")
        fleet.pause(1.0, 3.0)
        for file in ballast:
            file.unlink()


def full_under_postgres(stage: Stage) -> None:
    """PostgreSQL's disk is full again and again: first it refuses to write, and in the end it may give up."""
    fleet, server = stage.fleet, stage.postgres
    fleet.worker()
    fleet.worker()
    fleet.client(stage.size, gap_s=1.0)
    fleet.wait_until_ready()
    for _ in range(2 if stage.size < 10 else 4):
        fleet.pause(0.3, 1.5)
        # Before, for a full disk lets nobody new in.
        with psycopg.connect(server.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("SELECT txid_current(), pg_switch_wal()")
            ballast = fill(server.folder)
            fleet.fault("disk full")
            # Else it would go on inside of the pages that it has.
            with suppress(psycopg.errors.DiskFull):
                connection.execute("CREATE TABLE rubbish AS SELECT generate_series(1, 100000)")
                raise AssertionError("the disk is not full")
            if stage.rng.random() < _MAY_PANIC and _asks_in_vain_for_more_log(connection):
                fleet.fault("postgres panics")
        fleet.pause(2.0, 4.0)
        ballast.unlink()
        if not psutil.pid_exists(server.pid) or psutil.Process(server.pid).status() == psutil.STATUS_ZOMBIE:
            fleet.fault("postgres gave up")
            server.restart()


def _asks_in_vain_for_more_log(connection: psycopg.Connection) -> bool:
    """Has PostgreSQL begin new pieces of its write-ahead log until none can be had; whether it died of that."""
    try:
        for _ in range(_PIECES_OF_LOG):
            connection.execute("SELECT txid_current()")
            connection.execute("SELECT pg_switch_wal()")
    except psycopg.Error:
        return True
    return False


def full_everywhere(stage: Stage) -> None:
    """The one disk that holds an embedded farm's database, store and scratch folder is full again and again."""
    fleet = stage.fleet
    fleet.worker()
    fleet.client(stage.size, gap_s=1.0)
    fleet.wait_until_ready()
    for _ in range(2 if stage.size < 10 else 4):
        fleet.pause(0.3, 1.5)
        ballast = fill(fleet.settings.home)
        fleet.fault("disk full")
        fleet.pause(1.0, 3.0)
        ballast.unlink()


def locked(stage: Stage) -> None:
    """Somebody holds the lock of an embedded farm's database for longer than anybody waits for it."""
    fleet = stage.fleet
    path = fleet.settings.sqlite_path
    assert path is not None
    fleet.worker()
    fleet.client(stage.size, gap_s=0.5)
    fleet.wait_until_ready()
    for _ in range(2):
        fleet.pause(0.5, 1.5)
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            fleet.fault("lock sqlite")
            time.sleep(4 if stage.size < 10 else 60)
            connection.rollback()


SCENARIOS = (
    Scenario(
        "disk full under store and scratch",
        full,
        {"store": small_disk, "resumes": True},
        no_mounts,
        in_short=False,
    ),
    Scenario(
        "disk full under an embedded farm, its database too",
        full_everywhere,
        {"home": small_disk, "embedded": True, "resumes": True},
        no_mounts,
    ),
    Scenario(
        "disk full under PostgreSQL",
        full_under_postgres,
        {"postgres": postgres_on_a_small_disk},
        no_mounts,
    ),
    Scenario("SQLite locked", locked, {"embedded": True}),
)
