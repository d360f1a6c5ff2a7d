"""Seeded sample inputs, and at which sizes the exported model is tried."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import shape_text
from workers.export.inputs import symbol_sizes
from workers.export.user_code import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from workers.export.inputs import InputSpec

#: Each that PyTorch refuses costs a run of the model.
_MOST_COMBINATIONS = 16
#: Where in PyTorch's C++ an error comes from, which tells users nothing.
_PLACE = re.compile(r"^\[enforce fail at [^\]]*\][^.]*\. ")


def make_sample(
    torch: Any, specs: Sequence[InputSpec], sizes: Mapping[str, int], seed: int
) -> dict[str, Any]:
    """Tensors by name: standard normal floats, integers 0 and 1, or within the range that was given.

    Integers without a range stay at 0 and 1, as everywhere in the farm: as indices, counts and masks these
    are nearly always valid.

    Raises:
        InvalidSpecError: an input is more than this host's memory holds, or its range more than its type.
    """
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for spec in specs:
        shape = spec.shape_at(sizes)
        try:
            found[spec.name] = _tensor(torch, spec, shape, draw)
        except (RuntimeError, OverflowError, TypeError, ValueError, MemoryError) as error:
            raise InvalidSpecError(
                f"no sample of input {spec.name!r} can be made ({shape_text(shape)} {spec.dtype}): "
                f"{_PLACE.sub('', first_line(error))}",
                hint="Is --input too large for this host, or its range for the type?",
            ) from error
    return found


def capture_sizes(specs: Sequence[InputSpec]) -> dict[str, int]:
    """The sizes that the model is traced at: those of the sample, but never 1 where a dimension is dynamic.

    torch.export takes a size of 1 for a constant, since broadcasting treats it otherwise than any other.
    """
    sizes = symbol_sizes(specs)
    found: dict[str, int] = {}
    for symbol, size in sizes.items():
        wanted = max(size, 2)
        while size == 1 and wanted in found.values():
            wanted += 1
        found[symbol] = wanted
    return found


def other_sizes(specs: Sequence[InputSpec]) -> Iterator[dict[str, int]]:
    """Sizes of the dynamic dimensions that are neither those of the sample nor those of the trace.

    Nothing if nothing is dynamic. Best first: one more tells most; twice and half of it are for models that want
    multiples, or whose sample is the largest that they take. Then every dimension alone.
    """
    given, traced = symbol_sizes(specs), capture_sizes(specs)
    if not given:
        return
    ways: tuple[Callable[[int], int], ...] = (
        lambda n: n + 1,
        lambda n: 2 * n,
        lambda n: n // 2,
        lambda n: n - 1,
    )
    choices = {
        symbol: [size for size in (way(now) for way in ways) if size > 0 and size not in (given[symbol], now)]
        for symbol, now in traced.items()
    }
    for combination in itertools.islice(itertools.product(*choices.values()), _MOST_COMBINATIONS):
        yield dict(zip(choices, combination, strict=True))
    for symbol, sizes in choices.items():
        for size in sizes:
            yield {**traced, symbol: size}


def _tensor(torch: Any, spec: InputSpec, shape: tuple[int, ...], draw: Any) -> Any:
    dtype = getattr(torch, spec.dtype)
    if spec.dtype == "bool":
        return torch.randint(0, 2, shape, generator=draw).bool()
    if dtype.is_floating_point:
        if spec.low is None or spec.high is None:
            return torch.randn(shape, generator=draw).to(dtype)
        return (spec.low + (spec.high - spec.low) * torch.rand(shape, generator=draw)).to(dtype)
    low, high = (0, 1) if spec.low is None or spec.high is None else (int(spec.low), int(spec.high))
    return torch.randint(low, high + 1, shape, generator=draw).to(dtype)
