"""Models that this host has read before: a file that has not changed is not read and hashed again.

What `git` does for its index: a file is the same while its device, inode, size, modification and change
time are. A file that changed a moment ago is never remembered, since a second change within one tick of
the file system's clock would not show.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from farm.domain.digests import Digest
from farm.domain.models import Model, ModelFile, Tensor

if TYPE_CHECKING:
    from pathlib import Path

#: Coarser than the clock of any file system that models lie on.
_SETTLED_NS = 3_000_000_000
#: Another reader of models may see other things in the same file, so its results are not mixed.
_FORMAT = 2


class ModelCache:
    """Remembers what was read, a small file per model in a folder; the folder may be removed at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, path: Path) -> Model:
        """The model in a file, read only if it or one of its external files changed.

        Raises:
            InvalidModelError: the file can not be taken.
        """
        path = path.absolute()
        known = self._remembered(path)
        if known is not None:
            return known
        # Late, since it may import onnx.
        from farm.storage.model_files import read_model

        model = read_model(path)
        self._remember(path, model)
        return model

    def _entry(self, path: Path) -> Path:
        return self._folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:32]}.json"

    def _remembered(self, path: Path) -> Model | None:
        try:
            entry = json.loads(self._entry(path).read_text())
            if entry["format"] != _FORMAT or entry["path"] != str(path):
                return None
            model = _model_from_json(entry["model"])
            return model if _stamps(path, model) == entry["stamps"] else None
        except (OSError, ValueError, KeyError, TypeError):
            # None yet, half an entry, or one of another release: read the model itself.
            return None

    def _remember(self, path: Path, model: Model) -> None:
        """Never fails: only time is lost without it."""
        with suppress(OSError):
            stamps = _stamps(path, model)
            newest = max(max(stamp[3], stamp[4]) for stamp in stamps)
            if time.time_ns() - newest < _SETTLED_NS:
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            entry = self._entry(path)
            partial = entry.with_suffix(f".{os.getpid()}.part")
            document = {
                "format": _FORMAT,
                "path": str(path),
                "stamps": stamps,
                "model": _model_as_json(model),
            }
            partial.write_text(json.dumps(document))
            partial.replace(entry)


def _stamps(path: Path, model: Model) -> list[list[int]]:
    """What would be different of a file that was changed: of the link itself, where it became one.

    Raises:
        OSError: a file is gone, or is no regular file any more.
    """
    stamps = []
    for file in model.files:
        place = path if file is model.files[0] else path.parent / file.name
        found = os.lstat(place)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{place} is no regular file")
        stamps.append(
            [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_nlink]
        )
    return stamps


def _model_as_json(model: Model) -> dict[str, Any]:
    return {
        "digest": str(model.digest),
        "files": [[file.name, str(file.digest)] for file in model.files],
        "inputs": [_tensor_as_json(tensor) for tensor in model.inputs],
        "outputs": [_tensor_as_json(tensor) for tensor in model.outputs],
        "opset": model.opset,
        "ir_version": model.ir_version,
        "producer": model.producer,
        "parameters": model.parameters,
        "operators": dict(model.operators),
        "format": model.format,
        "structure": model.structure_sha256,
    }


def _model_from_json(value: dict[str, Any]) -> Model:
    return Model(
        digest=Digest.parse(value["digest"]),
        files=tuple(ModelFile(name, Digest.parse(digest)) for name, digest in value["files"]),
        inputs=tuple(_tensor_from_json(tensor) for tensor in value["inputs"]),
        outputs=tuple(_tensor_from_json(tensor) for tensor in value["outputs"]),
        opset=value["opset"],
        ir_version=value["ir_version"],
        producer=value["producer"],
        parameters=value["parameters"],
        operators=value["operators"],
        format=value["format"],
        structure_sha256=value["structure"],
    )


def _tensor_as_json(tensor: Tensor) -> list[Any]:
    return [tensor.name, tensor.dtype, list(tensor.shape), list(tensor.symbols)]


def _tensor_from_json(value: list[Any]) -> Tensor:
    name, dtype, shape, symbols = value
    return Tensor(name, dtype, tuple(shape), tuple(symbols))
