"""How a child is confined: its limits, its private folder, and what its process tree takes of memory and disk."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from farm.domain.errors import BuildError
from farm.domain.jobs import Failure, FailureClass
from workers import guardian

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farm.settings import Settings

#: Of the host's memory, or of the container's: the rest is for the worker and the kernel.
MEMORY_SHARE = 0.9
#: TensorRT, CUDA and a model with a thousand external files stay far below.
OPEN_FILES = 8192
_MEMORY_EVERY_S = 0.2
_DISK_EVERY_S = 1.0
_KIB = 1024
_PR_SET_DUMPABLE = 4


@dataclass(frozen=True)
class Limits:
    """What a child may take.

    Attributes:
        memory_bytes: that its process tree may hold together; none for no guard.
        scratch_bytes: on disk in its folder.
        file_bytes: of one file (RLIMIT_FSIZE).
        cpu_s: of one process (RLIMIT_CPU); none for no limit.
        open_files: of one process (RLIMIT_NOFILE).
    """

    memory_bytes: int | None = None
    scratch_bytes: int = 128 << 30
    file_bytes: int = 64 << 30
    cpu_s: int | None = None
    open_files: int = OPEN_FILES

    @classmethod
    def of(cls, settings: Settings, deadline_s: float) -> Limits:
        """What the settings say, for a child that may take so long."""
        return cls(
            memory_bytes=settings.child_memory or int(MEMORY_SHARE * memory_here()),
            scratch_bytes=settings.scratch_quota,
            file_bytes=settings.child_file_size,
            # More than this it can not use before its deadline: it ends what has slipped out of every other hand.
            cpu_s=settings.child_cpu_s or max(int(deadline_s), 1) * (os.cpu_count() or 1) + 60,
        )


def guarded(command: Sequence[str], limits: Limits) -> list[str]:
    """The command that runs another one under a guardian, in the farm's own interpreter."""
    wanted = {
        "file_bytes": limits.file_bytes,
        "open_files": limits.open_files,
        **({} if limits.cpu_s is None else {"cpu_s": limits.cpu_s}),
    }
    # Isolated and without site-packages: it starts in milliseconds, and nobody's files are imported.
    return [sys.executable, "-I", "-S", str(guardian.__file__), json.dumps(wanted), *command]


def memory_here() -> int:
    """Bytes of memory that processes of this host, or of this container, may have."""
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([host, *_cgroup_limits()])


def _cgroup_limits() -> list[int]:
    """Limits of this process's control groups, of version 2 and 1, from its own up to the root."""
    found = []
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                root, name = Path("/sys/fs/cgroup"), "memory.max"
            elif "memory" in controllers.split(","):
                root, name = Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"
            else:
                continue
            group = Path(path)
            for folder in [group, *group.parents]:
                with suppress(OSError, ValueError):
                    found.append(int((root / str(folder).lstrip("/") / name).read_text()))
    return found


def memory_of_tree(pid: int, *, exact: bool = False) -> int:
    """Bytes that a process and its descendants hold and can not give back: anonymous and shared memory.

    Files that are mapped are left out, since the kernel drops their pages when it needs room.

    Args:
        pid: of the root.
        exact: share pages that several processes have among them, which is slow; otherwise each counts all.
    """
    return sum(_memory(each, exact=exact) for each in [pid, *guardian.descendants(pid)])


def _memory(pid: int, *, exact: bool) -> int:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/{'smaps_rollup' if exact else 'status'}").read_text().splitlines()
        wanted = ("Pss_Anon:", "Pss_Shmem:") if exact else ("RssAnon:", "RssShmem:")
        return _KIB * sum(int(line.split()[1]) for line in lines if line.startswith(wanted))
    return 0


def disk_of_folder(folder: Path) -> int:
    """Bytes on disk of everything in a folder; a sparse file counts what it has."""
    total = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):
                total += 512 * os.lstat(os.path.join(place, name)).st_blocks  # noqa: PTH118 - thousands of files
    return total


class Watch:
    """Looks at what a child takes, and says when it is too much.

    Args:
        pid: of the root of its process tree.
        folder: its scratch folder.
        limits: of the child.
        clock: in seconds.
    """

    def __init__(
        self, pid: int, folder: Path, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pid = pid
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._memory_due = self._disk_due = 0.0
        self.peak_memory = 0

    def look(self, phase: str) -> Failure | None:
        """The failure that ends the child now; none while it keeps within its limits."""
        now, where = self._clock(), f" in phase {phase}" if phase else ""
        if now >= self._memory_due:
            failure = self._memory_failure(phase, where)
            # After, so that a host which is slow at it is not kept busy with it.
            self._memory_due = self._clock() + _MEMORY_EVERY_S
            if failure:
                return failure
        if now >= self._disk_due:
            failure = self._disk_failure(phase, where)
            self._disk_due = self._clock() + _DISK_EVERY_S
            return failure
        return None

    def _memory_failure(self, phase: str, where: str) -> Failure | None:
        limit = self._limits.memory_bytes
        held = memory_of_tree(self._pid)
        if limit is not None and held > limit:
            # A process that has just forked seems to hold all of it twice.
            held = memory_of_tree(self._pid, exact=True) or held
        self.peak_memory = max(self.peak_memory, held)
        if limit is None or held <= limit:
            return None
        return Failure(
            FailureClass.TRANSIENT,
            "OutOfMemoryError",
            f"the child process and what it started held {size_text(held)} of memory{where};"
            f" they may have {size_text(limit)}",
            hint="Build on a host with more memory, or raise FARM_CHILD_MEMORY.",
            phase=phase,
        )

    def _disk_failure(self, phase: str, where: str) -> Failure | None:
        taken, limit = disk_of_folder(self._folder), self._limits.scratch_bytes
        if taken <= limit:
            return None
        return Failure(
            FailureClass.REFUSED,
            "ScratchQuota",
            f"the attempt took {size_text(taken)} of disk{where}; it may have {size_text(limit)}",
            hint="If it needs that much, raise FARM_SCRATCH_QUOTA on the workers.",
            phase=phase,
        )


def hide_this_process() -> None:
    """Lets no other process of this user read this one's memory and environment, nor trace it (PR_SET_DUMPABLE).

    A child runs as the same user: what its environment leaves out must not lie open in its worker's. It ends
    with the next exec, so what this process starts is not affected. Root may look all the same.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def make_private(folder: Path) -> None:
    """Makes a folder that nobody else may look into."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)


def make_read_only(folder: Path) -> None:
    """Takes the right to write away from a folder and all in it, for the owner too."""
    for place, _, files in os.walk(folder, topdown=False):
        for name in files:
            (Path(place) / name).chmod(0o444)
        Path(place).chmod(0o555)


def state_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """What changes with every change of a file, for everything in a folder.

    The time of the last change of status is the kernel's own: no call sets it back.
    """
    found: dict[str, tuple[int, ...]] = {}
    for place, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            path = Path(place) / name
            now = path.lstat()
            found[str(path)] = (now.st_ino, now.st_mode, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
    return found


def is_own_file(path: Path) -> bool:
    """Whether a child left a real file there: no link to somebody else's, no pipe that never ends."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def own_file(path: Path) -> Path:
    """The path of a file that a child left, before it is read.

    Raises:
        BuildError: it is not there, or no real file: a link would file whatever this user may read.
    """
    if not is_own_file(path):
        raise BuildError(
            f"the toolchain left no file {path.name}, or something else in its place",
            hint="The log has its last words.",
        )
    return path


def remove_folder(folder: Path) -> None:
    """Removes a folder with all in it, what was made read-only too; what can not be removed stays."""
    for place, folders, _ in os.walk(folder):
        for name in (".", *folders):
            with suppress(OSError):
                path = Path(place) / name
                if not path.is_symlink():
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def size_text(size_bytes: int) -> str:
    """A size for people."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if size_bytes >= factor:
            amount = size_bytes / factor
            return f"{amount:.0f} {unit}" if amount == int(amount) else f"{amount:.1f} {unit}"
    return f"{size_bytes} bytes"
