"""Timing caches combined, in the interpreter of the toolchain that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from farm.domain.errors import BuildError
from workers.toolchains import load_toolchain

if TYPE_CHECKING:
    from workers.child.requests import MergeRequest
    from workers.toolchains.toolchain import MergesTimingCaches


def merge_caches(request: MergeRequest) -> dict[str, Any]:
    """Writes what the given caches hold together.

    Returns:
        `written`, whether there was anything to write, and `refused`, the paths that the toolchain did not take.

    Raises:
        BuildError: the toolchain here is another one, or has no timing caches.
    """
    toolchain = load_toolchain(request.toolchain)
    found = toolchain.describe().id
    if found.version != request.toolchain_version:
        raise BuildError(
            f"this interpreter has {found}, but the caches are of {request.toolchain} {request.toolchain_version}"
        )
    if not hasattr(toolchain, "merge_timing_caches"):
        raise BuildError(f"{found} has no timing caches")
    taken = cast("MergesTimingCaches", toolchain).merge_timing_caches(request.caches, request.merged_path)
    return {
        "written": any(taken),
        "refused": [str(path) for path, was_taken in zip(request.caches, taken) if not was_taken],
    }
