"""The inputs of an export in a user's words: shape, element type, range, and what stays dynamic."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import Shape, parse_shape
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DTYPES = (
    "float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip
_ALIASES = {
    "float": "float32",
    "fp32": "float32",
    "fp16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "double": "float64",
    "long": "int64",
    "int": "int32",
}
_NUMBER = r"-?\d+(?:\.\d+)?"
_INPUT = re.compile(
    r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>[0-9x]+|scalar)"
    rf"(?::(?P<dtype>[A-Za-z]\w*))?(?::(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER}))?"
)
_SYMBOL = r"[A-Za-z_]\w*"
_DYNAMIC = re.compile(rf"(?:(?P<name>{_SYMBOL}):)?(?P<axes>-?\d+={_SYMBOL}(?:,-?\d+={_SYMBOL})*)")


@dataclass(frozen=True)
class InputSpec:
    """One input of the model's forward.

    Attributes:
        name: the parameter of `forward`; empty for the next one in order.
        shape: of the sample.
        dtype: numpy's name of the element type; empty if nothing was said.
        low: least random value; none for the usual ones.
        high: greatest random value, itself included.
        dynamic: the symbol of each axis that stays dynamic.
    """

    name: str
    shape: Shape
    dtype: str = ""
    low: float | None = None
    high: float | None = None
    dynamic: tuple[tuple[int, str], ...] = ()

    def shape_at(self, sizes: Mapping[str, int]) -> Shape:
        """The shape with other sizes of the symbols."""
        found = list(self.shape)
        for axis, symbol in self.dynamic:
            found[axis] = sizes.get(symbol, found[axis])
        return tuple(found)


@dataclass(frozen=True)
class DynamicAxes:
    """What a `--dynamic` says.

    Attributes:
        name: of the input; empty for every input.
        axes: axis (negative ones count from the end) and symbol.
    """

    name: str
    axes: tuple[tuple[int, str], ...]


def parse_input(text: str) -> InputSpec:
    """`1x3x224x224`, `ids=1x128:int64:0..30521`, `image=1x3x8x8:float16`.

    Raises:
        InvalidSpecError: it is none of these.
    """
    found = _INPUT.fullmatch(text.strip())
    if not found:
        raise InvalidSpecError(
            f"not an input: {text!r}",
            hint="Write [NAME=]SHAPE[:DTYPE[:LOW..HIGH]], such as 1x3x224x224 or ids=1x128:int64:0..30521.",
        )
    shape = () if found["shape"] == "scalar" else parse_shape(found["shape"])
    if 0 in shape:
        raise InvalidSpecError(f"an input without elements tells an exporter nothing: {text!r}")
    dtype = _ALIASES.get(found["dtype"] or "", found["dtype"] or "")
    if dtype and dtype not in DTYPES:
        raise InvalidSpecError(
            f"unknown element type {dtype!r} of input {text!r}", hint=did_you_mean(dtype, DTYPES)
        )
    low, high = (float(found[end]) if found[end] is not None else None for end in ("low", "high"))
    if low is not None and high is not None:
        if dtype == "bool":
            raise InvalidSpecError(f"a bool has no range: {text!r}")
        if not low <= high:
            raise InvalidSpecError(f"the range of {text!r} ends before it begins", hint="Write LOW..HIGH.")
        if "int" in dtype and not (low.is_integer() and high.is_integer()):
            raise InvalidSpecError(f"the range of {text!r} must be of whole numbers")
    return InputSpec(found["name"] or "", shape, dtype, low, high)


def parse_dynamic(text: str) -> DynamicAxes:
    """`batch` (the first dimension of every input), or `NAME:0=batch,2=height`.

    Raises:
        InvalidSpecError: it is neither.
    """
    text = text.strip()
    if re.fullmatch(_SYMBOL, text):
        return DynamicAxes("", ((0, text),))
    found = _DYNAMIC.fullmatch(text)
    if not found:
        raise InvalidSpecError(
            f"not a dynamic dimension: {text!r}",
            hint="Write --dynamic batch, or --dynamic NAME:0=batch,2=height.",
        )
    pairs = [pair.split("=") for pair in found["axes"].split(",")]
    return DynamicAxes(found["name"] or "", tuple((int(axis), symbol) for axis, symbol in pairs))


def with_dynamic(specs: Sequence[InputSpec], dynamic: Sequence[DynamicAxes]) -> tuple[InputSpec, ...]:
    """The inputs with their dynamic axes.

    Raises:
        InvalidSpecError: an input or an axis does not exist, an axis has two names, or a name stands for
            two sizes.
    """
    axes: dict[str, dict[int, str]] = {spec.name: {} for spec in specs}
    shapes = {spec.name: spec.shape for spec in specs}
    for wish in dynamic:
        if wish.name and wish.name not in axes:
            raise InvalidSpecError(
                f"--dynamic names {wish.name!r}, which is no input", hint=did_you_mean(wish.name, axes)
            )
        for name in [wish.name] if wish.name else list(axes):
            for given, symbol in wish.axes:
                rank = len(shapes[name])
                if not rank and not wish.name:
                    continue
                if not -rank <= given < rank:
                    raise InvalidSpecError(f"input {name!r} has {rank} dimension(s), and no axis {given}")
                axis = given % rank
                if axes[name].setdefault(axis, symbol) != symbol:
                    raise InvalidSpecError(
                        f"axis {axis} of input {name!r} is called both {axes[name][axis]} and {symbol}"
                    )
    sizes: dict[str, tuple[int, str]] = {}
    for name, named in axes.items():
        for axis, symbol in named.items():
            size, first = sizes.setdefault(symbol, (shapes[name][axis], name))
            if size != shapes[name][axis]:
                raise InvalidSpecError(
                    f"dimension {symbol} is {size} in input {first!r} and {shapes[name][axis]} in {name!r}",
                    hint="Name the inputs that share it: --dynamic NAME:0=batch.",
                )
    return tuple(replace(spec, dynamic=tuple(sorted(axes[spec.name].items()))) for spec in specs)


def symbol_sizes(specs: Sequence[InputSpec]) -> dict[str, int]:
    """The size of every symbol in the sample."""
    return {symbol: spec.shape[axis] for spec in specs for axis, symbol in spec.dynamic}
