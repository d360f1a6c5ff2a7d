"""Memory formats of TensorRT as numpy arrays: from the rows that everybody has to vectors of channels, and back.

The layouts are those of `TensorFormat` in NVIDIA's NvInferRuntime.h. Channels are the third dimension from the end
(the fourth for formats of volumes); those that a vector has too many of are filled with zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from farm.domain.errors import BuildError
from farm.domain.io_formats import FORMATS, LINEAR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm.domain.shapes import Shape


class _Layout(NamedTuple):
    """Where the channels go.

    Attributes:
        axis: of the channels, counted from the end.
        vector: channels that lie side by side; 1 for all of them, without filling up.
        is_minor: whether all channels of a place lie side by side, rather than vector after vector.
    """

    axis: int
    vector: int
    is_minor: bool


_LAYOUTS = {
    "chw2": _Layout(3, 2, is_minor=False),
    "chw4": _Layout(3, 4, is_minor=False),
    "chw16": _Layout(3, 16, is_minor=False),
    "chw32": _Layout(3, 32, is_minor=False),
    "cdhw32": _Layout(4, 32, is_minor=False),
    "hwc": _Layout(3, 1, is_minor=True),
    "hwc8": _Layout(3, 8, is_minor=True),
    "hwc16": _Layout(3, 16, is_minor=True),
    "dhwc": _Layout(4, 1, is_minor=True),
    "dhwc8": _Layout(4, 8, is_minor=True),
}
_WORDS = {known.trt_name: word for word, known in FORMATS.items()}


def layout_word(trt_format: Any) -> str:
    """The farm's word for a member of TensorRT's `TensorFormat`.

    Raises:
        BuildError: the farm can not feed or read arrays of that format.
    """
    name = str(trt_format).rsplit(".", 1)[-1]
    word = _WORDS.get(name, "")
    if word != LINEAR and word not in _LAYOUTS:
        raise BuildError(
            f"the engine has an input or output of format {name}, which the farm can not feed or read"
        )
    return word


def packed_shape(word: str, shape: Shape) -> Shape:
    """The shape of the array that lies in memory, for a tensor of some shape."""
    if word == LINEAR:
        return shape
    layout = _LAYOUTS[word]
    at = len(shape) - layout.axis
    before, channels, rest = shape[:at], shape[at], shape[at + 1 :]
    vectors = -(-channels // layout.vector)
    if layout.is_minor:
        return (*before, *rest, vectors * layout.vector)
    return (*before, vectors, *rest, layout.vector)


def pack(word: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array as it lies in memory."""
    if word == LINEAR:
        return array
    layout = _LAYOUTS[word]
    at = array.ndim - layout.axis
    surplus = -array.shape[at] % layout.vector
    filled = np.pad(array, [(0, surplus if axis == at else 0) for axis in range(array.ndim)])
    if not layout.is_minor:
        vectors = filled.shape[at] // layout.vector
        filled = filled.reshape(*filled.shape[:at], vectors, layout.vector, *filled.shape[at + 1 :])
        at += 1
    return np.ascontiguousarray(np.moveaxis(filled, at, -1))


def unpack(word: str, packed: NDArray[Any], shape: Shape) -> NDArray[Any]:
    """The inverse of `pack`: the array of a tensor's own shape."""
    if word == LINEAR:
        return packed
    layout = _LAYOUTS[word]
    at = len(shape) - layout.axis
    if layout.is_minor:
        whole = np.moveaxis(packed, -1, at)
    else:
        apart = np.moveaxis(packed, -1, at + 1)
        channels = apart.shape[at] * layout.vector
        whole = apart.reshape(*shape[:at], channels, *shape[at + 1 :])
    return np.ascontiguousarray(np.take(whole, range(shape[at]), axis=at))
