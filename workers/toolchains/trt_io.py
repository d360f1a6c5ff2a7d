"""Types and memory formats of a network's inputs and outputs; the module `trt` is an argument."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from farm.domain.errors import BuildError, InvalidSpecError
from farm.domain.io_formats import FORMATS, TYPES, IoFormat
from farm.domain.suggestions import did_you_mean
from workers.toolchains.trt_log import spec_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.toolchains.trt_log import TrtLog

_TRT_TYPES = {
    "fp32": "FLOAT",
    "fp16": "HALF",
    "bf16": "BF16",
    "int32": "INT32",
    "int64": "INT64",
    "int8": "INT8",
    "uint8": "UINT8",
    "bool": "BOOL",
    "fp8": "FP8",
}
#: Which numpy and PyCUDA have no arrays for.
_NOT_FED = ("fp8",)


def io_formats_of(trt: Any) -> tuple[str, ...]:
    """The memory formats that a release has, in the farm's words."""
    return tuple(word for word, known in FORMATS.items() if known.trt_name in trt.TensorFormat.__members__)


def io_types_of(trt: Any) -> tuple[str, ...]:
    """The element types that inputs and outputs can be given; none from 11 on, where the model says them."""
    setter = getattr(getattr(trt.ITensor, "dtype", None), "fset", None)
    if setter is None:
        return ()
    members = trt.DataType.__members__
    return tuple(word for word in TYPES if _TRT_TYPES[word] in members and word not in _NOT_FED)


def apply_io_formats(trt: Any, network: Any, wanted: Mapping[str, str], log: TrtLog) -> tuple[str, ...]:
    """Gives inputs and outputs their types and formats. Of several formats the builder takes one.

    Returns:
        The names of those that became int8, which nobody can feed or read without a scale.

    Raises:
        InvalidSpecError: the network has no such tensor, or the release does not take the type or the format.
    """
    tensors = {tensor.name: tensor for tensor in _io_of(network)}
    became_int8: list[str] = []
    for name, text in wanted.items():
        if name not in tensors:
            raise InvalidSpecError(
                f"the network has no input or output {name!r}", hint=did_you_mean(name, tensors)
            )
        parsed, tensor = IoFormat.parse(text), tensors[name]
        if parsed.type and _set_type(trt, tensor, parsed.type, log) and parsed.type == "int8":
            became_int8.append(name)
        if parsed.formats:
            mask = sum(
                1 << int(trt.TensorFormat.__members__[FORMATS[word].trt_name]) for word in parsed.formats
            )
            tensor.allowed_formats = mask
            if int(tensor.allowed_formats) != mask:
                raise spec_refusal(log, f"format {'+'.join(parsed.formats)} of {name!r}")
    return tuple(became_int8)


def _set_type(trt: Any, tensor: Any, type_: str, log: TrtLog) -> bool:
    """Gives a tensor a type; whether that changed it."""
    member = trt.DataType.__members__.get(_TRT_TYPES[type_])
    if str(tensor.dtype) == str(member) or (type_ == "int64" and member is None):
        # 8 has no INT64: what the model has as int64 is INT32 there.
        return False
    try:
        tensor.dtype = member
    except (AttributeError, TypeError) as error:
        raise InvalidSpecError(
            f"{log.name} takes the type of {tensor.name!r} from the model: it can not be {type_}",
            hint="Export the model with that type, and give the format alone.",
        ) from error
    return True


def _io_of(network: Any) -> list[Any]:
    return [
        *map(network.get_input, range(network.num_inputs)),
        *map(network.get_output, range(network.num_outputs)),
    ]


def scales_from_cache(cache: bytes, names: tuple[str, ...]) -> dict[str, float]:
    """What one step of an int8 input or output is worth, from the calibration cache of the build.

    A cache has a line per tensor, its scale as the bits of a float in hexadecimal, most significant first.

    Raises:
        BuildError: the cache has no scale of a tensor.
    """
    lines = dict(line.rsplit(": ", 1) for line in cache.decode(errors="replace").splitlines() if ": " in line)
    scales = {}
    for name in names:
        try:
            scales[name] = struct.unpack(">f", bytes.fromhex(lines[name].strip()))[0]
        except (KeyError, ValueError, struct.error):
            raise BuildError(
                f"the calibration gave no scale for {name!r}, so nobody could feed or read it as int8",
                hint="Leave its type to the model, or quantise the model itself.",
            ) from None
    return scales
