"""Arrays on their way into and out of an engine: element types, checks, casts. No device needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.errors import BuildError, InvalidSpecError
from farm.domain.io_formats import LINEAR
from farm.domain.models import Tensor
from farm.domain.shapes import DYNAMIC, Shape, ShapeRange, shape_text
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

#: numpy's names of TensorRT's element types, by the names of `trt.DataType`. TensorRT's own
#: `trt.nptype` fails with a newer numpy on 8.5, and knows no bfloat16.
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}


@dataclass(frozen=True)
class EngineTensor:
    """An input or output of an engine.

    Attributes:
        name: its name in the graph.
        dtype: numpy's name of the element type, or `bfloat16`.
        shape: sizes; -1 is a dynamic dimension.
        is_input: whether it is fed.
        on_host: whether the engine reads or writes it in host memory, as it does with shapes.
        ranges: for an input, its range of shapes in each optimization profile.
        value_ranges: for an input that holds a shape, its range of values in each.
        formats: its memory format in each optimization profile, in the farm's words; empty for rows everywhere.
        scale: of an int8 tensor whose model has floats there, what one step is worth; 0 if there is none.
    """

    name: str
    dtype: str
    shape: Shape
    is_input: bool
    on_host: bool = False
    ranges: tuple[ShapeRange, ...] = ()
    value_ranges: tuple[ShapeRange, ...] = ()
    formats: tuple[str, ...] = ()
    scale: float = 0.0

    def format_in(self, profile: int) -> str:
        """The memory format in an optimization profile."""
        return self.formats[profile] if self.formats else LINEAR

    @property
    def storage(self) -> str:
        """The numpy type whose arrays hold its bytes: bfloat16, which numpy lacks, as `uint16`."""
        return "uint16" if self.dtype == "bfloat16" else self.dtype

    def as_tensor(self) -> Tensor:
        """What the farm calls it."""
        return Tensor(self.name, self.dtype, self.shape)


def dtype_name(trt_type: Any) -> str:
    """The name that numpy has for a TensorRT element type.

    Raises:
        BuildError: numpy and the farm have no such arrays.
    """
    name = str(trt_type).rsplit(".", 1)[-1]
    if name not in _DTYPES:
        raise BuildError(
            f"the engine has an input or output of type {name}, which the farm can not feed or read",
            hint="Add casts to the model, so that inputs and outputs are float, half, bfloat16, bool or integers.",
        )
    return _DTYPES[name]


def prepare(tensors: Sequence[EngineTensor], given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The caller's arrays as the engine wants them: all there, of the right types, contiguous.

    Casts follow numpy's `same_kind` rule, so that int64, which TensorRT 8 turns into int32, and
    float64 are taken; integers that do not fit are refused rather than wrapped.

    Raises:
        InvalidSpecError: an array is missing, unknown, or of another type or rank.
    """
    wanted = {tensor.name: tensor for tensor in tensors if tensor.is_input}
    for name in given:
        if name not in wanted:
            raise InvalidSpecError(f"the engine has no input {name!r}", hint=did_you_mean(name, wanted))
    arrays = {}
    for name, tensor in wanted.items():
        if name not in given:
            raise InvalidSpecError(f"input {tensor.as_tensor()} is missing")
        array = np.asarray(given[name])
        if len(array.shape) != len(tensor.shape) or any(
            size not in (DYNAMIC, at) for size, at in zip(tensor.shape, array.shape, strict=True)
        ):
            raise InvalidSpecError(f"shape {shape_text(array.shape)} does not fit input {tensor.as_tensor()}")
        # Not `np.ascontiguousarray` alone, which makes a scalar one-dimensional.
        arrays[name] = np.ascontiguousarray(_cast(tensor, array)).reshape(array.shape)
    return arrays


def choose_profile(tensors: Sequence[EngineTensor], arrays: Mapping[str, NDArray[Any]]) -> int:
    """The optimization profile that takes these arrays; 0 for a static engine.

    Of several the one whose opt shapes are nearest; of those the first.

    Raises:
        InvalidSpecError: none does.
    """
    ranged = [tensor for tensor in tensors if tensor.is_input and tensor.ranges]
    valued = [tensor for tensor in tensors if tensor.is_input and tensor.value_ranges]
    count = max((len(tensor.ranges or tensor.value_ranges) for tensor in (*ranged, *valued)), default=1)
    fitting = [
        (sum(tensor.ranges[index].distance(arrays[tensor.name].shape) for tensor in ranged), index)
        for index in range(count)
        if all(tensor.ranges[index].contains(arrays[tensor.name].shape) for tensor in ranged)
        and all(_holds(tensor.value_ranges[index], arrays[tensor.name]) for tensor in valued)
    ]
    if fitting:
        return min(fitting)[1]
    for tensor in valued:
        held = _values(arrays[tensor.name])
        if not any(_holds(span, arrays[tensor.name]) for span in tensor.value_ranges):
            spans = " or ".join(
                f"{shape_text(span.min)} to {shape_text(span.max)}" for span in tensor.value_ranges
            )
            raise InvalidSpecError(
                f"values {shape_text(held)} of input {tensor.name!r} are outside the engine's profile: {spans}"
            )
    for tensor in ranged:
        shape = arrays[tensor.name].shape
        if not any(span.contains(shape) for span in tensor.ranges):
            spans = " or ".join(f"{shape_text(span.min)} to {shape_text(span.max)}" for span in tensor.ranges)
            raise InvalidSpecError(
                f"shape {shape_text(shape)} of input {tensor.name!r} is outside the engine's profile: {spans}"
            )
    raise InvalidSpecError("no single optimization profile of the engine takes these shapes together")


def _holds(span: ShapeRange, array: NDArray[Any]) -> bool:
    """Whether values lie in a range, as far as the engine tells it: TensorRT 8.6 tells of a vector's first value only (measured)."""
    return span.contains(_values(array)[: len(span.min)])


def _values(array: NDArray[Any]) -> Shape:
    return tuple(int(value) for value in array.ravel())


def as_caller_sees(tensor: EngineTensor, array: NDArray[Any]) -> NDArray[Any]:
    """A copy of an output that outlives the buffers: bfloat16 as float32, which holds it exactly, so int8 with a scale."""
    if tensor.scale:
        scaled: NDArray[Any] = array.astype(np.float32) * np.float32(tensor.scale)
        return scaled
    if tensor.dtype == "bfloat16":
        bits = np.ascontiguousarray(array).astype(np.uint32) << np.uint32(16)
        floats: NDArray[Any] = bits.view(np.float32).reshape(array.shape)
        return floats
    copied: NDArray[Any] = array.copy()
    return copied


def _cast(tensor: EngineTensor, array: NDArray[Any]) -> NDArray[Any]:
    if tensor.dtype == "bfloat16":
        return _to_bfloat16(tensor, array)
    dtype = np.dtype(tensor.dtype)
    if array.dtype == dtype:
        return array
    if tensor.scale and array.dtype.kind == "f":
        steps = np.rint(array.astype(np.float32) / np.float32(tensor.scale))
        stepped: NDArray[Any] = np.clip(steps, -128, 127).astype(dtype)
        return stepped
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise InvalidSpecError(f"an array of {array.dtype} does not fit input {tensor.as_tensor()}")
    if dtype.kind in "iu" and array.size:
        info = np.iinfo(dtype)
        if int(array.min()) < info.min or int(array.max()) > info.max:
            raise InvalidSpecError(
                f"input {tensor.name!r} has values beyond {dtype}, which is what the engine takes"
            )
    return array.astype(dtype)


def _to_bfloat16(tensor: EngineTensor, array: NDArray[Any]) -> NDArray[Any]:
    """The bits of bfloat16: taken as they are from uint16, rounded to nearest even from floats."""
    if array.dtype == np.uint16:
        return array
    if array.dtype.kind != "f" and array.dtype.name != "bfloat16":
        raise InvalidSpecError(f"an array of {array.dtype} does not fit input {tensor.as_tensor()}")
    floats = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
    bits = floats.view(np.uint32)
    rounded = ((bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    quiet = ((bits >> 16) | 0x40).astype(np.uint16)  # rounding could turn a NaN into infinity
    chosen: NDArray[Any] = np.where(np.isnan(floats), quiet, rounded).astype(np.uint16)
    return chosen
