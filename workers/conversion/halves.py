"""FP16 by ONNX Runtime's converter, and FP16 or BF16 by ModelOpt AutoCast.

ONNX Runtime's converter is the successor of onnxconverter-common's, which leaves Cast nodes to FP32 in the middle of a
model in FP16: a transformer's attention mask came out with two types in one addition (1.16.0, refused by ONNX's checker
and by TensorRT-RTX).
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import TYPE_CHECKING

from farm.domain.error_texts import one_line
from farm.domain.errors import BuildError, UnsupportedTargetError
from workers.conversion.graphs import LONGEST_TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from onnx import ModelProto

#: The largest number of FP16; larger weights become it.
_LARGEST_FINITE = 65504.0


def to_fp16(model: ModelProto, kept_layers: Sequence[str]) -> tuple[ModelProto, str]:
    """Everything that can be in FP16, inputs and outputs as they were; and who did it.

    Raises:
        BuildError: the converter does not take the model.
    """
    import onnxruntime
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    try:
        with warnings.catch_warnings():
            # It warns of each number that FP16 can not hold; the comparison with the reference tells what came of it.
            warnings.simplefilter("ignore")
            converted = convert_float_to_float16(
                model,
                max_finite_val=_LARGEST_FINITE,
                keep_io_types=True,
                disable_shape_infer=True,
                node_block_list=list(kept_layers),
            )
            # New Cast nodes stand at the end, and ONNX asks for an order in which everything is there when it is used.
            sorted_model = OnnxModel(converted)
            sorted_model.topological_sort()
    except Exception as error:
        raise _refusal("ONNX Runtime", "FP16", error) from error
    found: ModelProto = sorted_model.model
    return found, f"ONNX Runtime {onnxruntime.__version__}"


def to_half_by_autocast(path: Path, half: str, kept_layers: Sequence[str]) -> tuple[ModelProto, str]:
    """FP16 or BF16 by ModelOpt, which keeps in FP32 what would not fit; and who did it.

    Args:
        path: of the model.
        half: `fp16` or `bf16`.
        kept_layers: nodes that stay in FP32.

    Raises:
        UnsupportedTargetError: ModelOpt is not installed.
        BuildError: it does not take the model.
    """
    try:
        from modelopt.onnx.autocast import convert_to_mixed_precision
    except ImportError as error:
        raise no_modelopt(half) from error
    import re

    try:
        converted: ModelProto = convert_to_mixed_precision(
            str(path),
            low_precision_type=half,
            # Whole names: it takes regular expressions.
            nodes_to_exclude=[f"^{re.escape(name)}$" for name in kept_layers],
            keep_io_types=True,
            providers=["cpu"],
        )
    except Exception as error:
        raise _refusal("ModelOpt", half.upper(), error) from error
    return converted, f"ModelOpt AutoCast {version('nvidia-modelopt')}"


def no_modelopt(precision: str) -> UnsupportedTargetError:
    """That ModelOpt is missing, and how to get it."""
    return UnsupportedTargetError(
        f"{precision} needs NVIDIA's ModelOpt in the worker's environment",
        hint="pip install 'engine-farm[modelopt]' there (with a PyTorch; the CPU build will do), or ask for fp16.",
    )


def _refusal(who: str, what: str, error: Exception) -> BuildError:
    return BuildError(
        f"{who} can not convert the model to {what}: {one_line(error, LONGEST_TEXT)}",
        hint="The log has the whole trace. Try the other converter (--set converter=…), or export the model in that type.",
    )
