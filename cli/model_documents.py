"""A model as a document, and as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farm.domain.models import Model, Tensor


def model_as_json(model: Model) -> dict[str, Any]:
    """A model as a document."""
    return {
        "digest": model.digest.sha256,
        "size_bytes": model.digest.size_bytes,
        "format": model.format,
        "files": [{"name": file.name, "digest": str(file.digest)} for file in model.files],
        "opset": model.opset,
        "ir_version": model.ir_version,
        "producer": model.producer,
        "parameters": model.parameters,
        "inputs": [_tensor_as_json(tensor) for tensor in model.inputs],
        "outputs": [_tensor_as_json(tensor) for tensor in model.outputs],
        "operators": dict(model.operators),
    }


def _tensor_as_json(tensor: Tensor) -> dict[str, Any]:
    return {**tensor.as_json(), "is_dynamic": tensor.is_dynamic}


def tensor_row(tensor: Tensor) -> tuple[str, str, str, str]:
    """Name, type, shape, and whether it is dynamic."""
    names = tensor.symbols or ("",) * len(tensor.shape)
    sizes = [name or "?" if size == -1 else str(size) for size, name in zip(tensor.shape, names, strict=True)]
    return tensor.name, tensor.dtype, " × ".join(sizes) or "scalar", "dynamic" if tensor.is_dynamic else ""
