"""Programs as `torch.export.save` writes them (PyTorch 2.13), as far as they are read, made without PyTorch."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

FLOAT, LONG, BFLOAT16 = 7, 5, 13


def symbol(name: str) -> dict[str, Any]:
    return {"as_expr": {"expr_str": f"Symbol('{name}', positive=True, integer=True)", "hint": {"as_int": 2}}}


def value(dtype: int, *sizes: Any) -> dict[str, Any]:
    return {"dtype": dtype, "sizes": [size if isinstance(size, dict) else {"as_int": size} for size in sizes]}


def program() -> dict[str, Any]:
    """`scores = relu(x @ w) ` with x of Nx8 and w of 8x4, and integers that come back as they are."""
    batch = symbol("s77")
    values = {
        "p_w": value(FLOAT, 8, 4),
        "x": value(FLOAT, batch, 8),
        "ids": value(LONG, 3),
        "matmul": value(FLOAT, batch, 4),
        "relu": value(BFLOAT16, batch, 4),
    }
    nodes = [
        {"target": "torch.ops.aten.matmul.default", "metadata": {"stack_trace": "line 1 of somebody's file"}},
        {"target": "torch.ops.aten.relu.default", "metadata": {}},
    ]
    signature = {
        "input_specs": [
            {"parameter": {"arg": {"name": "p_w"}, "parameter_name": "w"}},
            {"user_input": {"arg": {"as_tensor": {"name": "x"}}}},
            {"user_input": {"arg": {"as_tensor": {"name": "ids"}}}},
        ],
        "output_specs": [
            {"user_output": {"arg": {"as_tensor": {"name": "relu"}}}},
            {"user_output": {"arg": {"as_tensor": {"name": "ids"}}}},
        ],
    }
    return {"graph_module": {"graph": {"nodes": nodes, "tensor_values": values}, "signature": signature}}


def save(path: Path, document: Any = None, *, folder: str = "", **files: bytes) -> Path:
    """Writes a program with a file of weights; names of more files have `__` for a slash."""
    name = folder or path.stem
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/archive_format", "pt2")
        archive.writestr(f"{name}/models/model.json", json.dumps(program() if document is None else document))
        archive.writestr(f"{name}/data/weights/weight_0", bytes(128))
        for place, content in files.items():
            archive.writestr(f"{name}/{place.replace('__', '/')}", content)
    return path
