"""Write `canary.onnx`, the model that workers time again and again to see whether their device is what it was.

    python examples/make_canary.py farm/samples/canary.onnx

Eight convolutions (3 x 3, 64 to 64 channels) that share one set of weights, each followed by a Relu, then a global
average: 1.8 GFLOP per image of 56 x 56, of which hardly anything waits for memory, in 150 kB. Weights are seeded
and scaled so that values neither grow nor vanish. The same NumPy and onnx write the same bytes again. Opset 17,
since TensorRT 8.6 reads no later one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper, save

SEED = 20261121
CHANNELS, SIZE, LAYERS = 64, 56, 8


def canary() -> ModelProto:
    """The model, with a dynamic batch."""
    fan_in = 9 * CHANNELS
    weights = np.random.default_rng(SEED).standard_normal((CHANNELS, CHANNELS, 3, 3), dtype=np.float32)
    # He et al. 2015: half of the values are lost in each Relu.
    weights *= np.float32(np.sqrt(2 / fan_in))
    nodes, name = [], "image"
    for layer in range(LAYERS):
        nodes.append(
            helper.make_node("Conv", [name, "weights"], [f"conv{layer}"], f"conv{layer}", pads=[1] * 4)
        )
        nodes.append(helper.make_node("Relu", [f"conv{layer}"], [f"relu{layer}"], f"relu{layer}"))
        name = f"relu{layer}"
    nodes.append(helper.make_node("GlobalAveragePool", [name], ["average"], "average"))
    graph = helper.make_graph(
        nodes,
        "canary",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", CHANNELS, SIZE, SIZE])],
        [helper.make_tensor_value_info("average", TensorProto.FLOAT, ["N", CHANNELS, 1, 1])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(
        graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)], producer_name="engine-farm"
    )
    checker.check_model(model)
    return model


if __name__ == "__main__":
    save(canary(), Path(sys.argv[1]))
