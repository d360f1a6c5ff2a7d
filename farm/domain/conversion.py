"""Typed conversion: how a precision gets into a model whose builder has no flags for it.

TensorRT 11 and TensorRT-RTX build a network in the model's own types, TensorRT 10 does where it is told to, and ONNX
Runtime computes in INT8 what is quantized. For them the model is converted before it is built.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Mapping, Optional

from farm.domain.precisions import is_quantized, parts_of

if TYPE_CHECKING:
    from farm.domain.models import Model
    from farm.domain.targets import DeviceType, ToolchainId

#: The builder option that names who converts: `AUTO` is the first choice for each type.
CONVERTER_OPTION = "converter"
CONVERTERS = ("AUTO", "MODELOPT")
#: The builder option of TensorRT 10 that has the network in the model's own types.
STRONGLY_TYPED_OPTION = "strongly_typed"
_RTX, _TENSORRT, _ONNXRUNTIME = "tensorrt-rtx", "tensorrt", "onnxruntime"


@dataclass(frozen=True)
class Conversion:
    """What is done to a model before it is built.

    Attributes:
        half: `fp16` or `bf16` for what can be in 16 bits; empty to leave it.
        quantized: `int8` or `fp8` for what Q/DQ nodes are put around; empty for none.
        converter: of `CONVERTERS`.
        for_cpu: whether ONNX Runtime runs it, which quantizes otherwise than TensorRT reads it.
    """

    half: str = ""
    quantized: str = ""
    converter: str = "AUTO"
    for_cpu: bool = False

    @property
    def needs_modelopt(self) -> bool:
        """Whether only ModelOpt does it."""
        return self.converter == "MODELOPT" or self.half == "bf16"


def is_strongly_typed(toolchain: ToolchainId, precision: str, options: Mapping[str, Any]) -> bool:
    """Whether the model's own types decide, and not the builder's flags."""
    if toolchain.name == _RTX:
        return True
    if toolchain.name != _TENSORRT or toolchain.version_order < (10,):
        return False
    # FP8 is not to be had from TensorRT 10 by flags.
    return toolchain.version_order >= (11,) or bool(options.get(STRONGLY_TYPED_OPTION)) or "fp8" in precision


def needs_modelopt(toolchain: ToolchainId, precision: str) -> bool:
    """Whether a toolchain does a precision with ModelOpt only."""
    return "bf16" in parts_of(precision) and is_strongly_typed(toolchain, precision, {})


def conversion_of(
    toolchain: ToolchainId, precision: str, options: Mapping[str, Any], model: Model
) -> Optional[Conversion]:
    """How a model is converted for a cell; none where it is built as it is.

    Args:
        toolchain: of the cell.
        precision: of the cell.
        options: the cell's builder options.
        model: of the cell; one with Q/DQ nodes says by itself what is quantized.
    """
    for_cpu = toolchain.name == _ONNXRUNTIME
    if not for_cpu and not is_strongly_typed(toolchain, precision, options):
        return None
    wanted = whole_conversion(precision, options, for_cpu=for_cpu)
    if model.has_qdq_nodes:
        wanted = replace(wanted, quantized="")
    return wanted if wanted.quantized or wanted.half else None


def whole_conversion(precision: str, options: Mapping[str, Any], *, for_cpu: bool = False) -> Conversion:
    """All that a precision names, whoever would do it and whatever the model says by itself.

    Args:
        precision: of a cell.
        options: the cell's builder options.
        for_cpu: whether ONNX Runtime is to run the model.
    """
    parts = parts_of(precision)
    quantized = next((part for part in ("int8", "fp8") if part in parts), "")
    half = next((part for part in ("fp16", "bf16") if part in parts), "")
    return Conversion(half, quantized, str(options.get(CONVERTER_OPTION, CONVERTERS[0])), for_cpu)


def why_model_can_not(toolchain: ToolchainId, device_type: DeviceType, precision: str, model: Model) -> str:
    """Why a model can not be built with a precision for a device by a toolchain; empty if nothing is known against it.

    Measured with TensorRT-RTX 1.7.1: for compute capability 7.5 it has no matrix product in FP32 ("FP32 GEMM is not
    supported"), which a model keeps that is quantized only.
    """
    if toolchain.name != _RTX or device_type.compute_capability != "7.5" or "fp16" in parts_of(precision):
        return ""
    products = sorted({"MatMul", "Gemm"} & set(model.operators))
    # Without a cast everything has the inputs' type. With one the builder says what it finds.
    is_fp32 = "Cast" not in model.operators and any(tensor.dtype == "float32" for tensor in model.inputs)
    if not products or not is_fp32:
        return ""
    nearest = "int8+fp16" if is_quantized(precision) else "fp16"
    return f"TensorRT-RTX has no {products[0]} in FP32 for compute capability 7.5; nearest: {nearest}"
