"""Shapes and optimization profiles; -1 marks a dynamic dimension, as TensorRT writes it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Tuple

from farm.domain.errors import InvalidSpecError

Shape = Tuple[int, ...]
DYNAMIC = -1
#: What toolchains count dimensions with.
LARGEST_SIZE = 2**31 - 1
#: Python reads no number of more than 4300 digits; nobody means one of a hundred.
_MOST_DIGITS = 100


def check_size(size: int) -> None:
    """Refuses a dimension that no toolchain can count.

    Raises:
        InvalidSpecError: it is too large.
    """
    if size > LARGEST_SIZE:
        raise InvalidSpecError(f"no dimension can be {size}: the largest is {LARGEST_SIZE}")


def shape_text(shape: Shape) -> str:
    """`1x3x224x224`; a dynamic dimension is written `-1`, a scalar `scalar`."""
    return "x".join(map(str, shape)) or "scalar"


@dataclass(frozen=True)
class ShapeRange:
    """The shapes one input may take: `min <= opt <= max` in every dimension.

    Attributes:
        min: the smallest shape, such as `(1, 3, 224, 224)`.
        opt: the shape that the builder tunes for.
        max: the largest shape.
    """

    min: Shape
    opt: Shape
    max: Shape

    def __post_init__(self) -> None:
        """Refuse ranges that TensorRT would take in silence (its `set_shape` checks nothing)."""
        if not len(self.min) == len(self.opt) == len(self.max):
            raise InvalidSpecError(
                f"min, opt and max must have the same number of dimensions, not "
                f"{shape_text(self.min)}, {shape_text(self.opt)} and {shape_text(self.max)}"
            )
        for low, mid, high in zip(self.min, self.opt, self.max):
            if not 0 <= low <= mid <= high:
                raise InvalidSpecError(
                    f"shapes must satisfy min <= opt <= max in every dimension, not "
                    f"{shape_text(self.min)}, {shape_text(self.opt)}, {shape_text(self.max)}"
                )
            check_size(high)

    def contains(self, shape: Shape) -> bool:
        """Whether a shape lies within the range."""
        return len(shape) == len(self.min) and all(
            low <= size <= high for low, size, high in zip(self.min, shape, self.max)
        )

    def distance(self, shape: Shape) -> float:
        """How far a shape is from opt: the sum of the logarithms of its sizes' ratios, 0 for opt itself."""
        return sum(abs(math.log(max(size, 1) / max(opt, 1))) for size, opt in zip(shape, self.opt))

    def as_json(self) -> dict[str, list[int]]:
        """The form in JSON."""
        return {"min": list(self.min), "opt": list(self.opt), "max": list(self.max)}

    @classmethod
    def from_json(cls, value: dict[str, list[int]]) -> ShapeRange:
        """The inverse of `as_json`."""
        return cls(tuple(value["min"]), tuple(value["opt"]), tuple(value["max"]))


def parse_shape(text: str) -> Shape:
    """`1x3x224x224` as a shape.

    Raises:
        InvalidSpecError: the text is not sizes joined by `x`, or a size is more than a dimension can have.
    """
    if not re.fullmatch(rf"[0-9]{{1,{_MOST_DIGITS}}}(x[0-9]{{1,{_MOST_DIGITS}}})*", text):
        raise InvalidSpecError(f"not a shape: {text!r}", hint="Write sizes joined by x, such as 1x3x224x224.")
    shape = tuple(int(size) for size in text.split("x"))
    check_size(max(shape))
    return shape


def parse_shapes(text: str) -> dict[str, Shape]:
    """`input:1x3x224x224,mask:1x224` as trtexec writes it. Names may hold colons.

    Raises:
        InvalidSpecError: a part is not `name:shape`, or a name comes twice.
    """
    shapes: dict[str, Shape] = {}
    for part in filter(None, text.split(",")):
        name, colon, shape = part.rpartition(":")
        if not colon or not name:
            raise InvalidSpecError(
                f"not an input's shape: {part!r}", hint="Write name:shape, such as input:1x3x224x224."
            )
        if name in shapes:
            raise InvalidSpecError(f"input {name!r} is given two shapes")
        shapes[name] = parse_shape(shape)
    return shapes
