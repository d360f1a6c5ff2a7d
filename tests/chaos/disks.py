"""(f) Disks that are full under the store, the scratch folder and the database; a database file that is locked."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.ordeal import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.ordeal import Stage

_DISK = "16m"
_CHUNK = bytes(4096)


def no_mounts() -> str:
    """Why nothing can be mounted here; empty if it can."""
    if os.geteuid() != 0:
        return "only root can mount a small file system"
    done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)  # noqa: S607
    return "" if done.returncode == 0 else "this machine lets nobody mount"


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few megabytes; whoever still uses it keeps it until then."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=755", "tmpfs", folder], check=True)  # noqa: S607
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607


def fill(folder: Path) -> Path:
    """Leaves no byte free; removing the file that it returns ends that."""
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
    Scenario("SQLite locked", locked, {"embedded": True}),
)
