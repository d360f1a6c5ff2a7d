"""What is done to images is declared; what nobody declares follows from the model's one input."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.images import ImagePreprocessing, image_input, preprocessing_for
from farm.domain.models import Tensor
from tests.unit.samples.pictures import gray_input, rgb_input


def tensor(*shape: int, dtype: str = "float32") -> Tensor:
    return Tensor("image", dtype, shape)


def test_size_layout_and_colours_follow_from_the_input() -> None:
    found = preprocessing_for({}, tensor(-1, 3, 224, 320))
    assert found == ImagePreprocessing(224, 320)
    assert (found.layout, found.colors) == ("nchw", "rgb")
    last = preprocessing_for({}, tensor(1, 224, 320, 3))
    assert (last.layout, last.height, last.width) == ("nhwc", 224, 320)
    assert preprocessing_for({}, gray_input(8, 8)).colors == "gray"


def test_pixels_are_scaled_to_one_for_floats_and_stay_for_bytes() -> None:
    assert preprocessing_for({}, rgb_input()).scale == 1 / 255
    assert preprocessing_for({}, rgb_input(dtype="uint8")).scale == 1


def test_open_sizes_are_those_that_the_engine_is_tuned_for() -> None:
    assert preprocessing_for({}, tensor(-1, 3, -1, -1), (8, 3, 64, 96)) == ImagePreprocessing(64, 96)
    assert preprocessing_for({"size": "32x48"}, tensor(-1, 3, -1, -1)) == ImagePreprocessing(32, 48)


def test_words_and_what_yaml_has_for_them_mean_the_same() -> None:
    words = {"size": "4x6", "scale": "1/255", "mean": "0.5,0.25,1/8", "std": "0.5", "resize": "Letterbox:114"}
    values = {
        "size": [4, 6],
        "scale": 1 / 255,
        "mean": [0.5, 0.25, 0.125],
        "std": 0.5,
        "resize": "letterbox:114",
    }
    assert preprocessing_for(words, rgb_input()) == preprocessing_for(values, rgb_input())


def test_the_shorter_side_is_the_sizes_own_unless_said() -> None:
    plain = preprocessing_for({"resize": "shorter-side"}, rgb_input())
    assert (plain.shorter, plain.crop) == (4, True)
    assert preprocessing_for({"resize": "shorter-side:256"}, rgb_input()).shorter == 256


def test_it_is_told_in_one_line_and_recorded_whole() -> None:
    words = {"resize": "shorter-side:256", "mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
    found = preprocessing_for(words, tensor(-1, 3, 224, 224))
    assert str(found) == (
        "224x224 rgb nchw, shorter-side:256, crop center, scale 1/255, mean 0.485,0.456,0.406, std 0.229,0.224,0.225"
    )
    record = json.loads(json.dumps(found.as_json()))
    assert {"resize": "shorter-side", "shorter": 256, "std": [0.229, 0.224, 0.225]}.items() <= record.items()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"sice": "4x6"}, "unknown key 'sice'"),
        ({"size": "5x6"}, "it wants 4x6"),
        ({"size": "4"}, "not a size of images"),
        ({"size": "4x6x3"}, "not a size of images"),
        ({"layout": "chw"}, "unknown layout"),
        ({"layout": "nhwc"}, "channels, and images are made with 1 or 3"),
        ({"colors": "gray"}, "has 3 channels, and gray has 1"),
        ({"colors": "hsv"}, "unknown colors 'hsv'"),
        ({"resize": "squash"}, "unknown resize"),
        ({"resize": "stretch:9"}, "not a way to resize"),
        ({"resize": "shorter-side:x"}, "not a way to resize"),
        ({"resize": "shorter-side:3"}, "a shorter side of 3 pixels is less than the size"),
        ({"resize": "letterbox:256"}, "grey is 0 to 255"),
        ({"crop": "center"}, "nothing to cut off after --image-resize stretch"),
        ({"mean": "0.1,0.2"}, "mean has 2 numbers, and there are 3 channels"),
        ({"mean": "a"}, "mean is no number"),
        ({"scale": "1/0"}, "scale is no number"),
        ({"scale": "1,2,3"}, "scale has 3 numbers"),
        ({"std": "0"}, "std must not be 0"),
    ],
)
def test_what_makes_no_sense_is_refused(words: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidSpecError, match=why):
        preprocessing_for(words, rgb_input())


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((-1, 3, -1, -1), "--image-size"),
        ((-1, -1, 4, 6), "--image-layout"),
        ((-1, 3, 8, 3), "--image-layout"),
        ((-1, 8, 8, 8), "--image-layout"),
    ],
)
def test_what_the_input_leaves_open_is_asked_for(shape: tuple[int, ...], hint: str) -> None:
    with pytest.raises(InvalidSpecError) as raised:
        preprocessing_for({}, tensor(*shape))
    assert hint in raised.value.hint


def test_channels_that_are_open_are_asked_for() -> None:
    with pytest.raises(InvalidSpecError, match="leaves its channels open"):
        preprocessing_for({"layout": "nchw"}, tensor(-1, -1, 4, 6))
    assert preprocessing_for({"layout": "nchw", "colors": "bgr"}, tensor(-1, -1, 4, 6)).colors == "bgr"


@pytest.mark.parametrize(
    "inputs",
    [
        (rgb_input(), Tensor("mask", "float32", (-1, 4))),
        (tensor(-1, 8),),
        (tensor(-1, 1, 4, 4, 4),),
        (tensor(-1, 3, 4, 4, dtype="int64"),),
    ],
    ids=["two inputs", "vectors", "volumes", "numbers"],
)
def test_models_that_take_no_images_are_refused_with_the_way_to_give_samples(
    inputs: tuple[Tensor, ...],
) -> None:
    with pytest.raises(InvalidSpecError) as raised:
        image_input(inputs)
    assert "one for each sample" in raised.value.hint
