"""What an engine says of its inputs and outputs; the module `trt` is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

from farm.domain.errors import InvalidSpecError
from farm.domain.io_formats import LINEAR
from farm.domain.shapes import DYNAMIC, ShapeRange
from workers.toolchains.cuda_arrays import EngineTensor, dtype_name
from workers.toolchains.io_layouts import layout_word

if TYPE_CHECKING:
    from collections.abc import Iterable

_MIN_OPT_MAX = 3


def read_tensors(trt: Any, engine: Any) -> tuple[EngineTensor, ...]:
    """Inputs and outputs of an engine, with the ranges and the formats of its profiles.

    Raises:
        BuildError: one has a type or a format that the farm can not feed or read.
    """
    return tuple(
        _tensor(trt, engine, name) for name in map(engine.get_tensor_name, range(engine.num_io_tensors))
    )


def _tensor(trt: Any, engine: Any, name: str) -> EngineTensor:
    profiles = range(engine.num_optimization_profiles)
    shape = tuple(engine.get_tensor_shape(name))
    is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
    on_host = engine.get_tensor_location(name) == trt.TensorLocation.HOST
    ranges: tuple[ShapeRange, ...] = ()
    values: tuple[ShapeRange, ...] = ()
    if is_input and DYNAMIC in shape:
        ranges = tuple(_span(engine.get_tensor_profile_shape(name, index)) for index in profiles)
    elif is_input and on_host:
        values = _value_ranges(engine, name, profiles)
    formats = tuple(_format_of(engine, name, index) for index in profiles)
    return EngineTensor(
        name,
        dtype_name(engine.get_tensor_dtype(name)),
        shape,
        is_input,
        on_host,
        ranges,
        values,
        () if on_host or set(formats) <= {LINEAR} else formats,
    )


def _span(given: Sequence[Any]) -> ShapeRange:
    return ShapeRange(*(tuple(int(size) for size in shape) for shape in given))


def _value_ranges(engine: Any, name: str, profiles: Iterable[int]) -> tuple[ShapeRange, ...]:
    """The values that an input may hold in each profile: 10.0 renamed the call; nothing where not all have a range.

    Negative values have none: the farm builds no such profiles.
    """
    new = getattr(engine, "get_tensor_profile_values", None)
    try:
        given = [
            new(index, name) if new else engine.get_profile_shape_input(index, name) for index in profiles
        ]
        return tuple(map(_span, given)) if all(len(spans) == _MIN_OPT_MAX for spans in given) else ()
    except (InvalidSpecError, RuntimeError, TypeError, ValueError):
        return ()


def _format_of(engine: Any, name: str, index: int) -> str:
    """The memory format in a profile; 8.5 is asked for it without a profile."""
    try:
        return layout_word(engine.get_tensor_format(name, index))
    except TypeError:
        return layout_word(engine.get_tensor_format(name))
