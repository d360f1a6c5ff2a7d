"""Ranges that random inputs are drawn from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

import numpy as np

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from farm.domain.models import Tensor

_HINT = "--input-range NAME=LOWEST:HIGHEST, such as input_ids=0:30521 or image=-1:1"
#: In the name of an integer input that says which elements count; a row without any would say nothing.
MASK = "mask"


class InputRange(NamedTuple):
    """The lowest and the highest value of a random input, both of them possible for integers."""

    low: float
    high: float

    def __str__(self) -> str:
        """As users write it."""
        return f"{self.low:g}:{self.high:g}"


def parse_input_range(name: str, value: Any) -> InputRange:
    """A range in a user's words: `0:30521`, or in a spec file `[0, 30521]`.

    Raises:
        InvalidSpecError: it is none, is empty, or holds 0 alone, which tests nothing.
    """
    parts = value if isinstance(value, (list, tuple)) else str(value).split(":")
    try:
        low, high = (float(part) for part in parts)
    except (TypeError, ValueError):
        # YAML takes an unquoted -1:1 for a number of minutes and seconds.
        hint = f"{_HINT}. In a spec file quote it." if isinstance(value, int) else _HINT
        raise InvalidSpecError(f"the range of input {name!r} is no range: {value!r}", hint=hint) from None
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        raise InvalidSpecError(f"the range of input {name!r} is empty: {value!r}", hint=_HINT)
    if low == high == 0:
        raise InvalidSpecError(
            f"the range of input {name!r} holds zeros alone, which test nothing", hint=_HINT
        )
    return InputRange(low, high)


def check_input_ranges(ranges: Mapping[str, InputRange], inputs: Mapping[str, Tensor]) -> None:
    """Refuses ranges that are of no input, or that an input's type can not hold.

    Raises:
        InvalidSpecError: names the input.
    """
    for name, span in ranges.items():
        if name not in inputs:
            raise InvalidSpecError(
                f"there is no input {name!r} to give a range", hint=did_you_mean(name, inputs)
            )
        dtype = inputs[name].dtype
        if dtype.startswith(("int", "uint")):
            bounds = np.iinfo(dtype)
            whole = span.low == int(span.low) and span.high == int(span.high)
            fits = whole and bounds.min <= span.low and span.high <= bounds.max
        elif dtype == "bool":
            fits = {span.low, span.high} <= {0.0, 1.0}
        elif dtype == "bfloat16":
            fits = True
        else:
            fits = dtype.startswith("float") and max(map(abs, span)) <= float(np.finfo(dtype).max)
        if not fits:
            raise InvalidSpecError(f"the range {span} does not fit input {inputs[name]}")


def ranges_as_json(ranges: Mapping[str, InputRange]) -> dict[str, list[float]]:
    """Ranges by name, as JSON has them; whole numbers as such."""
    return {
        name: [int(end) if end == int(end) else end for end in span] for name, span in sorted(ranges.items())
    }


def ranges_from_json(value: Mapping[str, Any]) -> dict[str, InputRange]:
    """The inverse of `ranges_as_json`."""
    return {name: InputRange(float(low), float(high)) for name, (low, high) in value.items()}
