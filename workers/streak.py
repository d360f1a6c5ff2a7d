"""When a worker stops trusting itself: several jobs in a row that failed for no fault of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import FailureClass

if TYPE_CHECKING:
    from farm.domain.jobs import Failure

#: So many different jobs in a row.
MOST_FAILED = 3
#: Failures that say something of the machine; a wrong request and a toolchain that refuses are the job's own.
_OF_MACHINES = (FailureClass.TRANSIENT, FailureClass.POISON, FailureClass.CORRUPT)


class FailureStreak:
    """Counts different jobs that failed one after the other on one worker."""

    def __init__(self) -> None:
        self._jobs: dict[str, Failure] = {}

    def note(self, job_id: str, failure: Failure | None, *, succeeded: bool) -> str:
        """Notes how an attempt ended; why the worker should drain itself, or an empty text.

        Args:
            job_id: of its job.
            failure: if it failed.
            succeeded: whether it filed something. What was given back, cancelled or superseded is neither.
        """
        if succeeded:
            self._jobs.clear()
        elif failure is not None and failure.failure_class in _OF_MACHINES:
            self._jobs[job_id] = failure
        if len(self._jobs) < MOST_FAILED:
            return ""
        last = failure or next(reversed(self._jobs.values()))
        jobs = ", ".join(self._jobs)
        self._jobs.clear()
        return f"{MOST_FAILED} different jobs failed here in a row ({jobs}); the last one: {last.message}"
