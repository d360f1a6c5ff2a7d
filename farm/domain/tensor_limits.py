"""How large a tensor a toolchain can run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Mapping

if TYPE_CHECKING:
    from farm.domain.estimates import Estimate
    from farm.domain.shapes import Shape
    from farm.domain.targets import ToolchainId

#: "The volume of the tensor must be less than 2^31 elements" (NvInfer.h, ITensor). TensorRT 8.6.0 builds an engine with a
#: larger one all the same and dies when it runs (UNet 1x512x512 at batch 64, on an H200); 10.0 has begun to take them.
MOST_ELEMENTS = 2**31 - 1
_FIRST_WITHOUT_LIMIT = 10
#: Inputs of fewer elements are not looked into: no layer in use makes a thousand elements of one.
_WORTH_A_LOOK = 2**20


def has_tensor_limit(toolchain: ToolchainId) -> bool:
    """Whether a toolchain runs no tensor of more than `MOST_ELEMENTS`."""
    major = toolchain.version.split(".", 1)[0]
    return toolchain.name == "tensorrt" and major.isdigit() and int(major) < _FIRST_WITHOUT_LIMIT


def may_be_too_large(shapes: Mapping[str, Shape]) -> bool:
    """Whether inputs of these shapes are large enough for an estimate of the tensors behind them to be worth its time."""
    return max((math.prod(shape) for shape in shapes.values()), default=0) >= _WORTH_A_LOOK


def why_too_large(toolchain: ToolchainId, estimate: Estimate) -> str:
    """Why a toolchain can not run a model at the estimate's shapes; empty if nothing speaks against it."""
    if not has_tensor_limit(toolchain) or estimate.largest_elements <= MOST_ELEMENTS:
        return ""
    at = ", ".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in estimate.shapes.items())
    return (
        f"{toolchain} runs no tensor of 2^31 elements or more, and {estimate.largest_tensor!r} has "
        f"{estimate.largest_elements:,} at {at}"
    )
