"""What this environment can convert models with."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from farm.domain.conversion import needs_modelopt

if TYPE_CHECKING:
    from farm.domain.toolchains import ToolchainDescription

_NO_MODELOPT = "needs NVIDIA's ModelOpt in the worker's environment: pip install 'engine-farm[modelopt]' there; nearest: fp16"


def has_modelopt() -> bool:
    """Whether ModelOpt and the PyTorch that it imports are installed here."""
    return find_spec("modelopt") is not None and find_spec("torch") is not None


def with_converters(toolchain: ToolchainDescription) -> ToolchainDescription:
    """What a toolchain does on this host: without the precisions whose converter is missing here."""
    if has_modelopt():
        return toolchain
    missing = {
        precision: f"{precision} {_NO_MODELOPT}"
        for precision in toolchain.supported_precisions
        if needs_modelopt(toolchain.id, precision)
    }
    return replace(toolchain, precisions={**toolchain.precisions, **missing}) if missing else toolchain
