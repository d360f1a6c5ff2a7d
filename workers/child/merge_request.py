"""What the supervisor asks of the child that combines timing caches, as a JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Tuple


@dataclass(frozen=True)
class MergeRequest:
    """Combine timing caches.

    Attributes:
        toolchain: name of the toolchain that made them.
        toolchain_version: its exact version.
        caches: their files; of two timings of one tactic the earlier file's holds.
        merged_path: where to write what they hold together.
    """

    toolchain: str
    toolchain_version: str
    caches: Tuple[Path, ...]
    merged_path: Path


def merge_request_as_json(request: MergeRequest) -> dict[str, Any]:
    """The document that `merge_request_from_json` reads."""
    return {
        "operation": "merge-caches",
        "toolchain": request.toolchain,
        "toolchain_version": request.toolchain_version,
        "caches": [str(path) for path in request.caches],
        "merged_path": str(request.merged_path),
    }


def merge_request_from_json(value: Mapping[str, Any]) -> MergeRequest:
    """The inverse of `merge_request_as_json`."""
    return MergeRequest(
        value["toolchain"],
        value["toolchain_version"],
        tuple(Path(path) for path in value["caches"]),
        Path(value["merged_path"]),
    )
