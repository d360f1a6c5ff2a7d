"""An image becomes the sample that its preprocessing declares, whatever its file's format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from farm.domain.models import Tensor
from tests.unit.samples.pictures import COLOURS, declared, gray_input, rgb_input, saved
from workers.samples.images import UnreadableSampleError, read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CHANNELS_FIRST = COLOURS.transpose(2, 0, 1).astype(np.float32)


def read(path: Path, tensor: Tensor, **words: Any) -> NDArray[Any]:
    return read_image(path, declared(tensor, **words), tensor.dtype)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.tiff"])
def test_pixels_come_as_they_are_where_the_size_fits(tmp_path: Path, name: str) -> None:
    np.testing.assert_array_equal(read(saved(tmp_path / name), rgb_input()), CHANNELS_FIRST)


@pytest.mark.parametrize("name", ["a.jpg", "a.jpeg", "a.webp"])
def test_formats_that_lose_something_come_close(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, np.full((16, 16, 3), (200, 100, 50), np.uint8), quality=95)
    found = read(path, rgb_input(height=16, width=16))
    np.testing.assert_allclose(found[:, 8, 8], (200, 100, 50), atol=6)


def test_the_layout_and_the_order_of_the_colours_are_those_declared(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    last = Tensor("image", "float32", (-1, 4, 6, 3))
    np.testing.assert_array_equal(read(path, last), COLOURS)
    np.testing.assert_array_equal(read(path, last, colors="bgr"), COLOURS[..., ::-1])
    np.testing.assert_array_equal(read(path, rgb_input(), colors="bgr"), CHANNELS_FIRST[::-1])


def test_scale_then_mean_then_std(tmp_path: Path) -> None:
    words = {"scale": "1/255", "mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = ((COLOURS / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(
        read(saved(tmp_path / "a.png"), rgb_input(), **words), wanted, rtol=1e-5, atol=1e-6
    )


def test_mean_and_std_are_in_the_order_of_the_colours(tmp_path: Path) -> None:
    found = read(saved(tmp_path / "a.png"), rgb_input(), colors="bgr", mean="1,2,3")
    np.testing.assert_array_equal(found[0], CHANNELS_FIRST[2] - 1)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_samples_have_the_inputs_type(tmp_path: Path, dtype: str) -> None:
    found = read(saved(tmp_path / "a.png"), rgb_input(dtype=dtype), mean="-0.4")
    assert found.dtype.name == dtype
    assert found.flags.c_contiguous
    assert found[0, 0, 0] == pytest.approx(0 if dtype == "uint8" else 0.4, abs=1e-3), (
        "whole numbers are rounded"
    )


# How sizes are met.


def bars(height: int, width: int) -> NDArray[np.uint8]:
    """The left half black, the right half white."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    return pixels


def test_stretching_keeps_all_of_the_image(tmp_path: Path) -> None:
    found = read(saved(tmp_path / "a.png", bars(10, 40)), rgb_input(height=10, width=10))
    assert (found[0, :, 0].max(), found[0, :, -1].min()) == (0, 255)
    assert found.shape == (3, 10, 10)


def test_the_shorter_side_is_met_and_the_middle_cut_out(tmp_path: Path) -> None:
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    found = read(saved(tmp_path / "a.png", pixels), rgb_input(height=8, width=8), resize="shorter-side:10")
    assert found.min() == 255, "the black thirds are cut off"


@pytest.mark.parametrize(("height", "width"), [(301, 200), (200, 301), (200, 200), (37, 1000)])
def test_no_proportions_miss_the_size(tmp_path: Path, height: int, width: int) -> None:
    path = saved(tmp_path / "a.png", bars(height, width))
    for resize in ("stretch", "shorter-side", "shorter-side:71", "letterbox"):
        assert read(path, rgb_input(height=64, width=64), resize=resize).shape == (3, 64, 64)


def test_a_letterbox_keeps_the_proportions_with_grey_around(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.full((10, 20, 3), 255, np.uint8))
    found = read(path, rgb_input(height=20, width=20), resize="letterbox:114")[0]
    assert (found[:5] == 114).all()
    assert (found[-5:] == 114).all()
    assert (found[5:15] == 255).all()


def test_without_resizing_a_bigger_image_is_cut_or_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png")
    found = read(path, rgb_input(height=2, width=2), resize="none", crop="center")
    np.testing.assert_array_equal(found, CHANNELS_FIRST[:, 1:3, 2:4])
    with pytest.raises(UnreadableSampleError, match="it is 4x6, and 2x2 is wanted without resizing"):
        read(path, rgb_input(height=2, width=2), resize="none")
    with pytest.raises(UnreadableSampleError, match="without enlarging"):
        read(path, rgb_input(height=8, width=8), resize="none", crop="center")


# What files may hold.


def test_a_photo_that_was_turned_is_turned_back(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: to be turned by 90 degrees to the right
    path = tmp_path / "a.tif"
    Image.fromarray(np.rot90(COLOURS)).save(path, exif=exif)
    np.testing.assert_array_equal(read(path, rgb_input()), CHANNELS_FIRST)


def test_gray_of_sixteen_bits_has_the_range_of_eight(tmp_path: Path) -> None:
    pixels = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    for name in ("a.png", "a.tif"):
        found = read(saved(tmp_path / name, pixels), gray_input())
        np.testing.assert_allclose(found[0], pixels / 257, rtol=1e-6)
        in_three = read(tmp_path / name, rgb_input())
        np.testing.assert_array_equal(in_three, np.repeat(found, 3, axis=0))


def test_sixteen_bits_are_resized_without_losing_any(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.full((8, 12), 257 * 100 + 128, np.uint16))
    np.testing.assert_allclose(read(path, gray_input()), 100 + 128 / 257, rtol=1e-5)
    boxed = read(path, gray_input(8, 8), resize="letterbox:200")
    np.testing.assert_allclose(boxed[0, 0], 200, rtol=1e-6)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_mode_is_read_in_gray_and_in_colour(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png")
    Image.fromarray(np.full((4, 6, 3), 255, np.uint8)).convert(mode).save(path)
    for tensor in (gray_input(), rgb_input()):
        np.testing.assert_allclose(read(path, tensor), 255, atol=3)


def test_a_palette_with_a_transparent_colour_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(COLOURS).quantize(8).save(path, transparency=bytes(range(8)))
    assert read(path, rgb_input()).shape == (3, 4, 6)


def test_of_several_frames_the_first_is_taken(tmp_path: Path) -> None:
    first, second = (Image.fromarray(np.full((4, 6, 3), value, np.uint8)) for value in (10, 20))
    first.save(tmp_path / "a.tiff", save_all=True, append_images=[second])
    assert set(read(tmp_path / "a.tiff", rgb_input()).ravel()) == {10}


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "no image"), (b"no image", "no image"), (None, "truncated"), ("gone", "No such file")],
)
def test_what_is_no_whole_image_says_why(tmp_path: Path, data: bytes | str | None, why: str) -> None:
    path = saved(tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    if data == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:2000] if data is None else bytes(data))  # type: ignore[arg-type]
    with pytest.raises(UnreadableSampleError, match=why):
        read(path, rgb_input())


def test_pixels_of_an_unknown_range_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tif", np.ones((4, 6), np.float32))
    with pytest.raises(UnreadableSampleError, match="nobody knows which value is white"):
        read(path, gray_input())
