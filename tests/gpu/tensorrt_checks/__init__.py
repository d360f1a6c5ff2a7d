"""The checks of `drive_tensorrt.py`.

Imported from its folder: in TensorRT's interpreter a foreign package may be called `tests`.
"""

from __future__ import annotations

from importlib import import_module

from tensorrt_checks.registry import CHECKS

__all__ = ["CHECKS"]

# In the order in which they run.
for _name in (
    "inference",
    "methods",
    "caches",
    "tensors",
    "refusals",
    "memory",
    "calibration",
    "layers",
    "layerwise",
    "kept_layers",
    "refit",
    "rebuilds",
    "comparisons",
    "options",
    "network_api",
    "profiles",
    "formats",
):
    import_module(f"tensorrt_checks.{_name}")
