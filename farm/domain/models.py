"""Models: what the farm knows of one without running it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from farm.domain.shapes import DYNAMIC, Shape, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.digests import Digest


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        name: its name in the graph.
        dtype: numpy's name of the element type, such as `float32` or `bfloat16`.
        shape: sizes; -1 is a dynamic dimension.
        symbols: the name of each dimension where the graph gives one, else an empty text.
    """

    name: str
    dtype: str
    shape: Shape
    symbols: tuple[str, ...] = ()

    @property
    def is_dynamic(self) -> bool:
        """Whether any dimension is left open."""
        return DYNAMIC in self.shape

    def __str__(self) -> str:
        """`input float32 Nx3x224x224`, with the graph's own names for what is dynamic."""
        names = self.symbols or ("",) * len(self.shape)
        sizes = [symbol or "?" if size == DYNAMIC else str(size) for size, symbol in zip(self.shape, names)]
        return f"{self.name} {self.dtype} {'x'.join(sizes) or shape_text(self.shape)}"

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "symbols": list(self.symbols),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tensor:
        """The inverse of `as_json`.

        Raises:
            KeyError: a part is missing.
            TypeError: one is something else.
            ValueError: a size is no number.
        """
        shape = tuple(int(size) for size in value["shape"])
        return cls(str(value["name"]), str(value["dtype"]), shape, tuple(map(str, value["symbols"])))


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: the graph, or weights kept outside it.

    Attributes:
        name: path relative to the model's folder, with forward slashes.
        digest: of the file's bytes.
    """

    name: str
    digest: Digest


@dataclass(frozen=True)
class Model:
    """An ONNX graph (or what `format` says) with all its weights, identified by the digest of its content.

    Attributes:
        digest: sha256 of the content: graph and weights, wherever they are kept, without
            names of files, documentation strings and metadata; `size_bytes` counts all files.
        files: the graph first, then external data; of a network the document that names the others.
        inputs: what must be fed, initializers excluded.
        outputs: what comes out.
        opset: version of the default operator set.
        ir_version: version of the ONNX file format.
        producer: the tool that wrote it, for people.
        parameters: number of weights.
        operators: how many nodes of each type, subgraphs and functions included.
        format: what its files are: one of `farm.domain.model_formats`.
        structure_sha256: equal for models that differ in the values of their weights alone; empty if nobody knows.
    """

    digest: Digest
    files: tuple[ModelFile, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opset: int
    ir_version: int
    producer: str = ""
    parameters: int = 0
    operators: Mapping[str, int] = field(default_factory=dict)
    format: str = "onnx"
    structure_sha256: str = ""

    @property
    def has_qdq_nodes(self) -> bool:
        """Whether it has QuantizeLinear or DequantizeLinear nodes, and so says by itself what is quantized."""
        return not {"QuantizeLinear", "DequantizeLinear"}.isdisjoint(self.operators)
