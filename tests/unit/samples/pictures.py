"""Images made for a test, inputs that take them, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from farm.domain.images import ImagePreprocessing, preprocessing_for
from farm.domain.models import Model, Tensor
from tests.factories import a_model
from workers.arrays import check_inputs, read_arrays
from workers.samples.prepare import PreparedSamples, SampleWish, prepare_samples

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: For every pixel another colour, so that nothing can be swapped unnoticed.
COLOURS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def rgb_input(*, height: int = 4, width: int = 6, dtype: str = "float32", batch: int = -1) -> Tensor:
    """An input of colour images, channels first."""
    return Tensor("image", dtype, (batch, 3, height, width))


def gray_input(height: int = 4, width: int = 6) -> Tensor:
    return Tensor("image", "float32", (-1, 1, height, width))


def saved(path: Path, pixels: NDArray[Any] = COLOURS, **how: Any) -> Path:
    """An image file of some pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


def declared(tensor: Tensor, **words: Any) -> ImagePreprocessing:
    """Preprocessing in the user's words, of pixels as they are unless the words say more."""
    return preprocessing_for({"scale": 1, **words}, tensor)


def model_of(*inputs: Tensor) -> Model:
    """A model of which only the inputs matter."""
    return a_model(inputs=inputs)


def made(path: Path, *inputs: Tensor, **wish: Any) -> PreparedSamples:
    """What becomes of a path; the file lies beside it."""
    target = path.parent / f"{path.name}.made.npz"
    found = prepare_samples(
        SampleWish(path, **wish), model_of(*(inputs or (gray_input(),))), target, lambda _done, _total: None
    )
    check_inputs(read_arrays(target), inputs or (gray_input(),))
    return found


def arrays_of(path: Path, *inputs: Tensor, **wish: Any) -> dict[str, Any]:
    """The arrays that become of a path."""
    return read_arrays(made(path, *inputs, **wish).path)
