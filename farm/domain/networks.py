"""Networks that a Python function defines with TensorRT's own API: the document that makes such a model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Tuple

from farm.domain.errors import InvalidModelError, InvalidSpecError
from farm.domain.models import Tensor
from farm.domain.shapes import DYNAMIC, LARGEST_SIZE, Shape

#: The document's file; whatever has this name is read as one.
DOCUMENT = "network.json"
#: Of the document. Another one is refused by who does not know it.
_VERSION = 1
_ALIASES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
#: Element types of inputs and outputs, as numpy and ml_dtypes name them.
DTYPES = ("float32", "float16", "bfloat16", "int8", "int32", "int64", "uint8", "bool")
_SYMBOL = re.compile(r"[A-Za-wyz_][A-Za-wyz0-9_]*")


@dataclass(frozen=True)
class NetworkDefinition:
    """Which function defines a network, with which weights, and what it is said to take and to give.

    Attributes:
        source: name of the Python file, beside the document.
        function: name of the function in it: `function(network, weights)` or `function(network, weights, trt)`.
        weights: name of the `.npz` beside the document; empty for a function that needs none.
        inputs: that the function adds.
        outputs: that it marks; empty if nobody said.
        takes_trt: whether it is called with the module of TensorRT as well.
    """

    source: str
    function: str
    weights: str
    inputs: Tuple[Tensor, ...]
    outputs: Tuple[Tensor, ...] = ()
    takes_trt: bool = False

    def __post_init__(self) -> None:
        """Refuses names that lead out of the document's folder.

        Raises:
            InvalidModelError: there is one.
        """
        for name in filter(None, (self.source, self.weights)):
            if "/" in name or "\\" in name or name in (".", "..", DOCUMENT):
                raise InvalidModelError(f"a network's files lie beside its {DOCUMENT}, and {name!r} does not")
            if not name.isprintable():
                # Surrogates too: such a name fits neither JSON nor SQL.
                raise InvalidModelError(
                    f"the name {name!r} holds characters that can not be printed", hint="Rename the file."
                )

    def as_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "farm_network": _VERSION,
            "source": self.source,
            "function": self.function,
            "weights": self.weights,
            "inputs": [tensor.as_json() for tensor in self.inputs],
            "outputs": [tensor.as_json() for tensor in self.outputs],
            "takes_trt": self.takes_trt,
        }

    @classmethod
    def from_json(cls, value: Any) -> NetworkDefinition:
        """The inverse of `as_json`.

        Raises:
            InvalidModelError: it is no such document.
        """
        try:
            if value["farm_network"] != _VERSION:
                raise InvalidModelError(
                    f"is a network document of version {value['farm_network']}, not {_VERSION}"
                )
            return cls(
                str(value["source"]),
                str(value["function"]),
                str(value["weights"]),
                tuple(map(Tensor.from_json, value["inputs"])),
                tuple(map(Tensor.from_json, value["outputs"])),
                bool(value["takes_trt"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidModelError(
                "is no document of a network", hint="farm submit SOURCE.py:FUNCTION writes it."
            ) from error


def parse_tensor(text: str) -> Tensor:
    """`data:1x1x28x28`, `ids:int32:Nx128`: a name, an element type (float32 if left out) and a shape.

    A size that is no number is open: `N`, `?` or `-1`.

    Raises:
        InvalidSpecError: it is none.
    """
    name, _, shape = text.strip().rpartition(":")
    head, colon, kind = name.rpartition(":")
    dtype = _dtype(kind) if colon else ""
    if dtype:
        name = head
    if not name:
        raise InvalidSpecError(
            f"not an input or output: {text!r}",
            hint="Write name:shape or name:type:shape, such as data:1x1x28x28.",
        )
    return tensor_of(name, shape, dtype or "float32")


def tensor_of(name: str, shape: Any, dtype: str = "float32") -> Tensor:
    """A tensor with a shape as people write it: a text `Nx1x28x28` or a sequence `("N", 1, 28, 28)`.

    Raises:
        InvalidSpecError: the shape or the type is none.
    """
    kind = _dtype(dtype)
    if not kind:
        raise InvalidSpecError(f"{name}: unknown element type {dtype!r}", hint=f"One of {', '.join(DTYPES)}.")
    if isinstance(shape, str):
        parts: Tuple[Any, ...] = tuple(shape.split("x")) if shape and shape != "scalar" else ()
        if not shape:
            raise InvalidSpecError(f"{name} has no shape", hint="Such as 1x3x224x224, or `scalar`.")
    elif isinstance(shape, (list, tuple)):
        parts = tuple(shape)
    else:
        raise InvalidSpecError(f"{name}: not a shape: {shape!r}", hint="Such as 1x3x224x224.")
    sizes = [_size(name, part) for part in parts]
    symbols = tuple(symbol for _, symbol in sizes)
    return Tensor(name, kind, tuple(size for size, _ in sizes), symbols if any(symbols) else ())


def _size(name: str, part: Any) -> Tuple[int, str]:
    """A size, and the name of one that is open."""
    text = "?" if part is None else str(part).strip()
    if text.isdecimal() and int(text) <= LARGEST_SIZE:
        return int(text), ""
    if text in ("-1", "?"):
        return DYNAMIC, ""
    if _SYMBOL.fullmatch(text):
        return DYNAMIC, text
    raise InvalidSpecError(
        f"{name}: not a size: {part!r}", hint="A number, or N, ? or -1 for one that is open."
    )


def _dtype(word: str) -> str:
    name = _ALIASES.get(word.lower(), word.lower())
    return name if name in DTYPES else ""


def fits(declared: Shape, found: Shape) -> bool:
    """Whether a shape is the one that was declared; a size that is open in one may be anything in the other."""
    return len(declared) == len(found) and all(
        DYNAMIC in (size, other) or size == other for size, other in zip(declared, found)
    )
