"""Reading a model, whatever its files are: the one function for all that takes models from users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.networks import DOCUMENT

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.models import Model


def read_model(path: Path) -> Model:
    """Reads and checks a model, by the kind that its name says; what is nothing else is taken for ONNX.

    Args:
        path: a graph in ONNX, its external data beside it; a `.pt2` program; or a network's document.

    Raises:
        InvalidModelError: the file, or one that it refers to, can not be taken.
    """
    # Each reader late: `onnx` takes longer to import than most commands take to run.
    if path.name == DOCUMENT:
        from farm.storage.network_files import read_network

        return read_network(path)
    if path.suffix == ".pt2":
        from farm.storage.pt2_files import read_pt2

        return read_pt2(path)
    from farm.storage import onnx_files

    return onnx_files.read_model(path)
