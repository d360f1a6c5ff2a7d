"""Files of a store in a folder, and rights to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.storage.artifact_folder import ArtifactFolder


ROOT = Path(__file__).parents[3]
MIB = 1 << 20


def files_of(store: ArtifactFolder) -> list[Path]:
    """Every file of a store, unfinished ones too."""
    return [path for path in store.root.rglob("*") if path.is_file()]
