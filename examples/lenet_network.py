"""LeNet, as most who begin with TensorRT's own API write it; the farm calls `build` and builds the engine.

    farm submit examples/lenet_network.py:build --weights lenet.npz --batch 1,8

`weights` is a mapping of names to numpy arrays: here a state dict of PyTorch, such as that of
`examples/lenet_weights.py`. Only calls that every release from TensorRT 8.5 to 11 and TensorRT-RTX has are used.
"""

from __future__ import annotations

from typing import Any

#: What the farm knows of the network before it is built; it reads this without running the file.
INPUTS = {"data": ("N", 1, 28, 28)}
OUTPUTS = {"scores": ("N", 10)}


def build(network: Any, weights: Any, trt: Any) -> None:
    """Adds input and layers to a network, and marks its output."""
    value = network.add_input("data", trt.float32, (-1, 1, 28, 28))
    for layer in ("conv1", "conv2"):
        kernel, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        convolution = network.add_convolution_nd(value, kernel.shape[0], kernel.shape[2:], kernel, bias)
        convolution.name = layer
        pool = network.add_pooling_nd(convolution.get_output(0), trt.PoolingType.MAX, (2, 2))
        pool.stride_nd = (2, 2)
        value = pool.get_output(0)
    value = _dense(network, trt, value, weights, "fc1")
    value = network.add_activation(value, trt.ActivationType.RELU).get_output(0)
    value = _dense(network, trt, value, weights, "fc2")
    flat = network.add_shuffle(value)
    flat.reshape_dims = (0, -1)
    scores = flat.get_output(0)
    scores.name = "scores"
    network.mark_output(scores)


def _dense(network: Any, trt: Any, value: Any, weights: Any, layer: str) -> Any:
    """A fully connected layer is a convolution over the whole map; TensorRT 10 has no layer of its own for it."""
    weight, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
    channels, side = value.shape[1], value.shape[2]
    kernel = weight.reshape(weight.shape[0], channels, side, side)
    dense = network.add_convolution_nd(value, weight.shape[0], (side, side), kernel, bias)
    dense.name = layer
    return dense.get_output(0)
