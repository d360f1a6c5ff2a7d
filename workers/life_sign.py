"""A sign that a worker's process lives, which the kernel takes away when it dies, however that is."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from farm.services.dead_workers import Death
from workers.device_lock import make_lock_folder

_log = logging.getLogger(__name__)
_OLD_S = 24 * 3600.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LifeSign:
    """A locked file named after a worker, for as long as its process lives.

    Unlike a process number it is never given to somebody else, and it holds across the containers of a host that
    share the folder. It gets its name when it is locked, and a worker that ends in order takes it away, so that a
    file without a lock is that of a dead one. Only files of the own user count: everybody may write to the folder.

    Args:
        folder: of the files, the same for all workers of the host.
        worker_id: whose.
    """

    def __init__(self, folder: Path, worker_id: str) -> None:
        self._worker_id = worker_id
        self._path = _path(folder, worker_id)
        self._file: int | None = None

    def give(self) -> Self:
        """Begins to be there. Where that is not possible, the end of a lease tells of this worker's death."""
        unnamed = self._path.with_name(f".{self._path.name}")
        try:
            make_lock_folder(self._path.parent)
            self._file = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(self._file, _content(self._worker_id), 0)
            unnamed.rename(self._path)
        except OSError as error:
            _log.warning(
                "the death of this worker would be noticed at the end of its lease only: %s. "
                "Make FARM_LOCKS a folder that it can write to",
                error,
            )
            with suppress(OSError):
                unnamed.unlink(missing_ok=True)
            self.withdraw()
        return self

    def withdraw(self) -> None:
        """Ends in order; does nothing if it was not there."""
        if self._file is not None:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._file)
            self._file = None


def dead_workers(folder: Path) -> dict[str, Death]:
    """The workers that died without a word, of those that share the folder and belong to this user."""
    found = {}
    for path in folder.glob("worker-*.life"):
        worker_id = path.name.removeprefix("worker-").removesuffix(".life")
        death = death_of(folder, worker_id)
        if death is not None:
            found[worker_id] = death
    return found


def death_of(folder: Path, worker_id: str) -> Death | None:
    """How a worker died that shares the folder; none if it lives, or nobody can say."""
    try:
        # Without waiting, should somebody have put a pipe there.
        file = os.open(_path(folder, worker_id), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # Whoever may write to the folder could put a file there, or give a dead worker's to a living one.
        if os.fstat(file).st_uid != os.geteuid():
            return None
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        boot, _, name = os.pread(file, 1000, 0).partition(b"\0")
        if name.decode(errors="replace") != worker_id:
            return None
        return Death.PROCESS if boot == _boot_id() else Death.MACHINE
    except OSError:
        # Held: it lives.
        return None
    finally:
        os.close(file)


def forget(folder: Path, worker_id: str) -> None:
    """Takes the file of a dead worker away."""
    with suppress(OSError):
        _path(folder, worker_id).unlink()


def clear_old(folder: Path) -> None:
    """Takes away the files of workers that died long ago, and that nobody has asked about."""
    for path in [*folder.glob("worker-*.life"), *folder.glob(".worker-*.life")]:
        with suppress(OSError):
            # No clock of the farm: both times are of this host's disk.
            if time.time() - path.stat().st_mtime < _OLD_S:
                continue
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(file)


def _path(folder: Path, worker_id: str) -> Path:
    return folder / f"worker-{re.sub(r'[^A-Za-z0-9.-]', '_', worker_id)}.life"


def _content(worker_id: str) -> bytes:
    return _boot_id() + b"\0" + worker_id.encode()


def _boot_id() -> bytes:
    try:
        return _BOOT_ID.read_bytes()
    except OSError:
        return b""
