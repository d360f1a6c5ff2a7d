"""References that other hosts have computed: fetched from the store, and put there for others."""

from __future__ import annotations

import logging
import re
import shutil
import zipfile
from typing import TYPE_CHECKING

from farm.domain.errors import CorruptArtifactError, FarmError
from farm.domain.stored_references import StoredReference
from workers.confinement import own_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farm.bootstrap import Farm

_log = logging.getLogger(__name__)

#: Larger ones are computed again by every host: that costs less than to carry them.
LARGEST_BYTES = 256 << 20
#: What an archive holds: arrays of the first optimization profile and of further ones.
_MEMBER = re.compile(r"(inputs|outputs)(-\d{1,3})?\.npz")
#: Beside the arrays: what computed them.
NAME = "name.txt"


def fetch_reference(farm: Farm, key_sha256: str, folder: Path, prepare: Callable[[str], None]) -> bool:
    """Puts a reference that some host has filed into a folder; whether there was one.

    What can not be had is computed instead: no attempt fails by it.

    Args:
        farm: the open farm.
        key_sha256: of what the reference depends on.
        folder: where its files go to; nothing is in their place.
        prepare: told what goes on; may end the attempt.
    """
    try:
        with farm.database.reading() as transaction:
            found = transaction.references.find(key_sha256)
        if found is None:
            return False
        prepare("fetching the reference that another host computed")
        archive = folder / "reference.zip"
        farm.store.fetch(found.digest, archive)
        unpack(archive, folder)
        archive.unlink()
        (folder / NAME).write_text(found.name)
        with farm.database.transaction() as transaction:
            transaction.references.touch(key_sha256)
    except FarmError as error:
        _log.warning("a stored reference can not be had, and is computed again: %s", error.message)
        return False
    return True


def keep_reference(
    farm: Farm, key_sha256: str, model_sha256: str, folder: Path, *, with_inputs: bool
) -> None:
    """Files a reference for other hosts, unless it is large; nobody waits for it, and no attempt fails by it.

    Args:
        farm: the open farm.
        key_sha256: of what the reference depends on.
        model_sha256: of the model.
        folder: of the reference.
        with_inputs: whether its inputs were made, and are no artifact of their own.
    """
    paths = sorted(
        path
        for path in folder.iterdir()
        if _MEMBER.fullmatch(path.name) and (with_inputs or path.name != "inputs.npz")
    )
    if sum(path.lstat().st_size for path in paths) > LARGEST_BYTES:
        return
    archive = folder.with_name(f"{folder.name}.zip")
    try:
        pack([own_file(path) for path in paths], archive)
        new = StoredReference(farm.store.put_file(archive), (folder / NAME).read_text())
        with farm.database.transaction() as transaction:
            transaction.references.file(key_sha256, model_sha256, new)
    except (FarmError, OSError) as error:
        _log.warning("a reference could not be stored for other hosts: %s", error)
    finally:
        archive.unlink(missing_ok=True)


def pack(paths: list[Path], archive: Path) -> None:
    """Writes files into one, the same bytes for the same files."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in paths:
            with path.open("rb") as source, packed.open(zipfile.ZipInfo(path.name), "w") as member:
                shutil.copyfileobj(source, member)


def unpack(archive: Path, folder: Path) -> None:
    """The inverse of `pack`.

    Raises:
        CorruptArtifactError: it is none.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if not _MEMBER.fullmatch(name):
                    raise CorruptArtifactError(
                        f"a stored reference holds {name!r}, which is none of its files"
                    )
                with packed.open(name) as source, (folder / name).open("xb") as target:
                    shutil.copyfileobj(source, target)
    except zipfile.BadZipFile as error:
        raise CorruptArtifactError(f"a stored reference is no archive: {error}") from error
