"""Transposed convolutions in INT8, on which TensorRT 8.6 fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.trt.surface import surface
from workers.toolchains.trt_deconvolutions import take_deconvolutions_out_of_int8
from workers.toolchains.trt_log import TrtLog

#: As 8.6.0 says it on an H200.
ERRORS = (
    "2: Assertion engine failed. ",
    "2: [refitUtils.cpp::buildRefitEngine::71] Error Code 2: Internal Error (Assertion engine failed. )",
)
FLOAT, HALF = 0, 1


class Layer:
    def __init__(self, kind: Any, *, precision_is_set: bool = False) -> None:
        self.type = kind
        self.precision: Any = None
        self.precision_is_set = precision_is_set


class Network:
    def __init__(self, *layers: Layer) -> None:
        self._layers = layers
        self.num_layers = len(layers)

    def get_layer(self, at: int) -> Layer:
        return self._layers[at]


def failed(trt: Any, *errors: str) -> TrtLog:
    log = TrtLog(trt, "TensorRT 8.6.0")
    for error in errors:
        log.write("E", error)
    return log


def mended(*layers: Layer, flags: tuple[str, ...] = ("INT8",), errors: tuple[str, ...] = ERRORS) -> Any:
    trt = surface("8.6.0")
    config = trt.IBuilderConfig()
    for flag in flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    log = failed(trt, *errors)
    return take_deconvolutions_out_of_int8(trt, Network(*layers), config, log), config, log


@pytest.mark.parametrize(
    ("flags", "precision", "word"), [(("INT8",), FLOAT, "FP32"), (("INT8", "FP16"), HALF, "FP16")]
)
def test_they_go_to_the_best_floats_that_the_build_allows_and_the_builder_obeys(
    flags: tuple[str, ...], precision: int, word: str
) -> None:
    kinds = surface("8.6.0").LayerType
    layers = Layer(kinds.CONVOLUTION), Layer(kinds.DECONVOLUTION), Layer(kinds.DECONVOLUTION)
    note, config, _ = mended(*layers, flags=flags)
    assert [layer.precision for layer in layers] == [None, precision, precision]
    assert config.get_flag(surface("8.6.0").BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    assert note == f"2 transposed convolution(s) in {word}: TensorRT 8.6.0 fails on its INT8 kernels for them"


def test_the_errors_of_the_first_build_no_longer_explain_anything(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, log = mended(Layer(surface("8.6.0").LayerType.DECONVOLUTION))
    assert log.errors == []
    assert "building again with 1 of them in FP32" in capsys.readouterr().err


def test_another_failure_is_left_alone() -> None:
    layer = Layer(surface("8.6.0").LayerType.DECONVOLUTION)
    note, _, log = mended(layer, errors=("10: Could not find any implementation for node conv1.",))
    assert (note, layer.precision, len(log.errors)) == ("", None, 1)


def test_without_int8_nothing_is_changed() -> None:
    layer = Layer(surface("8.6.0").LayerType.DECONVOLUTION)
    assert mended(layer, flags=("FP16",))[0] == ""
    assert layer.precision is None


def test_without_a_transposed_convolution_there_is_nothing_to_take_out() -> None:
    assert mended(Layer(surface("8.6.0").LayerType.CONVOLUTION))[0] == ""


def test_what_somebody_chose_stays_and_a_second_failure_is_the_last() -> None:
    assert mended(Layer(surface("8.6.0").LayerType.DECONVOLUTION, precision_is_set=True))[0] == ""
