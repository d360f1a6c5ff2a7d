"""Jobs and attempts: their states, the one transition table, and what a failure leads to.

The diagram in docs/job-lifecycle.md is checked against these tables by a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Mapping

from farm.domain.errors import IllegalTransitionError, PoisonJobError

if TYPE_CHECKING:
    from farm.domain.errors import FarmError


class JobState(str, Enum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows."""
        return not JOB_TRANSITIONS[self]


class AttemptState(str, Enum):
    """Where an attempt stands."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    LOST = "LOST"
    CANCELLED = "CANCELLED"


JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    # FAILED when it waited for longer than it may.
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.FAILED}),
    # Back to QUEUED when the attempt is lost or fails transiently.
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

ATTEMPT_TRANSITIONS: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.RUNNING: frozenset(set(AttemptState) - {AttemptState.RUNNING}),
    **{state: frozenset() for state in AttemptState if state is not AttemptState.RUNNING},
}


class JobKind(str, Enum):
    """What a job does."""

    #: Build, verify and benchmark an engine.
    BUILD = "build"
    #: Verify and benchmark an engine that is already filed, at shapes not measured yet.
    BENCHMARK = "benchmark"


class Phase(str, Enum):
    """What an attempt is doing."""

    PREPARE = "prepare"
    BUILD = "build"
    VERIFY = "verify"
    BENCHMARK = "benchmark"
    UPLOAD = "upload"


class FailureClass(str, Enum):
    """Why an attempt failed, as far as the next step depends on it."""

    #: The request is wrong: never retried, says what to change.
    REQUEST = "request"
    #: The toolchain refused: never retried, its log is kept.
    REFUSED = "refused"
    #: Another attempt may succeed: retried with a growing delay.
    TRANSIENT = "transient"
    #: The job killed two of its processes: parked with its evidence.
    POISON = "poison"
    #: A digest did not match: stop and tell a person.
    CORRUPT = "corrupt"


#: A job whose child died by a signal this often is parked instead of tried again.
POISON_AFTER_CRASHES = 2
DEFAULT_MAX_ATTEMPTS = 3
#: After so long a job goes to the device that failed it too.
AVOID_DEVICE_S = 30.0
#: The code of an attempt that was given back, which is nobody's failure: its worker was told to stop.
RELEASED = "Released"


@dataclass(frozen=True)
class Failure:
    """Why an attempt ended without an engine.

    Attributes:
        failure_class: decides what happens next.
        code: the error's class name, such as `OutOfMemoryError`, or `Lost`.
        message: what happened and why, on one line.
        hint: what to do next; may be empty.
        phase: the phase it happened in; empty if none had begun.
        is_crash: whether a process died by a signal or without a result.
        is_timeout: whether a deadline ended it.
    """

    failure_class: FailureClass
    code: str
    message: str
    hint: str = ""
    phase: str = ""
    is_crash: bool = False
    is_timeout: bool = False

    @property
    def is_release(self) -> bool:
        """Whether the attempt was given back, so that it counts as no failure."""
        return self.code == RELEASED

    @classmethod
    def of(cls, error: FarmError, phase: str) -> Failure:
        """The failure that an error of the farm stands for, in a phase."""
        failure_class = FailureClass(error.failure_class)
        return cls(failure_class, type(error).__name__, error.message, error.hint, phase)

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {**vars(self), "failure_class": self.failure_class.value}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Failure:
        """The inverse of `as_json`."""
        return cls(**{**value, "failure_class": FailureClass(value["failure_class"])})


def next_job_state(
    failure: Failure, *, attempt: int, max_attempts: int, crashes: int
) -> tuple[JobState, Failure]:
    """What becomes of a job whose attempt failed, and the failure as it is then recorded.

    Args:
        failure: how the attempt ended.
        attempt: the number of that attempt, from 1.
        max_attempts: how many the job may have.
        crashes: how many attempts of the job died by a signal, this one included.
    """
    if failure.is_crash and crashes >= POISON_AFTER_CRASHES:
        parked = Failure(
            FailureClass.POISON,
            PoisonJobError.__name__,
            f"{failure.message}; this job has killed {crashes} processes, so it is parked",
            failure.hint or "Read the log; then `farm retry` tries it again.",
            failure.phase,
            is_crash=True,
        )
        return JobState.FAILED, parked
    if failure.failure_class is FailureClass.TRANSIENT and attempt < max_attempts:
        return JobState.QUEUED, failure
    return JobState.FAILED, failure


def retry_delay_s(attempt: int) -> float:
    """How long to wait after the n-th attempt failed: 2, 8, 32, … seconds, at most five minutes."""
    return float(min(2 * 4 ** (attempt - 1), 300))


def check_job_transition(current: JobState, wanted: JobState) -> None:
    """Refuses what the table does not list.

    Raises:
        IllegalTransitionError: the job can not go there.
    """
    if wanted not in JOB_TRANSITIONS[current]:
        raise IllegalTransitionError(f"a job that is {current.value} can not become {wanted.value}")


def check_attempt_transition(current: AttemptState, wanted: AttemptState) -> None:
    """Refuses what the table does not list.

    Raises:
        IllegalTransitionError: the attempt can not go there.
    """
    if wanted not in ATTEMPT_TRANSITIONS[current]:
        raise IllegalTransitionError(f"an attempt that is {current.value} can not become {wanted.value}")
