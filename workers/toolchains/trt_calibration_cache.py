"""TensorRT's calibration caches: a heading with release and calibrator, and a line per tensor with its scale."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from pathlib import Path

#: As the calibrators call themselves in a cache's heading: `TRT-8600-EntropyCalibration2` (measured with 8.6.0).
#: `LEGACY_CALIBRATION` writes none ("0 3ff0000000000000 3fefff2e48e8a71e": its quantile), so nobody could tell later of
#: which release such a cache is: it is not kept.
_NAMES = {
    "ENTROPY_CALIBRATION_2": "EntropyCalibration2",
    "MINMAX_CALIBRATION": "MinMaxCalibration",
    "ENTROPY_CALIBRATION": "EntropyCalibration",
}
_HEADING = re.compile(rb"TRT-(\d+)-(\w+)")


def version_number(version: tuple[int, ...]) -> int:
    """`NV_TENSORRT_VERSION`: 8600 for 8.6.0, 100305 for 10.3.5 (from 10 on with two digits more)."""
    major, minor, patch = (*version, 0, 0, 0)[:3]
    return major * (10000 if major >= 10 else 1000) + minor * 100 + patch


def why_not_taken(data: bytes, version: tuple[int, ...], algorithm: str) -> str:
    """Why a cache is not for this release and calibrator; empty if it is."""
    heading = data.split(b"\n", 1)[0].strip()
    found = _HEADING.fullmatch(heading)
    if found is None:
        return f"it begins with {heading[:40]!r}, so it is no calibration cache"
    if int(found[1]) != version_number(version):
        return f"it is of TensorRT {found[1].decode()}, and this is {version_number(version)}"
    name = found[2].decode()
    if name != _NAMES.get(algorithm):
        return f"it is of {name}, and {_NAMES.get(algorithm, algorithm)} is wanted"
    return "" if count_entries(data) else "it has no entries"


def count_entries(data: bytes) -> int:
    """For how many tensors a cache has a range."""
    return sum(b":" in line for line in data.splitlines()[1:])


@dataclass
class CalibrationCache:
    """What a calibrator reads before it measures anything, and writes afterwards.

    Attributes:
        version: of TensorRT.
        algorithm: a `CalibrationAlgoType` by name.
        lent: a cache that fits this release and calibrator; none if there is none.
        note: why one was put aside; empty if none was.
        out: where what was measured goes; none if nobody wants it.
        written: what was measured; none if nothing was.
        error: what went wrong in a callback, where TensorRT would lose it.
    """

    version: tuple[int, ...]
    algorithm: str
    lent: Optional[bytes] = None
    note: str = ""
    out: Optional[Path] = None
    written: Optional[bytes] = None
    error: Optional[Exception] = None

    @classmethod
    def of(
        cls, version: tuple[int, ...], algorithm: str, path: Optional[Path], out: Optional[Path]
    ) -> CalibrationCache:
        """With the cache of a file, if there is one and it fits.

        Args:
            version: of TensorRT.
            algorithm: a `CalibrationAlgoType` by name.
            path: a cache of an earlier build; none if there is none.
            out: where to write one.
        """
        if path is None:
            return cls(version, algorithm, out=out)
        try:
            data = path.read_bytes()
        except OSError as error:
            return cls(version, algorithm, note=f"it can not be read: {error.strerror}", out=out)
        note = why_not_taken(data, version, algorithm)
        return cls(version, algorithm, None if note else data, note, out)

    def __bytes__(self) -> bytes:
        """The cache that the engine was built with: what was measured, else what was lent; empty if neither."""
        return self.written or self.lent or b""

    def keep(self, cache: Any) -> None:
        """Writes what the calibrator measured; for its callback, which must not raise."""
        try:
            self.written = bytes(memoryview(cache))
            if self.out is not None and not why_not_taken(self.written, self.version, self.algorithm):
                self.out.write_bytes(self.written)
        except (OSError, TypeError) as error:
            # Only the next build's time is lost.
            self.error = error

    def facts(self, batches: int) -> dict[str, Any]:
        """For the engine's details.

        Args:
            batches: how many were fed; none where the cache was taken.
        """
        taken = self.lent is not None and batches == 0
        note = self.note or (f"it was not written: {self.error}" if self.error else "")
        found: dict[str, Any] = {"taken": taken, "entries": count_entries(bytes(self)), "batches": batches}
        return {**found, "note": note} if note else found
