"""Calibration samples in batches, as every builder and converter takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import DYNAMIC, Shape, shape_text
from workers.arrays import check_inputs, random_inputs, read_arrays

if TYPE_CHECKING:
    from typing import Mapping

    from numpy.typing import NDArray

    from farm.domain.models import Tensor
    from farm.domain.shapes import ShapeRange
    from workers.toolchains.toolchain import CalibrationInput


def shape_of_batch(tensor: Tensor, profile: Mapping[str, ShapeRange], batch: int) -> Shape:
    """The shape of an input while calibrating: that of the profile's middle, with the calibration's batch.

    Raises:
        InvalidSpecError: the model's batch is fixed at another size.
    """
    if DYNAMIC not in tensor.shape:
        if tensor.shape and tensor.shape[0] != batch:
            raise InvalidSpecError(
                f"the model's batch is fixed at {tensor.shape[0]}: it can not be calibrated at {batch}",
                hint=f"Give --calibration-batch {tensor.shape[0]}.",
            )
        return tensor.shape
    opt = profile[tensor.name].opt
    return (batch, *opt[1:]) if tensor.shape[0] == DYNAMIC else opt


def batches_of(
    inputs: list[Tensor], shapes: Mapping[str, Shape], wanted: CalibrationInput
) -> list[dict[str, NDArray[Any]]]:
    """The samples in batches, an array per input each; what does not fill a batch is left out.

    Args:
        inputs: of the model.
        shapes: of a batch, by input.
        wanted: which samples, and how many.

    Raises:
        InvalidSpecError: the samples do not fit the model, or are fewer than a batch.
    """
    if wanted.data_path is None:
        count = wanted.samples // wanted.batch
        return [random_inputs(inputs, shapes, wanted.seed + number) for number in range(count)]
    types = {tensor.name: tensor.dtype for tensor in inputs}
    given = {name: _narrowed(name, array, types) for name, array in read_arrays(wanted.data_path).items()}
    arrays = check_inputs(given, inputs)
    samples = min(len(array) for array in arrays.values())
    if wanted.samples:
        samples = min(samples, wanted.samples)
    count = samples // wanted.batch
    if not count:
        raise InvalidSpecError(
            f"the calibration data holds {samples} sample(s), fewer than a batch of {wanted.batch}",
            hint="Give more samples, or a smaller --calibration-batch.",
        )
    for name, array in arrays.items():
        if array.shape[1:] != tuple(shapes[name])[1:]:
            raise InvalidSpecError(
                f"calibration array {name!r} has samples of {shape_text(array.shape[1:])}, and the engine "
                f"is calibrated at {shape_text(tuple(shapes[name])[1:])}",
                hint="The samples are to have the shapes that the engine is tuned for (--opt-shapes).",
            )
    step = wanted.batch
    return [
        {
            name: np.ascontiguousarray(array[number * step : (number + 1) * step])
            for name, array in arrays.items()
        }
        for number in range(count)
    ]


def _narrowed(name: str, array: NDArray[Any], types: Mapping[str, str]) -> NDArray[Any]:
    """Whole numbers in the type that the builder's network has: before TensorRT 10 a model's int64 is int32 there.

    Raises:
        InvalidSpecError: a number does not fit.
    """
    wanted = np.dtype(types[name]) if name in types and types[name].startswith("int") else array.dtype
    if array.dtype.kind != "i" or array.dtype == wanted or not array.size:
        return array
    limits = np.iinfo(wanted)
    if array.min() < limits.min or array.max() > limits.max:
        raise InvalidSpecError(
            f"calibration array {name!r} has numbers beyond {wanted}, which is what the builder takes"
        )
    return array.astype(wanted)
