"""The layers of a filed engine, wherever they are told: by its inspector, by an older row, by the graph that it is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from farm.domain.inspector_json import parse_inspector, read_inspector
from farm.domain.layers import EngineLayers

if TYPE_CHECKING:
    from farm.bootstrap import Farm
    from farm.domain.filing import Engine

_RTX = (
    "TensorRT-RTX tells of an engine's layers only where the engine is loaded, which needs a GPU: this one was built "
    "ahead of time, without."
)


def layers_of(farm: Farm, engine: Engine) -> EngineLayers:
    """What is known of an engine's layers; where nothing is, the note says why.

    Raises:
        StoreUnavailableError: the store is away.
        CorruptArtifactError: it has other bytes.
    """
    text = layer_text(farm, engine)
    if text:
        return parse_inspector(text)
    older = engine.details.get("layer_information")
    if older:
        return read_inspector(older)
    toolchain = engine.spec.target.toolchain
    if toolchain.name == "tensorrt-rtx":
        return EngineLayers(note=_RTX)
    if toolchain.name == "tensorrt":
        return EngineLayers(
            note="Nothing is filed of its layers: an earlier release built it, or its inspector said nothing "
            f"(`farm logs {engine.job_id}`). Built anew, it is asked again."
        )
    if engine.retired_at is not None:
        return EngineLayers(note="The engine is retired: its bytes are gone, and its layers were in them.")
    return _of_graph(farm, engine)


def layer_text(farm: Farm, engine: Engine) -> str:
    """What the engine's inspector said, as it is; empty if nothing is filed."""
    if engine.layer_information is None:
        return ""
    return b"".join(farm.store.chunks(engine.layer_information)).decode("utf-8", "replace")


def _of_graph(farm: Farm, engine: Engine) -> EngineLayers:
    """An ONNX Runtime engine is the optimized graph: its nodes are the layers."""
    # Late: it imports onnx.
    from farm.storage.onnx_layers import read_onnx_layers

    with farm.database.reading() as transaction:
        model = transaction.models.get(engine.spec.model_sha256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine"
        farm.store.fetch(engine.digest, path)
        graph = b"".join(farm.store.chunks(model.files[0].digest)) if model.format == "onnx" else b""
        found = read_onnx_layers(path, graph)
    return found or EngineLayers(note=f"{engine.spec.target.toolchain} tells nothing of an engine's layers.")
