"""Which releases of TensorRT have a builder option, and why TensorRT-RTX does not offer it.

The releases were read from NVIDIA's Python modules: 8.6.1, 10.0 to 10.6, 10.8, 10.9, 10.12, 10.16, 11.0 and 11.4; 8.5 by
its documentation. What TensorRT-RTX does was measured on 1.7.1, on a host without a GPU: two networks (convolutions,
pooling, matrix product, softmax; one in FP32, one in FP16 with 2:4 sparse weights) built with and without each option.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Mapping, Optional, Tuple

if TYPE_CHECKING:
    from farm.domain.targets import ToolchainId

_SAME = "it is taken there and the engine stays the same, byte for byte"
_NEEDS_GPU = "building with it fails without a GPU, and these engines are built ahead of time"
_NO_LEAN = "it needs the lean runtime, which is not part of TensorRT-RTX"
_NO_DLA = "it is built without DLA"


@dataclass(frozen=True)
class Releases:
    """Where an option is to be found.

    Attributes:
        since: first release of TensorRT that has it, as far as the farm goes back (8.5).
        until: first release that has it no more; none if all later ones have it.
        why_not_rtx: why TensorRT-RTX does not offer it; empty if it does.
    """

    since: Tuple[int, int] = (8, 5)
    until: Optional[Tuple[int, int]] = None
    why_not_rtx: str = _SAME

    def __str__(self) -> str:
        """`TensorRT 10.4 and later`, `TensorRT 8.5 to 10`."""
        first = ".".join(map(str, self.since))
        if self.until is None:
            return f"TensorRT {first} and later"
        if self.since == (self.until[0] - 1, 0):
            return f"TensorRT {self.since[0]}"
        return f"TensorRT {first} to {_LAST_BEFORE[self.until]}"


#: Releases before the ones that took something away; there is no TensorRT 9 for all.
_LAST_BEFORE: Mapping[Tuple[int, int], str] = {(10, 0): "8.6", (11, 0): "10"}
_OLD = Releases(until=(11, 0), why_not_rtx="it has none of TensorRT 10's precision flags and calibrators")

OPTION_RELEASES: Mapping[str, Releases] = {
    "builder_optimization_level": Releases((8, 6)),
    "avg_timing_iterations": Releases(),
    "max_aux_streams": Releases((8, 6)),
    "max_num_tactics": Releases((10, 4)),
    "tiling_optimization_level": Releases((10, 8)),
    "l2_limit_for_tiling": Releases((10, 8)),
    "profiling_verbosity": Releases(why_not_rtx=""),
    "tactic_sources": Releases(),
    "preview_features": Releases(why_not_rtx=""),
    "quantization_flags": _OLD,
    "precision_constraints": _OLD,
    "strongly_typed": Releases((10, 0), (11, 0), "its networks always have the model's own types"),
    "memory_pool_limits.WORKSPACE": Releases(why_not_rtx=""),
    "memory_pool_limits.TACTIC_DRAM": Releases(),
    "memory_pool_limits.TACTIC_SHARED_MEMORY": Releases((10, 0), why_not_rtx=""),
    "memory_pool_limits.DLA_MANAGED_SRAM": Releases(why_not_rtx=_NO_DLA),
    "memory_pool_limits.DLA_LOCAL_DRAM": Releases(why_not_rtx=_NO_DLA),
    "memory_pool_limits.DLA_GLOBAL_DRAM": Releases(why_not_rtx=_NO_DLA),
    "default_device_type": Releases(why_not_rtx=_NO_DLA),
    "DLA_core": Releases(why_not_rtx=_NO_DLA),
    "gpu_fallback": Releases(why_not_rtx=_NO_DLA),
    "engine_capability": Releases(why_not_rtx="it builds standard engines alone"),
    "hardware_compatibility_level": Releases(
        (8, 6),
        why_not_rtx="it only warns that this is unsupported there; its engines are for a compute capability",
    ),
    "version_compatible": Releases((8, 6), why_not_rtx=_NO_LEAN),
    "exclude_lean_runtime": Releases((8, 6), why_not_rtx=_NO_LEAN),
    "runtime_platform": Releases((10, 2), why_not_rtx="the one for Linux refuses to build for Windows"),
    "refit": Releases(why_not_rtx=_NEEDS_GPU),
    "refit_identical": Releases((10, 0), why_not_rtx=_NEEDS_GPU),
    "refit_individual": Releases((10, 2), why_not_rtx=_NEEDS_GPU),
    "strip_plan": Releases((10, 0), why_not_rtx=_NEEDS_GPU),
    "weight_streaming": Releases((10, 0), why_not_rtx=""),
    "sparse_weights": Releases(),
    "direct_io": Releases(why_not_rtx=""),
    "strict_nans": Releases((10, 6)),
    "distributive_independence": Releases((10, 12)),
    "disable_compilation_cache": Releases((10, 0)),
    "error_on_timing_cache_miss": Releases(
        (10, 0), why_not_rtx="it times nothing, so there is no timing cache to miss"
    ),
    "timing_cache": Releases(why_not_rtx="it times nothing, so there is no timing cache"),
}
#: What a builder has and the farm offers nowhere.
_NOWHERE = {
    "editable_timing_cache": "nothing in the farm edits a timing cache by hand; `farm caches drop` disowns one",
}
#: Words of options that came after the option.
CHOICE_RELEASES: Mapping[Tuple[str, str], Releases] = {
    ("hardware_compatibility_level", "SAME_COMPUTE_CAPABILITY"): Releases((10, 9)),
    ("preview_features", "FASTER_DYNAMIC_SHAPES_0805"): Releases(until=(10, 0)),
    ("preview_features", "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"): Releases(until=(10, 0)),
    ("preview_features", "PROFILE_SHARING_0806"): Releases((8, 6), (11, 0)),
    ("preview_features", "ALIASED_PLUGIN_IO_10_03"): Releases((10, 3)),
    ("preview_features", "RUNTIME_ACTIVATION_RESIZE_10_10"): Releases((10, 10)),
    ("tactic_sources", "CUBLAS"): Releases(until=(11, 0)),
    ("tactic_sources", "CUBLAS_LT"): Releases(until=(11, 0)),
    ("tactic_sources", "CUDNN"): Releases(until=(11, 0)),
}


def where_it_is(toolchain: ToolchainId, option: str, word: str = "") -> str:
    """Why a toolchain lacks an option that TensorRT has somewhere, and where that is.

    Args:
        toolchain: that lacks it.
        option: its name.
        word: one of its words, if it is the word that is missing.

    Returns:
        A sentence; empty where nothing is known of such an option, or the toolchain should have it.
    """
    releases = (
        CHOICE_RELEASES.get((option, word.upper().lstrip("+-"))) if word else OPTION_RELEASES.get(option)
    )
    if releases is None:
        return f"{option} is not offered: {_NOWHERE[option]}." if option in _NOWHERE and not word else ""
    name = f"{option}={word}" if word else option
    if toolchain.name == "tensorrt-rtx":
        if word or not releases.why_not_rtx:
            return f"{name} is in {releases}."
        return f"{option} is not offered for TensorRT-RTX: {releases.why_not_rtx}."
    if toolchain.name == "tensorrt" and is_in(releases, toolchain):
        return ""
    return f"{name} is in {releases}."


def is_in(releases: Releases, toolchain: ToolchainId) -> bool:
    """Whether a release of TensorRT is among them."""
    return toolchain.version_order[:2] >= releases.since and (
        releases.until is None or toolchain.version_order[:2] < releases.until
    )
