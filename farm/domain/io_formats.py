"""Types and memory formats of an engine's inputs and outputs, in the words of trtexec: `input:fp16:chw16`.

What a format asks for is in NVIDIA's NvInferRuntime.h (`TensorFormat`): least rank, and the element types that it
is bound to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from farm.domain.models import Model, Tensor
    from farm.domain.toolchains import ToolchainDescription

#: numpy's names of the element types.
TYPES = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int32": "int32",
    "int64": "int64",
    "int8": "int8",
    "uint8": "uint8",
    "bool": "bool",
    "fp8": "float8_e4m3fn",
}
_FLOATS = ("fp32", "fp16", "bf16", "fp8")
_WORDS_OF_TYPES = {name: word for word, name in TYPES.items()}


@dataclass(frozen=True)
class MemoryFormat:
    """How a tensor lies in memory.

    Attributes:
        trt_name: its name in TensorRT's `TensorFormat`.
        types: element types that it is bound to; empty for any.
        rank: least number of dimensions.
        needs_dla: whether only a DLA takes it.
    """

    trt_name: str
    types: tuple[str, ...] = ()
    rank: int = 3
    needs_dla: bool = False


#: Where a build's details have the scales of int8 inputs and outputs whose model has floats there.
IO_SCALES = "io_scales"
#: The usual one: rows of the last dimension, one after the other.
LINEAR = "chw"
FORMATS = {
    LINEAR: MemoryFormat("LINEAR", rank=0),
    "chw2": MemoryFormat("CHW2", ("fp16",)),
    "chw4": MemoryFormat("CHW4", ("int8", "fp16")),
    "hwc8": MemoryFormat("HWC8", ("fp16", "bf16")),
    "chw16": MemoryFormat("CHW16", ("fp16", "int8")),
    "chw32": MemoryFormat("CHW32", ("fp32", "fp16", "int8")),
    "dhwc8": MemoryFormat("DHWC8", ("fp16", "bf16"), rank=4),
    "cdhw32": MemoryFormat("CDHW32", ("fp16", "int8"), rank=4),
    "hwc": MemoryFormat("HWC", ("fp32", "fp16", "bf16", "uint8", "int64")),
    "dla_linear": MemoryFormat("DLA_LINEAR", ("fp16", "int8"), needs_dla=True),
    "dla_hwc4": MemoryFormat("DLA_HWC4", ("fp16", "int8"), needs_dla=True),
    "hwc16": MemoryFormat("HWC16", ("fp16", "int8")),
    "dhwc": MemoryFormat("DHWC", ("fp32",), rank=4),
}


@dataclass(frozen=True)
class IoFormat:
    """What is wanted of one input or output.

    Attributes:
        type: a word of `TYPES`; empty for the model's own.
        formats: words of `FORMATS`, of which the builder takes one; empty for the usual one.
    """

    type: str = ""
    formats: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> IoFormat:
        """`fp16:chw16`, `fp16`, `chw16` or `fp16:chw16+chw`.

        Raises:
            InvalidSpecError: a word is no type and no format.
        """
        head, colon, tail = text.strip().lower().partition(":")
        type_, formats = (head, tail) if colon else ((head, "") if head in TYPES else ("", head))
        words = tuple(sorted(set(filter(None, formats.split("+"))), key=_order))
        if type_ and type_ not in TYPES:
            raise InvalidSpecError(f"{type_!r} is no element type", hint=did_you_mean(type_, TYPES))
        for word in words:
            if word not in FORMATS:
                raise InvalidSpecError(
                    f"{word!r} is no memory format", hint=did_you_mean(word, {**FORMATS, **TYPES})
                )
        return cls(type_, words)

    def __str__(self) -> str:
        """The form that `parse` reads."""
        return ":".join(filter(None, [self.type, "+".join(self.formats)]))


def _order(word: str) -> tuple[int, str]:
    names = list(FORMATS)
    return (names.index(word) if word in FORMATS else len(names), word)


def parse_io_formats(text: str) -> dict[str, str]:
    """`input:fp16:chw16,output:int8:chw32`; names may hold colons.

    Raises:
        InvalidSpecError: a part is not `name:type:format`, or a name comes twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, wanted = _split(part)
        if name in found:
            raise InvalidSpecError(f"tensor {name!r} is given two formats")
        found[name] = str(IoFormat.parse(wanted))
    return found


def _split(part: str) -> tuple[str, str]:
    """A tensor's name and the words behind it: at most a type and formats, read from the end."""
    pieces = part.split(":")
    for words in (2, 1):
        name, tail = ":".join(pieces[:-words]), pieces[-words:]
        if name and (words == 1 or tail[0].lower() in TYPES):
            return name, ":".join(tail)
    raise InvalidSpecError(
        f"not a tensor's format: {part!r}", hint="Write name:type:format, such as input:fp16:chw16."
    )


def type_word(tensor: Tensor) -> str:
    """The word for a tensor's element type; numpy's name where there is none."""
    return _WORDS_OF_TYPES.get(tensor.dtype, tensor.dtype)


def canonical_io_formats(model: Model, wanted: Mapping[str, str]) -> dict[str, str]:
    """What differs from the model's own types and the usual format, each with both words.

    Raises:
        InvalidSpecError: a tensor is unknown, or a format does not fit its type or its rank.
    """
    tensors = {tensor.name: tensor for tensor in (*model.inputs, *model.outputs)}
    outputs = {tensor.name for tensor in model.outputs}
    chosen = {}
    for name, text in wanted.items():
        if name not in tensors:
            known, _, word = name.rpartition(":")
            if known in tensors:
                raise InvalidSpecError(f"{word!r} is no element type", hint=did_you_mean(word, TYPES))
            raise InvalidSpecError(
                f"the model has no input or output {name!r}", hint=did_you_mean(name, tensors)
            )
        tensor, parsed = tensors[name], IoFormat.parse(text)
        full = IoFormat(parsed.type or type_word(tensor), parsed.formats or (LINEAR,))
        for word in full.formats:
            # An output may come without a shape, which only the toolchain finds.
            rank = max(len(tensor.shape), FORMATS[word].rank if name in outputs and not tensor.shape else 0)
            _check(tensor, full.type, word, rank)
        if full != IoFormat(type_word(tensor), (LINEAR,)):
            chosen[name] = str(full)
    return chosen


def _check(tensor: Tensor, type_: str, word: str, rank: int) -> None:
    wanted = FORMATS[word]
    if wanted.types and type_ not in wanted.types:
        raise InvalidSpecError(
            f"format {word} of {tensor.name!r} is for {', '.join(wanted.types)}, not for {type_}",
            hint=f"Write {tensor.name}:{wanted.types[0]}:{word}, or take another format.",
        )
    if rank < wanted.rank:
        raise InvalidSpecError(
            f"format {word} needs {wanted.rank} dimensions, and {tensor} has {rank}",
            hint="Take chw, the format without vectors.",
        )


def why_not_io_formats(
    toolchain: ToolchainDescription,
    model: Model,
    precision: str,
    wanted: Mapping[str, str],
    *,
    is_calibrated: bool,
) -> str:
    """Why a toolchain can not give inputs and outputs these types and formats; empty if it can.

    Args:
        toolchain: what would build.
        model: to be built.
        precision: of the cell.
        wanted: canonical (`canonical_io_formats`).
        is_calibrated: whether the cell's ranges come from samples.
    """
    tensors = {tensor.name: tensor for tensor in (*model.inputs, *model.outputs)}
    for name, text in wanted.items():
        parsed, own = IoFormat.parse(text), type_word(tensors[name])
        if not toolchain.io_formats:
            return f"{toolchain.id} has no I/O formats: {name!r} stays {own}:{LINEAR}"
        unknown = [word for word in parsed.formats if word not in toolchain.io_formats]
        if unknown:
            return f"{toolchain.id} has no format {unknown[0]} (it has {_listed(toolchain.io_formats)})"
        dla = [word for word in parsed.formats if FORMATS[word].needs_dla]
        if dla:
            return f"format {dla[0]} of {name!r} is read by a DLA alone, which the farm can not feed"
        if parsed.type != own and not toolchain.io_types:
            return (
                f"{toolchain.id} takes an input's or output's type from the model: {name!r} is {own}, not "
                f"{parsed.type}; export the model with that type, and give the format alone"
            )
        if parsed.type != own and parsed.type not in toolchain.io_types:
            return f"{toolchain.id} has no {parsed.type} inputs or outputs ({_listed(toolchain.io_types)})"
        if reason := _why_not_type(name, own, parsed.type, precision, is_calibrated=is_calibrated):
            return reason
    return ""


def _why_not_type(name: str, own: str, wanted: str, precision: str, *, is_calibrated: bool) -> str:
    """Why values of one type can not be fed or read as another, whatever builds; empty if they can."""
    if wanted == own or ("bool" not in (own, wanted) and (own in _FLOATS) == (wanted in _FLOATS)):
        return ""
    if wanted != "int8" or own not in _FLOATS:
        return f"{name!r} is {own}, and {wanted} holds other values: put a Cast into the model"
    if "int8" not in precision.split("+"):
        return f"{name!r} as int8 needs the scales of an INT8 build: precision int8 or int8+fp16"
    if not is_calibrated:
        return f"{name!r} as int8 needs the scales of a calibration, and the model has Q/DQ nodes of its own"
    return ""


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
