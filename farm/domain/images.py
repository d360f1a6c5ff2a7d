"""How images become samples of a model: declared by the user, the rest following from the model's input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Tuple

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import DYNAMIC, Shape, parse_shape
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from farm.domain.models import Tensor

#: The keys of a spec file's `images`, each an option `--image-…`.
KEYS = ("size", "resize", "crop", "scale", "mean", "std", "layout", "colors")
RESIZES = ("stretch", "shorter-side", "letterbox", "none")
CROPS = ("center", "none")
LAYOUTS = ("nchw", "nhwc")
#: Channels of each order.
COLORS = {"rgb": 3, "bgr": 3, "gray": 1}
#: A size in words is that of an image: height times width, as shapes have it.
_EXAMPLE_SIZE = "224x224"
#: In a shape without its batch the axes of channels, height and width.
_AXES = {"nchw": (0, 1, 2), "nhwc": (2, 0, 1)}
_WHITE = 255


@dataclass(frozen=True)
class ImagePreprocessing:
    """What is done to every image: resized, cropped, then `(pixel * scale - mean) / std` with pixels of 0 to 255.

    Attributes:
        height: of the sample, in pixels.
        width: of the sample, in pixels.
        resize: `stretch` to the size; `shorter-side` to `shorter` pixels, keeping the proportions; `letterbox`
            into the size, keeping the proportions, with grey around it; `none` where images have the size.
        shorter: what the shorter side comes to; 0 where that is not asked for.
        padding: the grey around a letterboxed image, 0 to 255.
        crop: whether the middle is cut out of what is bigger than the size.
        scale: each pixel times this.
        mean: taken away after that, one for each channel in the order of `colors`, or one for all.
        std: divided by after that, likewise.
        layout: `nchw` or `nhwc`.
        colors: order of the channels: `rgb`, `bgr` or `gray`.
    """

    height: int
    width: int
    resize: str = "stretch"
    shorter: int = 0
    padding: int = 0
    crop: bool = False
    scale: float = 1 / _WHITE
    mean: Tuple[float, ...] = (0.0,)
    std: Tuple[float, ...] = (1.0,)
    layout: str = "nchw"
    colors: str = "rgb"

    def as_json(self) -> dict[str, Any]:
        """For the submission's record."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std), "filter": "bilinear"}

    def __str__(self) -> str:
        """In one line, for people."""
        how = {"shorter-side": f"shorter-side:{self.shorter}", "letterbox": f"letterbox:{self.padding}"}
        words = [f"{self.height}x{self.width} {self.colors} {self.layout}", how.get(self.resize, self.resize)]
        words += ["crop center"] if self.crop else []
        words += [f"scale {_number_text(self.scale)}"] if self.scale != 1 else []
        words += [f"mean {_numbers_text(self.mean)}"] if any(self.mean) else []
        words += [f"std {_numbers_text(self.std)}"] if any(value != 1 for value in self.std) else []
        return ", ".join(words)


def image_input(inputs: Sequence[Tensor]) -> Tensor:
    """The one input of a model that takes images.

    Raises:
        InvalidSpecError: it has several inputs, or one that takes no images.
    """
    hint = "Give an .npz with an array per input, or a folder of .npy or .npz files, one for each sample."
    if len(inputs) != 1:
        names = ", ".join(str(tensor) for tensor in inputs)
        raise InvalidSpecError(f"images fit a model with one input, and this one has: {names}", hint=hint)
    (tensor,) = inputs
    if len(tensor.shape) != 4:
        raise InvalidSpecError(f"input {tensor} takes no images: they have four dimensions", hint=hint)
    if tensor.dtype not in ("float32", "float16", "uint8"):
        raise InvalidSpecError(
            f"input {tensor} takes no images: pixels are float32, float16 or uint8", hint=hint
        )
    return tensor


def preprocessing_for(
    words: Mapping[str, Any], tensor: Tensor, opt_shape: Optional[Shape] = None
) -> ImagePreprocessing:
    """What a user declared, and the rest from the input's sizes.

    Args:
        words: by `KEYS`, as texts or as YAML has them.
        tensor: the model's input.
        opt_shape: the shape of it that the engine is tuned for, if anybody said; for sizes that the model leaves open.

    Raises:
        InvalidSpecError: a word means nothing, or does not fit the input or another one.
    """
    for key in words:
        if key not in KEYS:
            raise InvalidSpecError(f"images: unknown key {key!r}", hint=did_you_mean(str(key), KEYS))
    shape = tuple(
        opt if size == DYNAMIC and opt_shape is not None else size
        for size, opt in zip(tensor.shape, opt_shape or tensor.shape)
    )[1:]
    layout = _layout(words, tensor, shape)
    channels, height, width = (shape[axis] for axis in _AXES[layout])
    colors = _colors(words, tensor, channels)
    height, width = _size(words, tensor, height, width)
    resize, shorter, padding = _resize(words, height, width)
    crop = _choice(words, "crop", CROPS, "center" if resize == "shorter-side" else "none") == "center"
    if crop and resize in ("stretch", "letterbox"):
        raise InvalidSpecError(
            f"--image-crop has nothing to cut off after --image-resize {resize}",
            hint="It goes with --image-resize shorter-side or none.",
        )
    if resize == "shorter-side" and shorter < min(height, width):
        raise InvalidSpecError(f"a shorter side of {shorter} pixels is less than the size, {height}x{width}")
    is_float = tensor.dtype.startswith("float")
    return ImagePreprocessing(
        height,
        width,
        resize,
        shorter,
        padding,
        crop,
        _numbers(words, "scale", 1, (1 / _WHITE if is_float else 1.0,))[0],
        _numbers(words, "mean", COLORS[colors], (0.0,)),
        _numbers(words, "std", COLORS[colors], (1.0,)),
        layout,
        colors,
    )


def _layout(words: Mapping[str, Any], tensor: Tensor, shape: Shape) -> str:
    known = tuple(COLORS.values())
    if shape[0] in known and shape[2] not in known:
        usual = "nchw"
    elif shape[2] in known and shape[0] not in known:
        usual = "nhwc"
    else:
        usual = ""
    layout = _choice(words, "layout", LAYOUTS, usual)
    if not layout:
        raise InvalidSpecError(
            f"input {tensor} does not tell where its channels are", hint="Give --image-layout nchw or nhwc."
        )
    return layout


def _colors(words: Mapping[str, Any], tensor: Tensor, channels: int) -> str:
    usual = {1: "gray", 3: "rgb"}.get(channels, "")
    colors = _choice(words, "colors", tuple(COLORS), usual)
    if not colors and channels == DYNAMIC:
        raise InvalidSpecError(
            f"input {tensor} leaves its channels open", hint="Give --image-colors rgb, bgr or gray."
        )
    if not colors or channels not in (DYNAMIC, COLORS[colors]):
        have = f"{colors} has {COLORS[colors]}" if colors else "images are made with 1 or 3"
        raise InvalidSpecError(
            f"input {tensor} has {channels} channels, and {have}",
            hint="Give an .npz, or a folder of .npy files, one for each sample.",
        )
    return colors


def _size(words: Mapping[str, Any], tensor: Tensor, height: int, width: int) -> Tuple[int, int]:
    if words.get("size") in (None, ""):
        if DYNAMIC in (height, width):
            raise InvalidSpecError(
                f"input {tensor} leaves the size of images open",
                hint=f"Give --image-size {_EXAMPLE_SIZE}, height times width.",
            )
        return height, width
    given = words["size"]
    text = "x".join(map(str, given)) if isinstance(given, (list, tuple)) else str(given)
    sizes = parse_shape(text)
    if len(sizes) != 2 or min(sizes) < 1:
        raise InvalidSpecError(
            f"not a size of images: {text!r}", hint=f"Such as {_EXAMPLE_SIZE}, height times width."
        )
    if height not in (DYNAMIC, sizes[0]) or width not in (DYNAMIC, sizes[1]):
        raise InvalidSpecError(f"images of {text} do not fit input {tensor}: it wants {height}x{width}")
    return sizes[0], sizes[1]


def _resize(words: Mapping[str, Any], height: int, width: int) -> Tuple[str, int, int]:
    text = str(words.get("resize") or "stretch").lower()
    word, colon, number = text.partition(":")
    resize = _choice({"resize": word}, "resize", RESIZES, "stretch")
    if not colon:
        return resize, min(height, width) if resize == "shorter-side" else 0, 0
    if resize not in ("shorter-side", "letterbox") or not number.isdecimal():
        raise InvalidSpecError(
            f"not a way to resize: {text!r}",
            hint="Such as shorter-side:256 in pixels, or letterbox:114 in grey.",
        )
    if resize == "letterbox" and int(number) > _WHITE:
        raise InvalidSpecError(f"grey is 0 to {_WHITE}, not {number}")
    return (resize, int(number), 0) if resize == "shorter-side" else (resize, 0, int(number))


def _choice(words: Mapping[str, Any], key: str, known: Sequence[str], usual: str) -> str:
    given = words.get(key)
    word = usual if given in (None, "") else str(given).lower()
    if word and word not in known:
        raise InvalidSpecError(f"images: unknown {key} {word!r}", hint=did_you_mean(word, known))
    return word


def _numbers(
    words: Mapping[str, Any], key: str, channels: int, usual: Tuple[float, ...]
) -> Tuple[float, ...]:
    given = words.get(key)
    if given in (None, ""):
        return usual
    parts = given if isinstance(given, (list, tuple)) else str(given).split(",")
    try:
        found = tuple(float(Fraction(str(part).strip())) for part in parts)
    except (ValueError, ZeroDivisionError):
        raise InvalidSpecError(
            f"images: {key} is no number: {given!r}", hint="Such as 0.485 or 1/255."
        ) from None
    if len(found) not in (1, channels):
        raise InvalidSpecError(f"images: {key} has {len(found)} numbers, and there are {channels} channels")
    if key != "mean" and 0 in found:
        raise InvalidSpecError(f"images: {key} must not be 0")
    return found


def _number_text(value: float) -> str:
    inverse = 1 / value
    return f"1/{inverse:.0f}" if value < 1 and abs(inverse - round(inverse)) < 1e-9 else f"{value:g}"


def _numbers_text(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)
