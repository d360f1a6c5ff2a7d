"""One holder at a time for every device of a host."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from farm.domain.errors import DeviceUnavailableError
from farm.settings import DEFAULT_LOCKS

if TYPE_CHECKING:
    from types import TracebackType

_POLL_SECONDS = 0.05
#: What Docker and Podman leave at the root of a container.
_CONTAINER_MARKS = (".dockerenv", "run/.containerenv")


def make_lock_folder(folder: Path) -> None:
    """Makes a folder that everybody on the host may write to, unless it is there.

    Raises:
        OSError: it can not be made.
    """
    if not folder.exists():
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            folder.chmod(0o1777)  # mkdir's own mode is cut by the umask


def is_containers_own(folder: Path, root: Path = Path("/")) -> bool:
    """Whether a folder is in a container's own file system, where nobody outside sees who holds a device.

    Args:
        folder: that may not be there yet.
        root: of the file system.
    """
    if not any((root / mark).exists() for mark in _CONTAINER_MARKS):
        return False
    place = next(each for each in (folder, *folder.parents) if each.exists())
    # What is mounted is on a device of its own.
    return place.stat().st_dev == root.stat().st_dev


class DeviceLock:
    """Keeps one device for one holder among all processes and containers of a host.

    The kernel's lock on a file named after the UUID: it ends with the process, however that ends. Containers
    share it where they share the folder. The file is never removed, or two could hold two files of one name.

    Args:
        uuid: of the device.
        folder: of the lock files; the same for everybody on the host.
        purpose: what others are told that the device is used for.
        wait_seconds: how long `with` waits for the device; 0 tries once.
    """

    def __init__(
        self,
        uuid: str,
        *,
        folder: Path = DEFAULT_LOCKS,
        purpose: str = "",
        wait_seconds: float = 0.0,
    ) -> None:
        self.uuid = uuid
        self._path = folder / f"{re.sub(r'[^A-Za-z0-9.-]', '_', uuid)}.lock"
        self._purpose = purpose
        self._wait_seconds = wait_seconds
        self._file: int | None = None

    def __enter__(self) -> Self:
        """Takes the device, or waits for it as long as was said."""
        self.wait(self._wait_seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives the device back."""
        self.release()

    def check(self) -> None:
        """Whether the device could be locked here at all, by whoever is first.

        Raises:
            DeviceUnavailableError: the folder can not be used.
        """
        os.close(self._opened())

    def acquire(self) -> None:
        """Takes the device now.

        Raises:
            DeviceUnavailableError: somebody holds it, says the message who; or the folder can not be used.
        """
        if self._file is not None:
            raise RuntimeError(f"this lock on {self.uuid} is held already")
        file = self._opened()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            message = f"{self.uuid} is held by {self.holder() or 'somebody who left no name'}"
            raise DeviceUnavailableError(message, hint="Wait for it, or use another device.") from error
        self._file = file
        self._write(
            file,
            {
                "pid": os.getpid(),
                "host": platform.node(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),  # noqa: TID251 - shown to people only
                "purpose": self._purpose,
            },
        )

    def wait(self, timeout_seconds: float) -> None:
        """Takes the device as soon as it is free.

        Raises:
            DeviceUnavailableError: it was held all the time.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                return self.acquire()
            except DeviceUnavailableError:
                # flock can not wait with a limit, and an alarm would be the whole process's.
                if time.monotonic() >= deadline:
                    raise
            time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))

    def release(self) -> None:
        """Gives the device back; does nothing if it is not held."""
        if self._file is not None:
            self._write(self._file, {})
            os.close(self._file)
            self._file = None

    def fileno(self) -> int:
        """For `pass_fds`: a child that inherits it keeps the device after the death of its parent."""
        if self._file is None:
            raise RuntimeError(f"this lock on {self.uuid} is not held")
        return self._file

    def holder(self) -> str:
        """Who holds the device, in words, or held it last and was killed; empty if nobody left a name."""
        try:
            note = json.loads(self._path.read_bytes())
            purpose = f" for {note['purpose']}" if note["purpose"] else ""
            return f"process {note['pid']} on {note['host']} since {note['since']}{purpose}"
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def _opened(self) -> int:
        try:
            return self._open()
        except OSError as error:
            hint = f"Make {self._path.parent} a folder that all workers of this host can write to, or name one: FARM_LOCKS."
            raise DeviceUnavailableError(f"can not lock {self.uuid}: {error}", hint=hint) from error

    def _open(self) -> int:
        make_lock_folder(self._path.parent)
        while True:
            # Not O_CREAT alone: fs.protected_regular forbids it on another user's file in a sticky folder.
            with suppress(FileNotFoundError):
                return os.open(self._path, os.O_RDWR | os.O_NOFOLLOW)
            with suppress(FileExistsError):
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
                os.fchmod(file, 0o666)
                return file

    @staticmethod
    def _write(file: int, note: dict[str, Any]) -> None:
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps(note).encode(), 0)
