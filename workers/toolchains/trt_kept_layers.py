"""Layers of a weakly typed network that stay in FP32 whatever the precision: TensorRT up to 10."""

from __future__ import annotations

from typing import Any, Sequence

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean


def keep_layers(trt: Any, network: Any, config: Any, kept_layers: Sequence[str]) -> str:
    """Has the layers of some nodes of the model computed in FP32, and the builder obey.

    The parser calls a node's layer by the node's name. Where it makes several of one node, or puts something
    beside the name, every layer whose name holds the node's is kept.

    Returns:
        What was done, for the precision's note; empty if nothing was to be kept.

    Raises:
        InvalidSpecError: the network has no layer of a name, or this release has no such constraints.
    """
    if not kept_layers:
        return ""
    if not hasattr(trt.BuilderFlag, "OBEY_PRECISION_CONSTRAINTS"):
        raise InvalidSpecError(
            f"TensorRT {trt.__version__} has no precision constraints: its networks have the model's own types",
            hint="The farm converts the model for it, the kept layers left out.",
        )
    layers = [network.get_layer(at) for at in range(network.num_layers)]
    kept: dict[int, Any] = {}
    for name in kept_layers:
        exact = [at for at, layer in enumerate(layers) if layer.name == name]
        found = exact or [at for at, layer in enumerate(layers) if name in layer.name]
        if not found:
            raise InvalidSpecError(
                f"the network has no layer {name!r} to keep in FP32",
                hint=did_you_mean(name, [layer.name for layer in layers]),
            )
        kept |= {at: layers[at] for at in found if _computes_in_floats(trt, layers[at])}
    for layer in kept.values():
        layer.precision = trt.DataType.FLOAT
    # One of the two at most: whoever asked to prefer constraints asked for no less than that these hold.
    config.clear_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    return f"{len(kept)} layer(s) in FP32 by OBEY_PRECISION_CONSTRAINTS"


def _computes_in_floats(trt: Any, layer: Any) -> bool:
    """Whether a layer gives a tensor that has a precision: not one of shapes, indices or truth values."""
    outputs = [layer.get_output(at) for at in range(layer.num_outputs)]
    return any(
        output is not None and output.dtype == trt.DataType.FLOAT and not output.is_shape_tensor
        for output in outputs
    )
