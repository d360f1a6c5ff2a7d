"""`farm inspect`: what a model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option
from cli.render import show_json, show_line, show_table, size

if TYPE_CHECKING:
    from farm.domain.models import Model, Tensor


@click.command(short_help="Show a model's inputs, outputs, operators and size.")
@click.argument("model", type=click.Path(path_type=Path))
@json_option
def inspect(model: Path, as_json: bool) -> None:
    """Show MODEL's inputs, outputs, element types, dynamic dimensions, opset, parameters and operators.

    Needs no farm: nothing is stored or run.

    \b
    farm inspect resnet50.onnx
    """
    from farm.storage.onnx_files import read_model

    found = read_model(model)
    if as_json:
        show_json(model_as_json(found))
        return
    show_line(
        f"{model.name}   {found.digest.short}   {size(found.digest.size_bytes)} in {len(found.files)} file(s)"
    )
    show_line(
        f"opset {found.opset}, IR {found.ir_version}, {found.parameters:,} parameters"
        + (f", by {found.producer}" if found.producer else "")
    )
    rows = [("input", *_tensor_row(tensor)) for tensor in found.inputs]
    rows += [("output", *_tensor_row(tensor)) for tensor in found.outputs]
    show_line()
    show_table(["", "name", "type", "shape", ""], rows)
    show_line()
    show_table(["operator", "nodes>"], sorted(found.operators.items(), key=lambda item: (-item[1], item[0])))
    dynamic = [tensor for tensor in found.inputs if tensor.is_dynamic]
    if dynamic:
        show_line()
        show_line(f"Submit it with {_advice(dynamic)}")


def model_as_json(model: Model) -> dict[str, Any]:
    """A model as a document."""
    return {
        "digest": model.digest.sha256,
        "size_bytes": model.digest.size_bytes,
        "files": [{"name": file.name, "digest": str(file.digest)} for file in model.files],
        "opset": model.opset,
        "ir_version": model.ir_version,
        "producer": model.producer,
        "parameters": model.parameters,
        "inputs": [_tensor_as_json(tensor) for tensor in model.inputs],
        "outputs": [_tensor_as_json(tensor) for tensor in model.outputs],
        "operators": dict(model.operators),
    }


def _tensor_row(tensor: Tensor) -> tuple[str, str, str, str]:
    names = tensor.symbols or ("",) * len(tensor.shape)
    sizes = [name or "?" if size == -1 else str(size) for size, name in zip(tensor.shape, names, strict=True)]
    return tensor.name, tensor.dtype, " × ".join(sizes) or "scalar", "dynamic" if tensor.is_dynamic else ""


def _tensor_as_json(tensor: Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "symbols": list(tensor.symbols),
        "is_dynamic": tensor.is_dynamic,
    }


def _advice(dynamic: list[Tensor]) -> str:
    if all(tensor.shape[0] == -1 and -1 not in tensor.shape[1:] for tensor in dynamic):
        return "--batch 1,8,32 (only the batch is dynamic)."
    shapes = ",".join(f"{t.name}:{'x'.join('…' if s == -1 else str(s) for s in t.shape)}" for t in dynamic)
    return f"--min-shapes, --opt-shapes and --max-shapes {shapes}"
