"""One file per engine, whatever its size: an optimized model with weights beside it is packed with them.

Protobuf holds two gigabytes at most. A larger optimized model keeps its weights in a second file, and
both go uncompressed into one zip archive, which is unpacked beside itself when it is loaded.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Iterator

from farm.domain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Beyond this a model's weights go to a file of their own; well below what protobuf holds, since the
#: optimizer may add to it.
ONE_FILE_BYTES = 1 << 30
GRAPH = "model.onnx"
WEIGHTS = "weights.bin"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_CHUNK_BYTES = 1 << 22


def is_large(model_path: Path) -> bool:
    """Whether a model, with all that lies in its folder, is too large for one file."""
    return (
        sum(file.stat().st_size for file in model_path.parent.rglob("*") if file.is_file()) > ONE_FILE_BYTES
    )


def pack(files: Sequence[Path], engine_path: Path) -> None:
    """Packs files into an archive that depends on nothing but their bytes and names."""
    with zipfile.ZipFile(engine_path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            with (
                file.open("rb") as source,
                archive.open(zipfile.ZipInfo(file.name, _EPOCH), "w", force_zip64=True) as to,
            ):
                shutil.copyfileobj(source, to, _CHUNK_BYTES)


@contextmanager
def unpacked(engine_path: Path) -> Iterator[Path]:
    """The graph's file for as long as the block runs: the engine itself, or what is packed in it.

    Raises:
        BuildError: an archive that the farm did not pack.
    """
    if not zipfile.is_zipfile(engine_path):
        yield engine_path
        return
    with tempfile.TemporaryDirectory(dir=engine_path.parent) as folder:
        with zipfile.ZipFile(engine_path) as archive:
            if sorted(archive.namelist()) != sorted([GRAPH, WEIGHTS]):
                raise BuildError(f"{engine_path.name} is an archive, but none that the farm packed")
            for name in (GRAPH, WEIGHTS):
                with archive.open(name) as source, (Path(folder) / name).open("wb") as to:
                    shutil.copyfileobj(source, to, _CHUNK_BYTES)
        yield Path(folder) / GRAPH
