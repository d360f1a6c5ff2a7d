"""The file of a download in progress: it outlives its process, and the next one goes on with it."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from farm.domain.digests import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm.domain.digests import Digest

#: What one request asks for.
BLOCK_BYTES = 8 << 20


class PartFile:
    """What is there of an artifact, beside the file that it will become; one process at a time has it.

    The bytes are in `.<digest>.part`. `.<digest>.blocks` says on its first line of which object they are, and on
    every other one which block was written.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._blocks = path.with_suffix(".blocks")
        self._descriptor = descriptor
        self._version = ""
        self.done: set[int] = set()

    @classmethod
    @contextmanager
    def locked(cls, destination: Path, digest: Digest) -> Iterator[tuple[PartFile, bool]]:
        """The part file beside a destination, and whether somebody else of this host had it until now.

        Raises:
            OSError: the folder can not be written.
        """
        path = destination.with_name(f".{digest.sha256[:32]}.part")
        waited = False
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waited = True
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Whoever had it may have finished, and so have given it its final name.
                if _is_same_file(descriptor, path):
                    yield cls(path, descriptor), waited
                    return
            finally:
                os.close(descriptor)

    def resume(self, version: str, size_bytes: int) -> None:
        """Takes over what is there of this version of the object; of another one nothing."""
        self._version = json.dumps([version, size_bytes, BLOCK_BYTES])
        self.done = set()
        with suppress(OSError, ValueError):
            # A line that a crash cut says nothing.
            head, *lines = self._blocks.read_text().split("\n")[:-1]
            if head == self._version and os.fstat(self._descriptor).st_size == size_bytes:
                last = -(-size_bytes // BLOCK_BYTES)
                self.done = {int(line) for line in lines if 0 <= int(line) < last}
        if not self.done:
            self.restart(size_bytes)

    def restart(self, size_bytes: int) -> None:
        """Forgets what is there."""
        self.done = set()
        os.ftruncate(self._descriptor, 0)
        os.ftruncate(self._descriptor, size_bytes)
        self._blocks.write_text(self._version + "\n")

    def write(self, block: int, data: bytes | memoryview) -> None:
        """Writes a block, and then notes it."""
        view, offset = memoryview(data), block * BLOCK_BYTES
        while view:
            count = os.pwrite(self._descriptor, view, offset)
            view, offset = view[count:], offset + count
        with self._blocks.open("a") as blocks:
            blocks.write(f"{block}\n")

    def holds(self, digest: Digest) -> bool:
        """Whether the bytes are the digest's, read once more from the file."""
        return digest_of_file(self._path) == digest

    def become(self, destination: Path) -> None:
        """Gives the file its final name."""
        os.fsync(self._descriptor)
        self._blocks.unlink(missing_ok=True)
        self._path.replace(destination)

    def remove(self) -> None:
        """Leaves nothing."""
        self._blocks.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)


def _is_same_file(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
