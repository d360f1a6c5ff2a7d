"""Timing caches combined, in the interpreter of the toolchain that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from farm.domain.errors import BuildError
from workers.child.loading import load_exactly

if TYPE_CHECKING:
    from workers.child.merge_request import MergeRequest
    from workers.toolchains.toolchain import MergesTimingCaches


def merge_caches(request: MergeRequest) -> dict[str, Any]:
    """Writes what the given caches hold together.

    Returns:
        `written`, whether there was anything to write, and `refused`, the paths that the toolchain did not take.

    Raises:
        ConflictError: the toolchain here has another version.
        BuildError: it has no timing caches.
    """
    toolchain = load_exactly(request.toolchain, request.toolchain_version)
    if not hasattr(toolchain, "merge_timing_caches"):
        raise BuildError(f"{toolchain.describe().id} has no timing caches")
    taken = cast("MergesTimingCaches", toolchain).merge_timing_caches(request.caches, request.merged_path)
    return {
        "written": any(taken),
        "refused": [str(path) for path, was_taken in zip(request.caches, taken) if not was_taken],
    }
