"""Layers that stay in FP32 in a weakly typed network, as TensorRT 8 and 10 have it."""

from __future__ import annotations

from typing import Any

import pytest

from farm.domain.errors import InvalidSpecError
from tests.unit.trt.surface import surface
from workers.toolchains.trt_kept_layers import keep_layers

FLOAT, INT32 = 0, 3


class Tensor:
    def __init__(self, dtype: int, *, is_shape: bool = False) -> None:
        self.dtype = dtype
        self.is_shape_tensor = is_shape


class Layer:
    """An ILayer that remembers its precision."""

    precision: Any = None

    def __init__(self, name: str, *outputs: Tensor) -> None:
        self.name = name
        self._outputs = outputs or (Tensor(FLOAT),)
        self.num_outputs = len(self._outputs)

    def get_output(self, at: int) -> Tensor:
        return self._outputs[at]


class Network:
    def __init__(self, *layers: Layer) -> None:
        self._layers = layers
        self.num_layers = len(layers)

    def get_layer(self, at: int) -> Layer:
        return self._layers[at]


def in_fp32(network: Network) -> list[str]:
    layers = [network.get_layer(at) for at in range(network.num_layers)]
    return [layer.name for layer in layers if layer.precision == FLOAT]


@pytest.mark.parametrize("version", ["8.5.3", "8.6.0", "10.16.1"])
def test_the_layers_of_the_nodes_are_in_fp32_and_the_builder_obeys(version: str) -> None:
    trt = surface(version)
    config = trt.IBuilderConfig()
    network = Network(Layer("conv1"), Layer("relu1"), Layer("conv2"))
    note = keep_layers(trt, network, config, ["conv2", "relu1"])
    assert in_fp32(network) == ["relu1", "conv2"]
    assert config.get_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    assert note == "2 layer(s) in FP32 by OBEY_PRECISION_CONSTRAINTS"


def test_without_kept_layers_nothing_is_constrained() -> None:
    trt = surface("8.6.0")
    config = trt.IBuilderConfig()
    network = Network(Layer("conv1"))
    assert keep_layers(trt, network, config, []) == ""
    assert in_fp32(network) == []
    assert not config.get_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)


def test_a_name_that_begins_others_means_its_own_layer_alone() -> None:
    network = Network(Layer("conv1"), Layer("conv10"), Layer("conv1_shuffle"))
    trt = surface("8.6.0")
    keep_layers(trt, network, trt.IBuilderConfig(), ["conv1"])
    assert in_fp32(network) == ["conv1"]


def test_where_no_layer_has_the_very_name_those_that_hold_it_are_kept() -> None:
    network = Network(Layer("node_of_gemm + bias"), Layer("other"), Layer("shuffle_gemm"))
    trt = surface("8.6.0")
    keep_layers(trt, network, trt.IBuilderConfig(), ["gemm"])
    assert in_fp32(network) == ["node_of_gemm + bias", "shuffle_gemm"]


def test_layers_without_floating_point_have_no_precision_to_keep() -> None:
    shape = Layer("node", Tensor(FLOAT, is_shape=True))
    network = Network(Layer("index", Tensor(INT32)), shape, Layer("both", Tensor(INT32), Tensor(FLOAT)))
    trt = surface("8.6.0")
    keep_layers(trt, network, trt.IBuilderConfig(), ["index", "node", "both"])
    assert in_fp32(network) == ["both"]


def test_a_name_that_no_layer_has_is_refused_with_the_nearest() -> None:
    trt = surface("8.6.0")
    with pytest.raises(InvalidSpecError, match="no layer 'convv1'") as refused:
        keep_layers(trt, Network(Layer("conv1")), trt.IBuilderConfig(), ["convv1"])
    assert "conv1" in refused.value.hint


def test_a_release_without_constraints_says_so() -> None:
    trt = surface("11.4")
    with pytest.raises(InvalidSpecError, match="no precision constraints"):
        keep_layers(trt, Network(Layer("conv1")), trt.IBuilderConfig(), ["conv1"])
