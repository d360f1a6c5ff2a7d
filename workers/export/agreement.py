"""Whether the exported file computes what PyTorch computes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.accuracy_metrics import compare
from farm.domain.error_texts import one_line
from farm.domain.errors import AccuracyError, InvalidModelError
from farm.domain.shapes import shape_text
from workers.export.request import HALF_TOLERANCE, TOLERANCE, Comparison

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: ONNX Runtime's level for what ends the process: all else it raises as well.
_FATAL_ONLY = 4
#: What is shown of an error of ONNX Runtime.
_LONGEST_LINE = 400


class ExportedModel:
    """The exported file in ONNX Runtime, on the CPU.

    Raises:
        InvalidModelError: ONNX Runtime does not take it.
    """

    def __init__(self, path: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = _FATAL_ONLY
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise InvalidModelError(
                f"ONNX Runtime does not take the exported model: {_one_line(error)}",
                hint="--no-compare writes the file all the same.",
            ) from error

    def run(self, tensors: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """The outputs by name.

        Raises:
            AccuracyError: it does not run on inputs that PyTorch ran on.
        """
        names = [value.name for value in self._session.get_inputs()]
        feeds = {name: as_array(tensors[name]) for name in names}
        try:
            found = self._session.run(None, feeds)
        except Exception as error:
            raise AccuracyError(
                f"the exported model does not run on {shapes_text(tensors)}, on which PyTorch does: {_one_line(error)}",
                hint="The graph holds the size that it was traced with. Write x.shape[…] or -1 in the model in "
                "place of numbers, or leave that dimension out of --dynamic.",
            ) from error
        return dict(zip([value.name for value in self._session.get_outputs()], found, strict=True))


def check_agreement(
    model: ExportedModel, tensors: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float | None
) -> Comparison:
    """The error of every output on one sample.

    Args:
        model: the exported file.
        tensors: PyTorch's inputs.
        expected: PyTorch's outputs.
        tolerance: greatest error as a share of an output's largest value; none for the usual one.

    Raises:
        AccuracyError: an output is beyond it; names the worst one with its index and both values.
    """
    actual = model.run(tensors)
    found = []
    beyond: list[tuple[float, float, Any]] = []
    for name, tensor in expected.items():
        wanted = as_array(tensor)
        try:
            output = compare(name, wanted, actual[name])
        except AccuracyError as error:
            raise AccuracyError(
                f"on {shapes_text(tensors)}: {error.message}",
                hint="The graph holds the size that it was traced with.",
            ) from error
        found.append(output)
        limit = usual_tolerance(str(tensor.dtype)) if tolerance is None else tolerance
        peak = float(np.abs(np.nan_to_num(wanted.astype(np.float64), posinf=0, neginf=0)).max(initial=0.0))
        share = output.max_abs_error / max(peak, 1e-6)
        if output.non_finite or share > limit:
            beyond.append((float("inf") if output.non_finite else share, limit, output))
    if beyond:
        share, limit, worst = max(beyond, key=lambda item: item[0])
        what = f"{worst.non_finite} values are not finite on one side" if worst.non_finite else (
            f"the error is {share:.2g} of its largest value, at most {limit:.2g} wanted"
        )  # fmt: skip
        raise AccuracyError(
            f"the exported model computes something else than PyTorch on {shapes_text(tensors)}: output {worst.name!r}: "
            f"{what}; worst at {list(worst.worst_index)}: {worst.worst_actual:.6g} where PyTorch has {worst.worst_expected:.6g}",
            hint="Look for control flow that depends on data, or random numbers, in forward; --tolerance allows more.",
        )
    return Comparison({name: tuple(tensor.shape) for name, tensor in tensors.items()}, tuple(found))


def usual_tolerance(dtype: str) -> float:
    """The greatest error of an output of this type, as a share of its largest value; whole numbers must be equal."""
    if "float16" in dtype:
        return HALF_TOLERANCE
    return TOLERANCE if "float" in dtype else 0.0


def as_array(tensor: Any) -> NDArray[Any]:
    """A tensor for numpy, which has no bfloat16 of its own: ONNX Runtime takes it through ml_dtypes."""
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) == "torch.bfloat16":
        import ml_dtypes

        array: NDArray[Any] = tensor.float().numpy().astype(ml_dtypes.bfloat16)
        return array
    plain: NDArray[Any] = tensor.numpy()
    return plain


def shapes_text(tensors: Mapping[str, Any]) -> str:
    """`ids 2x16, mask 2x16`."""
    return ", ".join(f"{name} {shape_text(tuple(tensor.shape))}" for name, tensor in tensors.items())


def shapes_of(comparison: Comparison) -> str:
    """The same of a comparison."""
    return ", ".join(f"{name} {shape_text(shape)}" for name, shape in comparison.shapes.items())


def _one_line(error: Exception) -> str:
    """What ONNX Runtime says, without its own error codes, source files and C++ signatures."""
    text = one_line(error)
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(
        r"^Non-zero status code returned while running (\w+) node. Name:'([^']*)'", r"\1 node \2:", text
    )
    text = re.sub(r"/\S+\.(?:h|cc|cpp):\d+ .*?\) ", "", text.replace("Status Message: ", ""))
    return text[:_LONGEST_LINE]


def worst_line(comparisons: Sequence[Comparison]) -> str:
    """`error 2e-6` for people: the greatest absolute error over all samples, with its output."""
    worst = max((o for c in comparisons for o in c.outputs), key=lambda output: output.max_abs_error)
    return f"largest error {worst.max_abs_error:.2g} (output {worst.name!r})"
