"""Options and precisions of Torch-TensorRT, by the parameters that a release's `compile` has."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Callable, Mapping

from farm.domain.errors import InvalidSpecError
from farm.domain.precisions import PRECISIONS
from farm.domain.toolchains import BuilderOption

if TYPE_CHECKING:
    from farm.domain.targets import ToolchainId

Parameters = Mapping[str, inspect.Parameter]

PRECISIONS_DONE = ("fp32", "tf32", "fp16", "bf16")
_TYPES = {"fp16": "float16", "bf16": "bfloat16"}
_QUANTIZED = "a program is quantized before it is exported (ModelOpt), and then built as fp32; nearest: fp16"
_TILING = ("NONE", "FAST", "MODERATE", "FULL")
#: Every option that the farm offers; defaults are those of the installed release, and these where it says none.
_OPTIONS = (
    BuilderOption(
        "min_block_size", "int", 5, minimum=1, help="Least number of operators that are worth an engine."
    ),
    BuilderOption("optimization_level", "int", 3, maximum=5, help="How long TensorRT looks for tactics."),
    BuilderOption("workspace_size", "bytes", 0, help="What tactics may take; 0 for all that there is."),
    BuilderOption(
        "require_full_compilation", "bool", default=False, help="Refuse what TensorRT does not take whole."
    ),
    BuilderOption("truncate_double", "bool", default=False, help="Take float64 as float32."),
    BuilderOption("num_avg_timing_iters", "int", 1, minimum=1, help="Runs that each tactic is timed by."),
    BuilderOption("sparse_weights", "bool", default=False, help="Look for structured sparsity in weights."),
    BuilderOption("version_compatible", "bool", default=False, help="Engines for later releases too."),
    BuilderOption("hardware_compatible", "bool", default=False, help="Engines for Ampere and later GPUs."),
    BuilderOption(
        "max_aux_streams", "int", -1, minimum=-1, help="Streams beside the main one; -1 leaves it open."
    ),
    BuilderOption("immutable_weights", "bool", default=True, help="Engines that can not be refitted."),
    BuilderOption("strip_engine_weights", "bool", default=False, help="Leave weights out of the engines."),
    BuilderOption("enable_weight_streaming", "bool", default=False, help="Weights may stay on the host."),
    BuilderOption("use_fp32_acc", "bool", default=False, help="Accumulate FP16 products in FP32."),
    BuilderOption("use_fast_partitioner", "bool", default=True, help="Split the graph by neighbours alone."),
    BuilderOption(
        "enable_experimental_decompositions", "bool", default=False, help="Take more operators apart."
    ),
    BuilderOption(
        "assume_dynamic_shape_support", "bool", default=False, help="Take converters to know dynamic shapes."
    ),
    BuilderOption("decompose_attention", "bool", default=False, help="Take attention apart."),
    BuilderOption("attn_bias_is_causal", "bool", default=True, help="Take attention masks for causal ones."),
    BuilderOption("tiling_optimization_level", "choice", "NONE", _TILING, help="How far tiling is searched."),
)


def compile_parameters(torch_tensorrt: Any) -> Parameters:
    """What `torch_tensorrt.dynamo.compile` of this release takes, by name."""
    return inspect.signature(torch_tensorrt.dynamo.compile).parameters


def options_of(parameters: Parameters) -> tuple[BuilderOption, ...]:
    """The options that a release has, with the defaults that it has for them."""
    return tuple(
        BuilderOption(**{**vars(option), "default": _default(option, parameters[option.name])})
        for option in _OPTIONS
        if option.name in parameters
    )


def _default(option: BuilderOption, parameter: inspect.Parameter) -> Any:
    """The release's own default as a canonical value."""
    value = parameter.default
    # None leaves it to TensorRT, whose default is the option's.
    return option.default if value is None or value is parameter.empty else option.parse(value)


def settings_of(parameters: Parameters, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `compile` for chosen options.

    Raises:
        InvalidSpecError: the release has no such option.
    """
    for name in chosen:
        if name not in parameters:
            raise InvalidSpecError(f"this release of Torch-TensorRT has no option {name!r}")
    found = {name: value.lower() if isinstance(value, str) else value for name, value in chosen.items()}
    if found.get("max_aux_streams") == -1:
        del found["max_aux_streams"]
    return found


def precisions_of(toolchain: ToolchainId) -> dict[str, str]:
    """Each known precision with an empty text, or with the reason why it is not done."""
    reasons = {"best": "Torch-TensorRT takes one type for what is not FP32; nearest: fp16"}
    return {
        name: "" if name in PRECISIONS_DONE else f"{reasons.get(name, _QUANTIZED)} ({toolchain})"
        for name in PRECISIONS
    }


def precision_arguments(
    parameters: Parameters, precision: str, dtype: Callable[[str], Any]
) -> dict[str, Any]:
    """Arguments of `compile` for a precision.

    The network has the program's own types, and autocast puts what can be in 16 bits there. Releases that have
    `use_explicit_typing` could also be told a set of types (`enabled_precisions`), which is gone in later ones.

    Args:
        parameters: of the release's `compile`.
        precision: of the cell.
        dtype: PyTorch's type of a name such as `float16`.

    Raises:
        InvalidSpecError: it is none that is done.
    """
    if precision not in PRECISIONS_DONE:
        raise InvalidSpecError(
            f"precision {precision} is not supported by Torch-TensorRT",
            hint=f"Supported: {', '.join(PRECISIONS_DONE)}.",
        )
    found: dict[str, Any] = {"disable_tf32": precision == "fp32"}
    if "use_explicit_typing" in parameters:
        found["use_explicit_typing"] = True
    if precision in _TYPES:
        found |= {"enable_autocast": True, "autocast_low_precision_type": dtype(_TYPES[precision])}
    return found
