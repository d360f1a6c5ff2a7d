"""Samples that are arrays: a file for each with an array, or one per input, or an `.npy` with all of them."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.error_texts import why_unreadable
from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import shape_text
from workers.samples.images import UnreadableSampleError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from farm.domain.models import Tensor

_DAMAGED = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError)


def check_collectable(inputs: Sequence[Tensor]) -> None:
    """Refuses a model whose samples can not be put one after the other.

    Raises:
        InvalidSpecError: an input has no first dimension.
    """
    for tensor in inputs:
        if not tensor.shape:
            raise InvalidSpecError(
                f"input {tensor} has no batch, so samples can not be collected from files",
                hint="Give an .npz with an array per input.",
            )


def read_sample(path: Path, inputs: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    """One sample of every input, from an `.npz` with an array for each, or from an `.npy` for the only one.

    An array may have a first dimension of 1, the batch.

    Raises:
        UnreadableSampleError: it is no such file, or does not fit.
    """
    arrays = _arrays_of(path, inputs)
    found: dict[str, NDArray[Any]] = {}
    for tensor in inputs:
        if tensor.name not in arrays:
            raise UnreadableSampleError(f"it has no array for input {tensor}")
        array = arrays.pop(tensor.name)
        if array.ndim == len(tensor.shape) and array.shape[0] == 1:
            array = array[0]
        sizes_fit = array.ndim == len(tensor.shape) - 1 and all(
            size in (-1, given) for size, given in zip(tensor.shape[1:], array.shape, strict=True)
        )
        if not sizes_fit or array.dtype.name != tensor.dtype:
            raise UnreadableSampleError(
                f"its array {tensor.name!r} is {array.dtype.name} {shape_text(array.shape)}, and a sample of "
                f"{tensor} is wanted"
            )
        found[tensor.name] = array
    if arrays:
        raise UnreadableSampleError(f"its array {next(iter(arrays))!r} is no input")
    return found


def open_rows(path: Path, inputs: Sequence[Tensor]) -> Mapping[str, NDArray[Any]]:
    """All samples of an `.npy`, its first axis the samples; read from the disk as they are needed.

    Raises:
        InvalidSpecError: the model has several inputs, or the array does not fit.
    """
    if len(inputs) != 1:
        names = ", ".join(str(tensor) for tensor in inputs)
        raise InvalidSpecError(
            f"an .npy holds one array, and the model has several inputs: {names}",
            hint="Give an .npz with an array per input.",
        )
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except _DAMAGED as error:
        raise InvalidSpecError(f"not an .npy of a plain array: {path} ({why_unreadable(error)})") from error
    return {inputs[0].name: array}


def _arrays_of(path: Path, inputs: Sequence[Tensor]) -> dict[str, NDArray[Any]]:
    try:
        # Opened here: numpy leaves a damaged file open.
        with path.open("rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                return {name: loaded[name] for name in loaded.files}
    except _DAMAGED as error:
        raise UnreadableSampleError(why_unreadable(error)) from error
    if len(inputs) != 1:
        raise UnreadableSampleError(f"it holds one array, and the model has {len(inputs)} inputs")
    return {inputs[0].name: loaded}
