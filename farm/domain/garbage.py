"""What garbage collection looks for, and what it found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.domain.stores import Leftovers

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.filing import Engine
    from farm.domain.stores import StoredArtifact

#: What the store has and SQL has never heard of: its writer died, or its submission was given up.
UNKNOWN_KIND = "unknown"


@dataclass(frozen=True)
class RetireQuery:
    """Which engines to retire; one that any of the conditions does not hold for stays.

    Attributes:
        filed_before: only those filed before; none for any age.
        tag: name and value that every submission which asked for the engine has; none for any.
    """

    filed_before: datetime | None = None
    tag: tuple[str, str] | None = None


@dataclass(frozen=True)
class GarbageArtifact:
    """An artifact that nothing refers to.

    Attributes:
        stored: as the store lists it.
        kind: what it was, `unknown` if SQL never heard of it.
    """

    stored: StoredArtifact
    kind: str


@dataclass(frozen=True)
class Sweep:
    """What one collection found, and what it did about it.

    Attributes:
        kept_before: artifacts that were kept or touched since then stayed, by the store's clock.
        engines: retired, or to be retired.
        artifacts: removed, or to be removed.
        leftovers: of killed writers.
        freed_bytes: of all of it.
        spared: how many artifacts somebody wanted between the look and the removal.
        too_young: how many artifacts that nothing refers to are not old enough yet.
        kept_artifacts: how many are left in the store.
        kept_bytes: what they take.
        is_done: whether it was done, or only looked at.
    """

    kept_before: datetime
    engines: tuple[Engine, ...] = ()
    artifacts: tuple[GarbageArtifact, ...] = ()
    leftovers: Leftovers = field(default_factory=Leftovers)
    freed_bytes: int = 0
    spared: int = 0
    too_young: int = 0
    kept_artifacts: int = 0
    kept_bytes: int = 0
    is_done: bool = False
