"""Small networks as users write them, and models of them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.networks import parse_tensor
from farm.storage.model_files import read_model
from farm.storage.network_files import write_network

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.models import Model

SOURCE = """
INPUTS = {"data": ("N", 3, 8, 8)}

def build(network, weights, trt):
    data = network.add_input("data", trt.float32, (-1, 3, 8, 8))
    layer = network.add_convolution_nd(data, 4, (3, 3), weights["kernel"], weights["bias"])
    layer.get_output(0).name = "scores"
    network.mark_output(layer.get_output(0))
"""


def weights_file(path: Path, **changes: Any) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "kernel": rng.normal(0, 1, (4, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(0, 1, 4).astype(np.float32),
    }
    np.savez(path, **{**arrays, **changes})
    return path


def write_document(
    folder: Path,
    source: str = SOURCE,
    function: str = "build",
    *,
    name: str = "net.py",
    weights: Path | None = None,
    inputs: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
) -> Path:
    """The document of a network whose files are in a folder of its own."""
    place = folder / f"user-{len(list(folder.glob('user-*')))}"
    place.mkdir(parents=True)
    path = place / name
    path.write_text(textwrap.dedent(source))
    staged = place / "staged"
    staged.mkdir()
    given = weights or weights_file(place / "weights.npz")
    return write_network(
        staged,
        path,
        function,
        given,
        [parse_tensor(text) for text in inputs],
        [parse_tensor(text) for text in outputs],
    )


def model_of(folder: Path, **changes: Any) -> Model:
    return read_model(write_document(folder, **changes))
