"""The reference in double precision: the same graph, its floats widened to FP64, on the CPU.

ONNX Runtime runs it where it has kernels for doubles. It has none for convolutions, average pools and some others;
such a graph is run whole by onnx's reference evaluator, in numpy.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from farm.domain.error_texts import one_line
from farm.domain.errors import InvalidSpecError
from workers.conversion.double_graph import in_doubles
from workers.conversion.double_ops import AveragePool, Conv, ConvTranspose, MaxPool
from workers.conversion.graphs import LONGEST_TEXT, inputs_of, write_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from farm.domain.models import Tensor
    from workers.toolchains.toolchain import LoadedEngine, TimedSession

_HINT = "Leave --reference fp64 out, or give --inputs with outputs/NAME that were computed elsewhere."


def open_in_doubles(path: Path) -> tuple[LoadedEngine, str]:
    """A model in double precision, and what runs it.

    Raises:
        InvalidSpecError: nothing here does.
    """
    model = onnx.load(path)
    inputs = inputs_of(model)
    outputs = [output.name for output in model.graph.output]
    in_doubles(model)
    with tempfile.TemporaryDirectory() as folder:
        widened = Path(folder) / "doubles.onnx"
        write_graph(model, widened)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # Fused operators have kernels for floats alone.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = onnxruntime.InferenceSession(str(widened), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - a class per status code, all below RuntimeError
            return _evaluated(model, inputs, outputs, one_line(error, LONGEST_TEXT))
    name = f"onnxruntime {onnxruntime.__version__} fp64"
    return _InDoubles(session, inputs, outputs), name


def _evaluated(
    model: onnx.ModelProto, inputs: list[Tensor], outputs: list[str], why_not: str
) -> tuple[LoadedEngine, str]:
    try:
        evaluator = ReferenceEvaluator(model, new_ops=[Conv, ConvTranspose, AveragePool, MaxPool])
    except Exception as error:
        raise InvalidSpecError(
            f"nothing here computes this model in FP64: ONNX Runtime says {why_not}; onnx's reference evaluator says "
            f"{one_line(error, LONGEST_TEXT)}",
            hint=_HINT,
        ) from error
    return _InDoubles(evaluator, inputs, outputs), f"onnx {onnx.__version__} reference evaluator fp64"


class _InDoubles:
    """A model whose floats are doubles, fed with what the model itself takes."""

    def __init__(self, runner: Any, inputs: Sequence[Tensor], outputs: Sequence[str]) -> None:
        # A session or an evaluator: both have `run(names, inputs)`.
        self._runner = runner
        self._names = list(outputs)
        self._wide = {tensor.name for tensor in inputs if _is_narrow(tensor.dtype)}
        self.inputs = tuple(inputs)
        self.outputs = tuple(replace(inputs[0], name=name) for name in outputs) if inputs else ()

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for some inputs, floats as doubles."""
        fed = {
            name: array.astype(np.float64) if name in self._wide else array for name, array in inputs.items()
        }
        try:
            found = self._runner.run(self._names, fed)
        except Exception as error:
            raise InvalidSpecError(
                f"the reference in FP64 can not be computed: {one_line(error, LONGEST_TEXT)}", hint=_HINT
            ) from error
        return dict(zip(self._names, map(np.asarray, found), strict=True))

    def timed_sessions(self, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
        """None: nobody times a reference."""
        return []

    def close(self) -> None:
        """Lets the session go."""
        self._runner = None


def _is_narrow(dtype: str) -> bool:
    return dtype in ("float32", "float16", "bfloat16")
