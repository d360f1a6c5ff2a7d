"""The weights of a model by their names, for toolchains whose interpreters have no onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from workers.arrays import write_arrays

#: Whole numbers of a graph are shapes, axes and indices, which no engine has as weights.
_NOT_WEIGHTS = ("int16", "int32", "int64", "uint16", "uint32", "uint64", "bool", "object")


class WeightsRequest(NamedTuple):
    """Write a model's weights as arrays.

    Attributes:
        model_path: the ONNX file, its external data beside it.
        weights_path: the `.npz` to write, an array per initializer.
    """

    model_path: Path
    weights_path: Path

    def as_json(self) -> dict[str, Any]:
        """The document that a child gets."""
        return {
            "operation": "weights",
            "model_path": str(self.model_path),
            "weights_path": str(self.weights_path),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> WeightsRequest:
        """The inverse of `as_json`."""
        return cls(Path(value["model_path"]), Path(value["weights_path"]))


def extract_weights(request: WeightsRequest) -> int:
    """Writes the weights; how many there are.

    Element types that numpy lacks, such as BF16, are left out: an engine that has such weights names them when it is
    refitted.
    """
    # Late: the supervisor makes the request, and has no need of onnx.
    import onnx
    from onnx import numpy_helper

    model = onnx.load(request.model_path)
    arrays = {}
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype.name not in _NOT_WEIGHTS and array.dtype.isbuiltin == 1:
            arrays[tensor.name] = array
    write_arrays(request.weights_path, arrays)
    return len(arrays)
