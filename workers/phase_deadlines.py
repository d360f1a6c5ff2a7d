"""How long a phase may take, beside the deadline of the attempt as a whole."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from farm.domain.durations import duration_text
from farm.domain.errors import DeadlineExceededError
from farm.domain.jobs import Failure, FailureClass, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class PhaseDeadlines:
    """Watches the phase that somebody is in; a phase begins when it is first seen.

    Args:
        limits: seconds by phase; a phase that is not named may take as long as the attempt.
        clock: in seconds.
    """

    def __init__(self, limits: Mapping[Phase, int], clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._began: dict[str, float] = {}

    def forgive(self, waited_s: float) -> None:
        """Gives the phases back what was spent on waiting for somebody else."""
        self._began = {phase: began + waited_s for phase, began in self._began.items()}

    def remaining_s(self, phase: Phase) -> float:
        """How long a phase may still take, in seconds; infinity if it has no limit."""
        limit = self._limits.get(phase)
        if limit is None:
            return math.inf
        now = self._clock()
        return max(limit - (now - self._began.get(phase.value, now)), 0.0)

    def look(self, phase: str) -> Failure | None:
        """The failure that ends the attempt now; none while the phase has time, or has no limit."""
        if not phase:
            return None
        now = self._clock()
        began = self._began.setdefault(phase, now)
        limit = self._limits.get(Phase(phase))
        if limit is None or now - began <= limit:
            return None
        return Failure(
            FailureClass.TRANSIENT,
            DeadlineExceededError.__name__,
            f"phase {phase} was stopped after {duration_text(limit)}, which is what it may take",
            hint=f"Allow more with --deadline {phase}=…; time in the queue does not count.",
            phase=phase,
            is_timeout=True,
        )
