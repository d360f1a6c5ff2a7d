"""An `.npz` whose bytes follow from its arrays alone, written in pieces."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from farm.domain.shapes import Shape

#: The earliest moment that a ZIP file can name: when it was really written must not show.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_READABLE = 0o644 << 16
_CHUNK_BYTES = 1 << 20
#: Numpy aligns the data of an `.npy` to so many bytes.
_ALIGNMENT = 64
#: ZIP entries beyond this need longer fields, which have to be announced.
_LONG_BYTES = (1 << 31) - 1


@dataclass
class Collected:
    """The samples of one input, on disk.

    Attributes:
        dtype: numpy's name of the element type.
        shape: of one sample.
        count: how many there are.
    """

    dtype: str
    shape: Shape
    count: int = 0
    _file: IO[bytes] = field(default_factory=TemporaryFile)

    @property
    def sample_bytes(self) -> int:
        """The size of one sample."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))

    def add(self, sample: NDArray[Any]) -> None:
        """Appends one."""
        self._file.write(np.ascontiguousarray(sample, dtype=np.dtype(self.dtype)).tobytes())
        self.count += 1

    def write(self, stream: IO[bytes], count: int) -> None:
        """Writes the first of them as an `.npy`."""
        stream.write(_header(self.dtype, (count, *self.shape)))
        left = count * self.sample_bytes
        self._file.seek(0)
        while left:
            chunk = self._file.read(min(left, _CHUNK_BYTES))
            stream.write(chunk)
            left -= len(chunk)

    def close(self) -> None:
        """Gives the disk back."""
        self._file.close()


def write_archive(path: Path, arrays: Mapping[str, Collected], count: int) -> None:
    """Writes an `.npz` with the first samples of some inputs, in the order of their names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, collected in sorted(arrays.items()):
            entry = zipfile.ZipInfo(f"{name}.npy", _MOMENT)
            entry.create_system, entry.external_attr = _UNIX, _READABLE
            is_long = count * collected.sample_bytes > _LONG_BYTES
            with archive.open(entry, "w", force_zip64=is_long) as stream:
                collected.write(stream, count)


def _header(dtype: str, shape: Shape) -> bytes:
    """Of an `.npy`, version 1.0. Written here, since how numpy pads it has changed between its releases."""
    sizes = "".join(f"{size}, " for size in shape).rstrip() if len(shape) == 1 else ", ".join(map(str, shape))
    text = f"{{'descr': {np.dtype(dtype).str!r}, 'fortran_order': False, 'shape': ({sizes}), }}"
    begin = b"\x93NUMPY\x01\x00"
    padding = -(len(begin) + 2 + len(text) + 1) % _ALIGNMENT
    body = f"{text}{' ' * padding}\n".encode("latin1")
    return begin + len(body).to_bytes(2, "little") + body
