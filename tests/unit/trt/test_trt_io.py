"""Types and formats of a network's inputs and outputs, per version, without TensorRT."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest

from farm.domain.errors import BuildError, InvalidSpecError
from farm.domain.io_formats import FORMATS
from tests.unit.trt.surface import log_for, surface
from workers.toolchains.trt_io import (
    apply_io_formats,
    io_formats_of,
    io_types_of,
    scales_from_cache,
)


class Tensor:
    """Up to 10; `takes` is how much of a mask it keeps."""

    def __init__(self, name: str, dtype: int = 0, takes: int = ~0) -> None:
        self.name, self.dtype, self._takes, self._mask = name, dtype, takes, 1

    @property
    def allowed_formats(self) -> int:
        return self._mask

    @allowed_formats.setter
    def allowed_formats(self, mask: int) -> None:
        self._mask = mask & self._takes


class TensorOfEleven(Tensor):
    """Its type is the model's."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "dtype" and "dtype" in vars(self):
            raise AttributeError("property of 'ITensor' object has no setter")
        super().__setattr__(name, value)


def network_of(*tensors: Any) -> Any:
    """The last tensor is the output."""
    *inputs, output = tensors
    return SimpleNamespace(
        num_inputs=len(inputs),
        get_input=lambda index: inputs[index],
        num_outputs=1,
        get_output=lambda index: output,
    )


@pytest.mark.parametrize(
    ("version", "types"),
    [
        ("8.6.0", ("fp32", "fp16", "int32", "int8", "uint8", "bool")),
        ("10.16.1.11", ("fp32", "fp16", "bf16", "int32", "int64", "int8", "uint8", "bool")),
        ("11.4.0.106", ()),
    ],
)
def test_types_can_be_chosen_up_to_10_as_far_as_a_release_has_them(version: str, types: Any) -> None:
    assert io_types_of(surface(version)) == types


def test_formats_are_those_of_the_release() -> None:
    found = io_formats_of(surface("8.6.0"))
    assert "chw32" in found
    assert set(FORMATS) - set(found) == {"dhwc"}, "the surface's release has all but the last"


def test_formats_are_given_by_name_and_the_others_stay() -> None:
    trt = surface("8.6.0")
    x, y, z = Tensor("x"), Tensor("y"), Tensor("z")
    apply_io_formats(trt, network_of(x, y, z), {"x": "fp16:chw16", "z": "fp32:chw+chw32"}, log_for(trt))
    assert (x.dtype, x.allowed_formats) == (1, 1 << 4)
    assert (y.dtype, y.allowed_formats) == (0, 1)
    assert (z.dtype, z.allowed_formats) == (0, 1 | 1 << 5)


def test_from_11_on_a_type_stays_and_a_format_can_be_given() -> None:
    trt = surface("11.4.0.106")
    x = TensorOfEleven("x")
    apply_io_formats(trt, network_of(x, Tensor("y")), {"x": "fp32:chw32"}, log_for(trt))
    assert x.allowed_formats == 1 << 5
    with pytest.raises(InvalidSpecError, match="takes the type of 'x' from the model: it can not be fp16"):
        apply_io_formats(trt, network_of(x, Tensor("y")), {"x": "fp16:chw16"}, log_for(trt))


def test_int64_of_the_model_is_int32_in_8_and_no_change() -> None:
    trt = surface("8.6.0")
    ids = Tensor("ids", dtype=3)
    apply_io_formats(trt, network_of(ids, Tensor("y")), {"ids": "int64:chw"}, log_for(trt))
    assert ids.dtype == 3


def test_what_the_network_does_not_have_or_take_is_refused() -> None:
    trt = surface("8.6.0")
    with pytest.raises(InvalidSpecError, match="no input or output 'w'"):
        apply_io_formats(trt, network_of(Tensor("x"), Tensor("y")), {"w": "fp16:chw"}, log_for(trt))
    stubborn = Tensor("x", takes=1)
    with pytest.raises(InvalidSpecError, match="refuses format chw32 of 'x'"):
        apply_io_formats(trt, network_of(stubborn, Tensor("y")), {"x": "fp32:chw32"}, log_for(trt))


# The scales of int8 inputs and outputs.


def line(name: str, scale: float) -> str:
    return f"{name}: {struct.pack('>f', scale).hex()}"


def test_the_scale_of_an_int8_tensor_comes_from_the_calibration() -> None:
    cache = "\n".join(["TRT-8600-EntropyCalibration2", line("x", 0.03125), line("y:0", 0.5), ""]).encode()
    assert scales_from_cache(cache, ("x", "y:0")) == {"x": 0.03125, "y:0": 0.5}
    assert scales_from_cache(cache, ()) == {}


@pytest.mark.parametrize("cache", [b"", b"TRT-8600-EntropyCalibration2\ny: 3d000000\n", b"x: nonsense\n"])
def test_without_a_scale_nobody_could_feed_it(cache: bytes) -> None:
    with pytest.raises(BuildError, match="no scale for 'x'"):
        scales_from_cache(cache, ("x",))


def test_what_became_int8_is_told_and_what_was_is_not() -> None:
    trt = surface("8.6.0")
    network = network_of(Tensor("a"), Tensor("b", dtype=2), Tensor("c"))
    wanted = {"a": "int8:chw32", "b": "int8:chw32", "c": "fp16:chw"}
    assert apply_io_formats(trt, network, wanted, log_for(trt)) == ("a",)
