"""What is measured of a farm itself, for those who watch it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.overview import TargetLoad


@dataclass(frozen=True)
class Durations:
    """How long things took that happened in a window.

    Attributes:
        count: how many.
        seconds: all together.
    """

    count: int
    seconds: float


@dataclass(frozen=True)
class FarmFigures:
    """A farm at one moment.

    Attributes:
        loads: of every target.
        jobs: how many are in each state.
        attempts: how many ended in each state.
        failures: failed attempts by class.
        builds: build time by (toolchain, precision), of attempts that succeeded.
        queued: how long attempts waited before they were claimed.
        store_bytes: of what is filed, by kind.
        caches_lent: builds that were lent a timing cache.
        saved_s: seconds that timing caches saved.
        answered: cells by what they found: built, shared, queued.
        workers: how many are live, draining, lost.
    """

    loads: tuple[TargetLoad, ...]
    jobs: Mapping[str, int]
    attempts: Mapping[str, int]
    failures: Mapping[str, int]
    builds: Mapping[tuple[str, str], Durations]
    queued: Durations
    store_bytes: Mapping[str, int]
    caches_lent: int
    saved_s: float
    answered: Mapping[str, int]
    workers: Mapping[str, int] = field(default_factory=dict)
