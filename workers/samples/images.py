"""One image file as one sample. Pillow reads it; what it can not read is refused with its reason."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.error_texts import why_unreadable
from farm.domain.errors import InvalidRequestError
from farm.domain.images import COLORS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

    from farm.domain.images import ImagePreprocessing

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"})
#: Pillow's modes of gray with 16 bits, in either order of the bytes.
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
#: Modes whose range of values nobody knows.
_OPEN_RANGE = ("I", "F")
#: From 16 bits to the 0 to 255 that preprocessing is declared for: 65535 / 255.
_PER_STEP = np.float32(257)


class UnreadableSampleError(Exception):
    """A file that can not be read as a sample; the message says why."""


def require_pillow() -> None:
    """Refuses early where nothing can read images.

    Raises:
        InvalidRequestError: Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise InvalidRequestError(
            "images are read with Pillow, which is not installed",
            hint="pip install 'engine-farm[images]'; or give an .npz with an array per input.",
        ) from error


def read_image(path: Path, how: ImagePreprocessing, dtype: str) -> NDArray[Any]:
    """An image as a sample: its own rotation (EXIF) undone, resized, cropped, scaled, in the layout asked for.

    Args:
        path: of the file; of several frames the first is taken.
        how: what to do.
        dtype: numpy's name of the sample's element type.

    Raises:
        UnreadableSampleError: it is no image, is damaged, or does not have the size that it must have.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            # About metadata that nobody needs here.
            warnings.simplefilter("ignore")
            with Image.open(path) as opened:
                opened.load()
                channels = _in_colors(ImageOps.exif_transpose(opened), how.colors)
    except UnreadableSampleError:
        raise
    except Exception as error:  # Damaged files make Pillow's decoders raise nearly anything.
        raise UnreadableSampleError(_reason(error)) from error
    pixels: NDArray[np.float32] = np.stack(
        [np.asarray(channel, np.float32) for channel in _resized(channels, how)], axis=-1
    )
    if channels[0].mode == "F":
        pixels /= _PER_STEP
    if how.colors == "bgr":
        pixels = pixels[..., ::-1]
    if pixels.shape[-1] < COLORS[how.colors]:
        pixels = np.repeat(pixels, COLORS[how.colors], axis=-1)
    values: NDArray[Any] = pixels * np.float32(how.scale)
    values = (values - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)
    if how.layout == "nchw":
        values = values.transpose(2, 0, 1)
    if dtype == "uint8":
        values = np.clip(np.rint(values), 0, 255)
    return np.ascontiguousarray(values, dtype=np.dtype(dtype))


def _in_colors(image: Picture, colors: str) -> list[Picture]:
    """The channels of an image: one in floats for 16 bits of gray, else as many as the colours have."""
    if image.mode in _SIXTEEN_BITS:
        # Numpy knows both orders of the bytes; what Pillow can do with these modes changes between its releases.
        from PIL import Image

        return [Image.fromarray(np.asarray(image).astype(np.float32))]
    if image.mode in _OPEN_RANGE:
        raise UnreadableSampleError(
            f"its pixels are of mode {image.mode}, so nobody knows which value is white; give an .npy"
        )
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return list(image.convert("L" if colors == "gray" else "RGB").split())


def _resized(channels: list[Picture], how: ImagePreprocessing) -> list[Picture]:
    from PIL import Image

    width, height = channels[0].size
    if how.resize == "stretch":
        wanted = (how.width, how.height)
    elif how.resize == "shorter-side":
        ratio = how.shorter / min(width, height)
        wanted = (max(how.shorter, round(width * ratio)), max(how.shorter, round(height * ratio)))
    elif how.resize == "letterbox":
        ratio = min(how.width / width, how.height / height)
        wanted = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    else:
        wanted = (width, height)
    if wanted != (width, height):
        channels = [channel.resize(wanted, Image.Resampling.BILINEAR) for channel in channels]
    if how.resize == "letterbox":
        return [_padded(channel, how) for channel in channels]
    return [_cropped(channel, how) for channel in channels]


def _padded(channel: Picture, how: ImagePreprocessing) -> Picture:
    from PIL import Image

    grey = how.padding * float(_PER_STEP) if channel.mode == "F" else how.padding
    whole = Image.new(channel.mode, (how.width, how.height), grey)
    whole.paste(channel, ((how.width - channel.width) // 2, (how.height - channel.height) // 2))
    return whole


def _cropped(channel: Picture, how: ImagePreprocessing) -> Picture:
    if channel.size == (how.width, how.height):
        return channel
    if not how.crop or channel.width < how.width or channel.height < how.height:
        raise UnreadableSampleError(
            f"it is {channel.height}x{channel.width}, and {how.height}x{how.width} is wanted without "
            + ("enlarging" if how.crop else "resizing")
        )
    left, top = (channel.width - how.width) // 2, (channel.height - how.height) // 2
    return channel.crop((left, top, left + how.width, top + how.height))


def _reason(error: Exception) -> str:
    text = why_unreadable(error)
    return "it is no image that Pillow knows" if "cannot identify image file" in text else text
