"""The layers of an engine, whatever toolchain built it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple

from farm.domain.shapes import DYNAMIC

if TYPE_CHECKING:
    from farm.domain.shapes import Shape

#: Bits of an element, by the farm's words for its type.
_BITS = {
    "fp64": 64, "int64": 64, "fp32": 32, "int32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "uint8": 8,
    "bool": 8, "int4": 4, "fp4": 4,
}  # fmt: skip


@dataclass(frozen=True)
class LayerTensor:
    """What goes into a layer or comes out of it.

    Attributes:
        name: as the toolchain calls it.
        dtype: `fp32`, `fp16`, `int8`, …; empty if nobody says.
        format: `linear`, `chw32`, `hwc8`, … or the toolchain's own words; empty if nobody says.
        shape: sizes; -1 is dynamic; none if nobody says.
        location: `Device` or `Host`; empty if nobody says.
    """

    name: str
    dtype: str = ""
    format: str = ""
    shape: Optional[Shape] = None
    location: str = ""

    @property
    def size_bytes(self) -> Optional[int]:
        """Bytes of its elements, without padding of the format; none where type or shape is open."""
        if self.shape is None or DYNAMIC in self.shape:
            return None
        return bytes_of(self.dtype, math.prod(self.shape))

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        shape = None if self.shape is None else list(self.shape)
        return {"name": self.name, "dtype": self.dtype, "format": self.format, "shape": shape}


@dataclass(frozen=True)
class Layer:
    """One step of an engine.

    Attributes:
        name: unique within most engines; TensorRT joins the names of the nodes that it fused.
        type: `CaskConvolution`, `Reformat`, `com.microsoft::FusedConv`, …; empty if nobody says.
        precision: that it computes in: of its weights, else of its first input.
        tactic: the kernel that was chosen; empty if nobody says.
        inputs: activations that it reads.
        outputs: what it writes.
        weights_bytes: of its constants; none if nobody says.
        nodes: the model's nodes that it computes, as far as they are known.
        rest: whatever else the toolchain told.
    """

    name: str
    type: str = ""
    precision: str = ""
    tactic: str = ""
    inputs: Tuple[LayerTensor, ...] = ()
    outputs: Tuple[LayerTensor, ...] = ()
    weights_bytes: Optional[int] = None
    nodes: Tuple[str, ...] = ()
    rest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def formats(self) -> str:
        """From the first input's format and type to the first output's, such as `fp32 linear → fp16 hwc8`."""
        ends = [_place(tensors) for tensors in (self.inputs, self.outputs)]
        return " → ".join(filter(None, dict.fromkeys(ends)))

    @property
    def output_bytes(self) -> Optional[int]:
        """Of all that it writes; none where a size is open."""
        sizes = [tensor.size_bytes for tensor in self.outputs]
        return None if not sizes or None in sizes else sum(size or 0 for size in sizes)

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {
            "name": self.name,
            "type": self.type,
            "precision": self.precision,
            "tactic": self.tactic,
            "inputs": [tensor.as_json() for tensor in self.inputs],
            "outputs": [tensor.as_json() for tensor in self.outputs],
            "weights_bytes": self.weights_bytes,
            "output_bytes": self.output_bytes,
            "nodes": list(self.nodes),
            "rest": dict(self.rest),
        }


@dataclass(frozen=True)
class IoTensor:
    """An input or output of an engine, as the engine itself tells of it.

    Attributes:
        name: of the tensor.
        mode: `input`, `output`, or empty where only its name is told.
        dtype: `fp32`, …; empty if nobody says.
        shape: sizes; -1 is dynamic; none if nobody says.
        formats: of every optimization profile; empty where nobody says.
    """

    name: str
    mode: str = ""
    dtype: str = ""
    shape: Optional[Shape] = None
    formats: Tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        shape = None if self.shape is None else list(self.shape)
        return {**vars(self), "shape": shape, "formats": list(self.formats)}


@dataclass(frozen=True)
class EngineLayers:
    """What an engine told of itself.

    Attributes:
        layers: in the order in which they run.
        io: inputs and outputs, as far as they were told.
        is_detailed: whether more than names was told.
        source: who told it: `TensorRT`, `ONNX`.
        note: why something is missing, and how to get it; empty if nothing is.
    """

    layers: Tuple[Layer, ...] = ()
    io: Tuple[IoTensor, ...] = ()
    is_detailed: bool = False
    source: str = ""
    note: str = ""

    def precisions(self) -> dict[str, int]:
        """How many layers compute in which precision, the most first; those that do not say are left out."""
        return dict(Counter(layer.precision for layer in self.layers if layer.precision).most_common())

    def types(self) -> dict[str, int]:
        """How many layers there are of which type, the most first."""
        return dict(Counter(layer.type for layer in self.layers if layer.type).most_common())

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {
            "source": self.source,
            "detailed": self.is_detailed,
            "note": self.note or None,
            "precisions": self.precisions(),
            "types": self.types(),
            "io": [tensor.as_json() for tensor in self.io],
            "layers": [layer.as_json() for layer in self.layers],
        }


def bytes_of(dtype: str, elements: int) -> Optional[int]:
    """What some elements take; none for a type whose size nobody knows."""
    bits = _BITS.get(dtype)
    return None if bits is None else (elements * bits + 7) // 8


def _place(tensors: Tuple[LayerTensor, ...]) -> str:
    return f"{tensors[0].dtype} {tensors[0].format}".strip() if tensors else ""
