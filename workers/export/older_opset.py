"""What the dynamo exporter wrote, in an older operator set than it can write: by ONNX's own version converter."""

from __future__ import annotations

import importlib
from typing import Any

from farm.domain.error_texts import one_line
from farm.domain.errors import InvalidModelError

#: Larger constants are left out while converting: the converter is C++ behind one protobuf message of 2 GiB at most.
_LARGEST_BYTES = 1024


def converted(model: Any, opset: int) -> Any:
    """The model in an older operator set.

    Raises:
        InvalidModelError: the converter can not do it; names the operator.
    """
    ir = importlib.import_module("onnx_ir")
    onnx = importlib.import_module("onnx")
    converter = importlib.import_module("onnx.version_converter")
    values = dict(model.graph.initializers)
    large = {name: value for name, value in values.items() if value.const_value.nbytes > _LARGEST_BYTES}
    own_inputs = len(model.graph.inputs)
    for name, value in large.items():
        model.graph.initializers.pop(name)
        model.graph.inputs.append(value)
    proto = ir.to_proto(model)
    _small_as_nodes(onnx, proto.graph)
    try:
        done = ir.from_proto(converter.convert_version(proto, opset))
    except Exception as error:
        # The converter speaks of its own source files; the last part says what it missed.
        why = one_line(error).rpartition("adapt: ")[2]
        raise InvalidModelError(
            f"ONNX's version converter can not bring the model from opset {model.opset_imports['']} to {opset}: {why}",
            hint="Rewrite that part with operators of the older set.",
        ) from error
    while len(done.graph.inputs) > own_inputs:
        value = done.graph.inputs.pop()
        value.const_value = large[value.name].const_value
        done.graph.initializers[value.name] = value
    for node in done.graph.all_nodes():
        if node.op_type.startswith("Reduce") and "noop_with_empty_axes" in node.attributes:
            # New in 18, and 0 there means what every older set does; the converter leaves it in place.
            node.attributes.pop("noop_with_empty_axes")
    return done


def _small_as_nodes(onnx: Any, graph: Any) -> None:
    """Constants as nodes: the converter turns inputs such as `axes` into attributes only from these."""
    for index, tensor in enumerate(list(graph.initializer)):
        node = onnx.helper.make_node("Constant", [], [tensor.name], name=f"constant_{index}", value=tensor)
        graph.node.insert(0, node)
    del graph.initializer[:]
