"""Q/DQ nodes with ranges from samples: INT8 and FP8 by ONNX Runtime's quantizer, or by ModelOpt."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from farm.domain.calibration import ALGORITHMS
from farm.domain.error_texts import one_line
from farm.domain.errors import BuildError, InvalidSpecError
from workers.conversion.graphs import LARGEST_INLINE_BYTES, LONGEST_TEXT
from workers.conversion.halves import no_modelopt

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: What TensorRT has 8-bit kernels for, and what it reads Q/DQ nodes around.
_OPERATORS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_METHODS = {
    ALGORITHMS["entropy"]: CalibrationMethod.Entropy,
    ALGORITHMS["minmax"]: CalibrationMethod.MinMax,
    ALGORITHMS["percentile"]: CalibrationMethod.Percentile,
}
#: ModelOpt's words; it has no percentile.
_MODELOPT_METHODS = {ALGORITHMS["entropy"]: "entropy", ALGORITHMS["minmax"]: "max"}
#: TensorRT wants zero points of zero, Q/DQ pairs on FP32 weights (INT8 weights are refused by 8.6's parser), no
#: quantized bias, and quantizes what goes into an operator, not what comes out.
_FOR_TENSORRT = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": sorted(_OPERATORS),
}


def quantize(
    path: Path,
    quantized_path: Path,
    batches: Sequence[dict[str, NDArray[Any]]],
    *,
    kind: str,
    algorithm: str,
    kept_layers: Sequence[str],
    operators: Collection[str],
    for_cpu: bool,
) -> str:
    """Writes the model with Q/DQ nodes by ONNX Runtime's quantizer; who did it.

    Args:
        path: of the model.
        quantized_path: where the quantized one goes.
        batches: samples, an array per input each.
        kind: `int8` or `fp8`.
        algorithm: a `CalibrationAlgoType` by name; FP8 has its own, by the values' distribution.
        kept_layers: nodes that are left out.
        operators: that the model has.
        for_cpu: whether ONNX Runtime will run it: unsigned activations, and whatever its kernels can take.

    Raises:
        InvalidSpecError: there is no such algorithm here.
        BuildError: the quantizer does not take the model.
    """
    if kind == "int8" and algorithm not in _METHODS:
        raise InvalidSpecError(
            f"{_word(algorithm)} is an algorithm of TensorRT's own calibrators, up to 10",
            hint="Typed conversion has entropy, minmax and percentile.",
        )
    if not for_cpu and not _OPERATORS & set(operators):
        raise BuildError(
            f"the model has nothing that is computed in {kind.upper()}: none of {', '.join(sorted(_OPERATORS))}",
            hint="Ask for fp16.",
        )
    is_fp8 = kind == "fp8"
    weights = QuantType.QFLOAT8E4M3FN if is_fp8 else QuantType.QInt8
    try:
        quantize_static(
            str(path),
            str(quantized_path),
            _Batches(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=None if for_cpu else sorted(_OPERATORS),
            per_channel=not is_fp8,
            activation_type=QuantType.QUInt8 if for_cpu else weights,
            weight_type=weights,
            calibrate_method=CalibrationMethod.Distribution if is_fp8 else _METHODS[algorithm],
            nodes_to_exclude=list(kept_layers),
            # One batch after the other: otherwise the tensors of all samples are held at once.
            extra_options={**({} if for_cpu else _FOR_TENSORRT), "CalibStridedMinMax": 1},
            use_external_data_format=path.stat().st_size > LARGEST_INLINE_BYTES,
        )
    except Exception as error:
        raise BuildError(
            f"ONNX Runtime can not quantize the model to {kind.upper()}: {one_line(error, LONGEST_TEXT)}",
            hint="The log has the whole trace. Try --set converter=MODELOPT, or another --calibration-algorithm.",
        ) from error
    return f"ONNX Runtime {onnxruntime.__version__}"


def quantize_by_modelopt(
    path: Path,
    quantized_path: Path,
    batches: Sequence[dict[str, NDArray[Any]]],
    *,
    kind: str,
    algorithm: str,
    kept_layers: Sequence[str],
) -> str:
    """The same by NVIDIA's ModelOpt.

    Raises:
        UnsupportedTargetError: ModelOpt is not installed.
        InvalidSpecError: there is no such algorithm in it.
        BuildError: it does not take the model.
    """
    try:
        from modelopt.onnx.quantization import quantize as modelopt_quantize
    except ImportError as error:
        raise no_modelopt(f"{kind} by converter=MODELOPT") from error
    import re

    if kind == "int8" and algorithm not in _MODELOPT_METHODS:
        raise InvalidSpecError(f"ModelOpt has no {_word(algorithm)}", hint="It has entropy and minmax.")
    shapes = ",".join(f"{name}:{'x'.join(map(str, array.shape))}" for name, array in batches[0].items())
    try:
        modelopt_quantize(
            str(path),
            quantize_mode=kind,
            calibration_data={
                name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]
            },
            calibration_method=_MODELOPT_METHODS[algorithm] if kind == "int8" else "entropy",
            calibration_eps=["cpu"],
            calibration_shapes=shapes,
            nodes_to_exclude=[f"^{re.escape(name)}$" for name in kept_layers],
            high_precision_dtype="fp32",
            output_path=str(quantized_path),
        )
    except Exception as error:
        raise BuildError(
            f"ModelOpt can not quantize the model to {kind.upper()}: {one_line(error, LONGEST_TEXT)}",
            hint="The log has the whole trace. Without --set converter=MODELOPT ONNX Runtime's quantizer does it.",
        ) from error
    return f"ModelOpt {version('nvidia-modelopt')}"


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # the base is untyped
    """Samples as ONNX Runtime's calibration asks for them: a range of batches, one by one."""

    def __init__(self, batches: Sequence[dict[str, NDArray[Any]]]) -> None:
        self._batches = batches
        self._range = iter(batches)

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Which batches come next."""
        logging.getLogger(__name__).info("calibrating, batch %d of %d", end_index, len(self._batches))
        self._range = iter(self._batches[start_index:end_index])

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch of the range; none at its end."""
        return next(self._range, None)


def _word(algorithm: str) -> str:
    return next((word for word, name in ALGORITHMS.items() if name == algorithm), algorithm)
