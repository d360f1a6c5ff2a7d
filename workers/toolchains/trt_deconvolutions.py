"""A bug of TensorRT 8: builds that end because of a transposed convolution in INT8 are built again without."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.toolchains.trt_log import TrtLog

#: How 8.6.0 ends after all tactics were chosen, where one of them is an INT8 kernel of a transposed convolution that it
#: can not make an engine of. On an H200: ConvTranspose 128 -> 64, kernel and stride 2, by calibration and by Q/DQ
#: nodes; 32 -> 16 is built. Nothing of shapes or preview features changes it; other precisions of that layer do
#: (docs/results/h200-tensorrt-8.6.0/int8-deconvolution.txt).
_ITS_WORDS = re.compile(r"buildRefitEngine.*Assertion engine failed")


def take_deconvolutions_out_of_int8(trt: Any, network: Any, config: Any, log: TrtLog) -> str:
    """After a build that failed: has transposed convolutions computed in floats, if that can be why it did.

    Returns:
        What was done, for the precision's note; empty if a second build would end as the first did.
    """
    if not any(_ITS_WORDS.search(error) for error in log.errors):
        return ""
    if not config.get_flag(trt.BuilderFlag.INT8):
        return ""
    layers = [network.get_layer(at) for at in range(network.num_layers)]
    found = [
        layer for layer in layers if layer.type == trt.LayerType.DECONVOLUTION and not layer.precision_is_set
    ]
    if not found:
        return ""
    half = config.get_flag(trt.BuilderFlag.FP16)
    for layer in found:
        layer.precision = trt.DataType.HALF if half else trt.DataType.FLOAT
    config.clear_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    word = "FP16" if half else "FP32"
    log.write(
        "W",
        f"{log.name} can not make an engine of its INT8 kernels for transposed convolutions: "
        f"building again with {len(found)} of them in {word}",
    )
    log.forget()
    return f"{len(found)} transposed convolution(s) in {word}: {log.name} fails on its INT8 kernels for them"
