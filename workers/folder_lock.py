"""One embedded worker per folder."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Self

from farm.domain.errors import FolderInUseError, StoreUnavailableError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


class FolderLock:
    """One embedded worker per folder; the kernel frees it when the process ends, however it ends."""

    def __init__(self, home: Path) -> None:
        self._path = home / "worker.lock"
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Takes the folder.

        Raises:
            FolderInUseError: another process has it.
            StoreUnavailableError: the folder can not be written.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StoreUnavailableError(
                f"the farm's folder can not be written: {self._path}: {error.strerror}",
                hint="Choose another with FARM_HOME or --home.",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            os.close(descriptor)
            raise FolderInUseError(
                f"{self._path.parent} already has a worker: {holder}",
                hint="It serves what you submit; or choose another folder with --home.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Frees the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
