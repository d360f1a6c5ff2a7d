"""Builder options that need or exclude one another, and those whose engines can not be run as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping

from farm.domain.conversion import STRONGLY_TYPED_OPTION, is_strongly_typed
from farm.domain.errors import InvalidSpecError

if TYPE_CHECKING:
    from farm.domain.targets import ToolchainId

#: `kREFIT, kREFIT_INDIVIDUAL and kREFIT_IDENTICAL are mutually exclusive`: TensorRT unsets the first with a mere warning.
_REFITS = ("refit", "refit_identical", "refit_individual")


def check_together(options: Mapping[str, Any]) -> None:
    """Checks canonical options of one toolchain against each other.

    Raises:
        InvalidSpecError: one excludes another, or needs one that is missing.
    """
    refits = [name for name in _REFITS if options.get(name)]
    if len(refits) > 1:
        raise InvalidSpecError(
            f"{' and '.join(refits)} exclude each other: an engine is refitted in one way",
            hint="refit replaces any weight, refit_identical puts the same ones back, refit_individual names them.",
        )
    if options.get("exclude_lean_runtime") and not options.get("version_compatible"):
        raise InvalidSpecError(
            "exclude_lean_runtime needs version_compatible: other engines hold no lean runtime",
            hint="Add version_compatible=true, or leave it out.",
        )
    if options.get("error_on_timing_cache_miss") and options.get("timing_cache") is False:
        raise InvalidSpecError(
            "error_on_timing_cache_miss needs the timing cache, and timing_cache=false switches it off"
        )
    _check_dla(options)


def _check_dla(options: Mapping[str, Any]) -> None:
    is_dla = options.get("default_device_type") == "DLA"
    if not is_dla:
        for name in ("DLA_core", "gpu_fallback"):
            if name in options:
                raise InvalidSpecError(
                    f"{name} needs default_device_type=DLA: without it nothing runs on DLA"
                )
    if options.get("engine_capability") == "DLA_STANDALONE":
        if not is_dla:
            raise InvalidSpecError("engine_capability=DLA_STANDALONE needs default_device_type=DLA")
        if options.get("gpu_fallback"):
            raise InvalidSpecError(
                "engine_capability=DLA_STANDALONE excludes gpu_fallback: all of it runs on DLA"
            )


def why_options_can_not(
    toolchain: ToolchainId, precision: str, options: Mapping[str, Any], builds: int = 1
) -> str:
    """Why a cell can not be built with its options; empty if it can.

    Args:
        toolchain: of the cell.
        precision: of the cell.
        options: the cell's canonical builder options.
        builds: how often it is built, to keep the fastest engine.
    """
    never = why_never_run(options)
    if never and builds > 1:
        return f"there is no fastest of {builds} builds, since their engines are not timed ({never})"
    if options.get("weight_streaming") and not is_strongly_typed(toolchain, precision, options):
        return f"weight_streaming is for strongly typed networks alone: add {STRONGLY_TYPED_OPTION}=true"
    if options.get("precision_constraints") and is_strongly_typed(toolchain, precision, options):
        return "precision_constraints has no effect on a strongly typed network: its types hold anyway"
    return ""


def why_never_run(options: Mapping[str, Any]) -> str:
    """Why an engine that is built with these options can not be run as it is; empty if it can."""
    if options.get("strip_plan"):
        return "stripped plan: its weights must be put back (refit) before it can run"
    if options.get("runtime_platform", "SAME_AS_BUILD") != "SAME_AS_BUILD":
        return f"built for another system: runtime_platform={options['runtime_platform']}"
    if options.get("exclude_lean_runtime"):
        return "built without its lean runtime: whoever loads it must bring one"
    if options.get("engine_capability", "STANDARD") != "STANDARD":
        return (
            f"engine_capability={options['engine_capability']}: TensorRT's standard runtime does not load it"
        )
    return ""
