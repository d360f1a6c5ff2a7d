"""The shapes of the arrays in an `.npz`, without the arrays."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from numpy.lib import format as npy

from farm.domain.errors import InvalidSpecError

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.shapes import Shape

_SUFFIX = ".npy"


def array_shapes(path: Path) -> dict[str, Shape]:
    """The shape of every array in a file, by name.

    Raises:
        InvalidSpecError: the file is not an `.npz` of plain arrays.
    """
    found: dict[str, Shape] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as stream:
                    version = npy.read_magic(stream)
                    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                    found[name[: -len(_SUFFIX)] if name.endswith(_SUFFIX) else name] = tuple(read(stream)[0])
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidSpecError(f"not an .npz file of plain arrays: {path} ({error})") from error
    return found
