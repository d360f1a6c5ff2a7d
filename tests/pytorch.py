"""PyTorch for tests: where it is missing they are skipped, except where everything has to be tested."""

from __future__ import annotations

import importlib
from typing import Any

from tests.server_programs import missing


def pytorch() -> Any:
    """PyTorch with what its exporter needs; skips the test, or fails it under CI, where they are not installed."""
    try:
        importlib.import_module("onnxscript")
        return importlib.import_module("torch")
    except ModuleNotFoundError as error:
        return missing(f"no {error.name}: pip install torch==2.13.0 onnxscript")
