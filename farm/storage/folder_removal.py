"""Removals from the store's folder, such that no writer who wants an artifact kept can lose it."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from farm.domain.digests import Digest
from farm.domain.stores import Leftovers, StoredArtifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What the name of an artifact that is being removed ends in, among the temporary files.
_REMOVING = ".removing"


def clock(incoming: Path) -> datetime:
    """The file system's clock, as a new file has it."""
    descriptor, name = tempfile.mkstemp(dir=incoming)
    try:
        return _time_of(os.fstat(descriptor))
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


def listing(root: Path) -> Iterator[StoredArtifact]:
    """Every artifact of a folder `root/aa/bb/<sha256>`."""
    for first in sorted(root.iterdir()):
        if not re.fullmatch("[0-9a-f]{2}", first.name):
            continue
        for second in sorted(first.iterdir()):
            for entry in os.scandir(second):
                if re.fullmatch("[0-9a-f]{64}", entry.name):
                    with suppress(FileNotFoundError):
                        status = entry.stat()
                        yield StoredArtifact(Digest(entry.name, status.st_size), _time_of(status))


def remove(place: Path, incoming: Path, kept_before: datetime) -> bool:
    """Removes an artifact that nobody kept or touched since; false if somebody did.

    The file is taken out of its place before its time is looked at: whoever touched it until then has changed
    that time, and whoever wants to touch it later finds nothing and keeps the bytes anew.
    """
    aside = incoming / f"{place.name}{_REMOVING}"
    try:
        place.rename(aside)
    except FileNotFoundError:
        return False
    return _decide(aside, place, kept_before)


def put_back(place: Path, incoming: Path) -> None:
    """Undoes a removal that was killed half-way, if there is one."""
    with suppress(OSError):
        os.link(incoming / f"{place.name}{_REMOVING}", place)


def clear_leftovers(
    incoming: Path, path_of: Callable[[Digest], Path], left_before: datetime, *, dry_run: bool
) -> Leftovers:
    """Removes temporary files of killed writers, and ends removals of a killed collection."""
    count = size_bytes = 0
    for entry in os.scandir(incoming):
        with suppress(FileNotFoundError):
            status = entry.stat()
            is_old = _time_of(status) < left_before
            if not dry_run and entry.name.endswith(_REMOVING):
                digest = Digest(entry.name.removesuffix(_REMOVING), status.st_size)
                _decide(Path(entry.path), path_of(digest), left_before)
            elif not dry_run and is_old:
                Path(entry.path).unlink()
            if is_old:
                count, size_bytes = count + 1, size_bytes + status.st_size
    return Leftovers(count, size_bytes)


def _decide(aside: Path, place: Path, kept_before: datetime) -> bool:
    if _time_of(aside.stat()) >= kept_before:
        # Somebody wants it: back to where it was, unless it has been kept anew meanwhile.
        with suppress(FileExistsError):
            os.link(aside, place)
        aside.unlink()
        return False
    aside.unlink()
    return True


def _time_of(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, UTC)
