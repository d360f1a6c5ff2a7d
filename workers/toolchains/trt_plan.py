"""Serialized plans: what their first bytes say before anyone tries to load them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

#: A plan's first four bytes: TensorRT, TensorRT-RTX (NVIDIA's samples; seven RTX plans read).
TENSORRT_MAGIC = b"ftrt"
RTX_MAGIC = b"vtrt"
_PRODUCTS = {TENSORRT_MAGIC: "TensorRT", RTX_MAGIC: "TensorRT-RTX"}
_HEADER_BYTES = 28
#: From this version on a plan tells which one built it; before, only that it is a plan.
_FIRST_WITH_VERSION = (8, 6)


@dataclass(frozen=True)
class PlanHeader:
    """What a plan says of itself.

    Attributes:
        product: `TensorRT` or `TensorRT-RTX`.
        version: major, minor, patch and build number of what built it; empty where plans of that
            age do not say. Each is one byte, so a build number above 255 is wrapped.
    """

    product: str
    version: tuple[int, ...]


def read_plan_header(engine_path: Path) -> PlanHeader | None:
    """The header of a plan, or none if the file is not one."""
    with engine_path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
    # Older plans have another first letter: TensorRT 8.5 says of an 8.6 plan that the magic tag differs.
    if len(head) < _HEADER_BYTES or head[1:4] != b"trt":
        return None
    if head[:4] not in _PRODUCTS:
        return PlanHeader("TensorRT", ())
    product = _PRODUCTS[head[:4]]
    version = tuple(head[24:28])
    tells = struct.unpack("<I", head[4:8])[0] == 0
    if product == "TensorRT" and version[:2] < _FIRST_WITH_VERSION:
        tells = False
    return PlanHeader(product, version if tells else ())


def check_plan(engine_path: Path, magic: bytes, running: tuple[int, ...]) -> None:
    """Refuses a plan of another product or version, in words that TensorRT's own error lacks.

    Args:
        engine_path: the plan.
        magic: `TENSORRT_MAGIC` or `RTX_MAGIC`, whichever is about to load it.
        running: version of what is about to load it.

    Raises:
        BuildError: it is no plan, or one of another product or version.
    """
    header = read_plan_header(engine_path)
    product = _PRODUCTS[magic]
    this = f"{product} {_text(running)}"
    hint = f"Fetch or build the engine for {product.lower()}@{_text(running)}."
    if header is None:
        # Plans of TensorRT 8.5 and older are not described anywhere: let that release judge its own.
        if product == "TensorRT" and running[:2] < _FIRST_WITH_VERSION:
            return
        raise BuildError(f"{engine_path.name} is not an engine of {product}, or it is cut short", hint=hint)
    if header.product != product:
        raise BuildError(f"this engine was built by {header.product}, this is {this}", hint=hint)
    if not header.version:
        if running[:2] < _FIRST_WITH_VERSION:
            return
        raise BuildError(f"this engine was built by TensorRT 8.5 or older, this is {this}", hint=hint)
    # `tensorrt.__version__` may have three numbers (8.6.0) where the plan has four.
    same = [built == here % 256 for built, here in zip(header.version, running, strict=False)]
    if not all(same):
        built = _text(header.version[: max(3, len(running))])
        raise BuildError(f"this engine was built by {header.product} {built}, this is {this}", hint=hint)


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
