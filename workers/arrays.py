"""Inputs and outputs as arrays: reading them, making them, and running them in chunks."""

from __future__ import annotations

import zipfile
import zlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Callable, Collection, Mapping, Sequence

import numpy as np

from farm.domain.error_texts import why_unreadable
from farm.domain.errors import InvalidSpecError
from farm.domain.input_ranges import MASK
from farm.domain.shapes import shape_text
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from farm.domain.input_ranges import InputRange
    from farm.domain.models import Tensor
    from farm.domain.shapes import Shape

#: The array of an inputs file that holds class labels, of samples or of pixels, instead of an input.
LABELS = "labels"
#: Before the name of an output: such an array is what the engine is to compute for these inputs.
GOLDEN = "outputs/"


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz`, without ever unpickling.

    Raises:
        InvalidSpecError: the file is not an `.npz` of plain arrays.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (
        ValueError,
        OSError,
        # What a lone array, an `.npy`, raises as a context manager: one in Python 3.10, the other since.
        AttributeError,
        TypeError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InvalidSpecError(
            f"not an .npz file of plain arrays: {path} ({why_unreadable(error)})"
        ) from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes an `.npz`, the inverse of `read_arrays`.

    Names may be any: numpy's own writer takes them as keyword arguments, so that none can be called `file`.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def with_values(
    arrays: Mapping[str, NDArray[Any]], values: Mapping[str, Sequence[int]], inputs: Sequence[Tensor]
) -> dict[str, NDArray[Any]]:
    """The arrays, and beside them the inputs that hold a shape, as far as they are not among them."""
    wanted = {tensor.name: tensor for tensor in inputs if tensor.name in values and tensor.name not in arrays}
    made = {
        name: np.array(values[name], dtype=tensor.dtype).reshape(tensor.shape)
        for name, tensor in wanted.items()
    }
    return {**arrays, **made}


def check_inputs(
    arrays: Mapping[str, NDArray[Any]], inputs: Sequence[Tensor], *, any_type: bool = False
) -> dict[str, NDArray[Any]]:
    """The arrays of the inputs alone, each of the input's element type and shape.

    Args:
        arrays: by name.
        inputs: of the model or of the engine.
        any_type: whether element types are left to the engine, which may have others than the model.

    Raises:
        InvalidSpecError: one is missing, unknown, or does not fit.
    """
    wanted = {tensor.name: tensor for tensor in inputs}
    for name in arrays:
        if name not in wanted and name != LABELS and not name.startswith(GOLDEN):
            raise InvalidSpecError(
                f"the inputs file has an array {name!r} that is no input", hint=did_you_mean(name, wanted)
            )
    for name, tensor in wanted.items():
        if name not in arrays:
            raise InvalidSpecError(f"the inputs file has no array for input {tensor}")
        found = arrays[name]
        sizes_fit = len(found.shape) == len(tensor.shape) and all(
            size in (-1, given) or (axis == 0 and given % size == 0)
            for axis, (size, given) in enumerate(zip(tensor.shape, found.shape))
        )
        if (found.dtype.name != tensor.dtype and not any_type) or not sizes_fit:
            raise InvalidSpecError(
                f"array {name!r} is {found.dtype.name} {shape_text(found.shape)}, "
                f"which does not fit input {tensor}",
                hint=_batch_hint(tensor, found.shape),
            )
        if 0 in found.shape:
            raise InvalidSpecError(f"array {name!r} holds no samples: {shape_text(found.shape)}")
    if LABELS in arrays and LABELS not in wanted:
        counts = {len(arrays[name]) for name in wanted if arrays[name].ndim}
        # One class for each sample, or a map of classes.
        if arrays[LABELS].ndim not in (1, 3) or counts != {len(arrays[LABELS])}:
            raise InvalidSpecError(
                f"{arrays[LABELS].size} labels do not fit {' or '.join(map(str, sorted(counts))) or 'no'} samples",
                hint="`labels` holds one class number per sample, or one per pixel (N, H, W).",
            )
    return {name: arrays[name] for name in wanted}


def _batch_hint(tensor: Tensor, given: Shape) -> str:
    """What to do where nothing but the number of samples does not fit."""
    if tensor.shape[1:] != given[1:] or not tensor.shape or len(tensor.shape) != len(given):
        return ""
    return (
        f"The model's batch is fixed at {tensor.shape[0]}: give a multiple of so many samples, or export it with a "
        "dynamic batch dimension."
    )


def golden_outputs(
    arrays: Mapping[str, NDArray[Any]], inputs: Collection[str] = ()
) -> dict[str, NDArray[Any]]:
    """What an engine is to compute for the arrays, by the names of outputs; nothing if nobody says.

    Args:
        arrays: of an inputs file.
        inputs: names of inputs, none of which is an output, whatever it is called.
    """
    return {
        name[len(GOLDEN) :]: array
        for name, array in arrays.items()
        if name.startswith(GOLDEN) and name not in inputs
    }


def check_golden(
    arrays: Mapping[str, NDArray[Any]], inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> bool:
    """Whether an inputs file says what is to be computed, and then for every output that is known.

    Raises:
        InvalidSpecError: an output is missing, unknown, or does not fit.
    """
    golden = golden_outputs(arrays, {tensor.name for tensor in inputs})
    wanted = {tensor.name: tensor for tensor in outputs}
    for name in golden if wanted else ():
        if name not in wanted:
            raise InvalidSpecError(
                f"the inputs file has an array {GOLDEN + name!r}, and the model has no such output",
                hint=did_you_mean(name, wanted),
            )
    for name, tensor in wanted.items() if golden else ():
        if name not in golden:
            raise InvalidSpecError(f"the inputs file has outputs, and none for {tensor}")
        # How many samples there are is the inputs' affair.
        shape, found = tensor.shape, golden[name].shape
        if len(shape) != len(found) or any(
            size not in (-1, given) for size, given in zip(shape[1:], found[1:])
        ):
            raise InvalidSpecError(
                f"array {GOLDEN + name!r} is {shape_text(found)}, which does not fit output {tensor}"
            )
    return bool(golden)


def random_inputs(
    inputs: Sequence[Tensor],
    shapes: Mapping[str, Shape],
    seed: int,
    ranges: Mapping[str, InputRange] = MappingProxyType({}),
) -> dict[str, NDArray[Any]]:
    """Seeded random inputs: standard normal floats, integers 0 and 1, booleans of both kinds.

    Integers stay at 0 and 1 where nothing is known of their range: as indices, counts and masks
    these are nearly always valid. In a mask the first element of every row counts; no integers or booleans
    are zeros alone.

    Args:
        inputs: to be fed.
        shapes: by name.
        seed: of the generator.
        ranges: of inputs whose range is known, by name: floats are even within it, integers have both ends.

    Raises:
        InvalidSpecError: an element type can not be drawn.
    """
    draw = np.random.default_rng(seed)
    arrays: dict[str, NDArray[Any]] = {}
    for tensor in inputs:
        shape = shapes[tensor.name]
        kind = tensor.dtype
        if tensor.name in ranges and kind != "bool":
            arrays[tensor.name] = _within(draw, ranges[tensor.name], shape, kind)
        elif kind == "bfloat16":
            # numpy has no such arrays; an engine takes floats and rounds them.
            arrays[tensor.name] = draw.standard_normal(shape, dtype=np.float32)
        elif kind.startswith("float"):
            arrays[tensor.name] = draw.standard_normal(shape, dtype=np.float32).astype(kind)
        elif kind == "bool":
            arrays[tensor.name] = draw.integers(0, 2, shape).astype(bool)
        elif kind.startswith(("int", "uint")):
            arrays[tensor.name] = draw.integers(0, 2, shape).astype(kind)
        else:
            raise InvalidSpecError(
                f"no random values can be drawn for input {tensor}", hint="Give --inputs data.npz."
            )
        if not kind.startswith(("float", "bfloat")):
            _not_all_zeros(arrays[tensor.name], tensor.name, ranges.get(tensor.name))
    return arrays


def _within(draw: np.random.Generator, span: InputRange, shape: Shape, kind: str) -> NDArray[Any]:
    if kind.startswith(("int", "uint")):
        return draw.integers(int(span.low), int(span.high), shape, endpoint=True).astype(kind)
    floats = draw.uniform(span.low, span.high, shape)
    return np.asarray(floats, dtype=np.float32 if kind == "bfloat16" else kind)


def _not_all_zeros(array: NDArray[Any], name: str, span: InputRange | None) -> None:
    if MASK in name.lower() and array.ndim > 1 and array.size and array.min() == 0 and array.max() <= 1:
        # A row that masks everything makes NaN of a softmax.
        array[..., 0] = 1
    elif array.size and not array.any():
        array[(0,) * array.ndim] = 1 if span is None else int(span.high) or int(span.low)


def run_in_chunks(
    infer: Callable[[Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]],
    arrays: Mapping[str, NDArray[Any]],
    shapes: Mapping[str, Shape],
    progress: Callable[[float, str], None] = lambda _fraction, _message: None,
    *,
    whole: Collection[str] = (),
) -> dict[str, NDArray[Any]]:
    """Runs all samples through an engine, as many at a time as `shapes` has in its first dimension.

    Inputs that are one call as they are (or that share no first dimension) run once. The last chunk
    is filled up with its own last sample and the surplus cut off, so that a fixed batch works too. Inputs that
    are named in `whole` hold no samples and go into every call as they are.
    """
    sampled = {name: array for name, array in arrays.items() if array.ndim and name not in whole}
    counts = {len(array) for array in sampled.values()}
    chunks = {shapes[name][0] for name in sampled if shapes[name]}
    if len(counts) != 1 or len(chunks) != 1 or counts == chunks:
        return infer(arrays)
    (count,), (chunk,) = counts, chunks
    pieces: list[dict[str, NDArray[Any]]] = []
    for start in range(0, count, chunk):
        rows = np.minimum(np.arange(start, start + chunk), count - 1)
        pieces.append(infer({**arrays, **{name: array[rows] for name, array in sampled.items()}}))
        progress(min(1.0, (start + chunk) / count), f"{min(start + chunk, count)} of {count} samples")
    return {
        name: np.concatenate([piece[name] for piece in pieces])[:count]
        if pieces[0][name].ndim
        else pieces[0][name]
        for name in pieces[0]
    }
