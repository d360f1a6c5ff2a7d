"""Toolchains: one module each behind one small protocol, loaded by name, in the child process only.

To add one, write a module with a function `toolchain()` that returns a `Toolchain`, and name it
here; docs/adding-a-toolchain.md walks through it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from farm.domain.errors import UnsupportedTargetError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from workers.toolchains.toolchain import Toolchain

MODULES = {
    "onnxruntime": "workers.toolchains.onnxruntime",
    "tensorrt": "workers.toolchains.tensorrt",
    "tensorrt-rtx": "workers.toolchains.tensorrt_rtx",
    "onnxruntime-cuda": "workers.toolchains.onnxruntime_cuda",
    "torch": "workers.toolchains.torch_eager",
    "torch-compile": "workers.toolchains.torch_compile",
    "torchscript": "workers.toolchains.torch_script",
    # Last: it puts a module of its own in the place of `tensorrt`.
    "torch-tensorrt": "workers.toolchains.torch_tensorrt",
}


def load_toolchain(name: str) -> Toolchain:
    """The toolchain of a name, with its libraries imported.

    Raises:
        UnsupportedTargetError: the name is unknown.
        ImportError: its libraries are not installed in this interpreter, or do not load.
    """
    if name not in MODULES:
        raise UnsupportedTargetError(f"unknown toolchain {name!r}", hint=did_you_mean(name, MODULES))
    loaded: Toolchain = importlib.import_module(MODULES[name]).toolchain()
    return loaded
