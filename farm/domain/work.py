"""The farm's records of work: submissions, their cells, jobs and attempts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.errors import InvalidSpecError
from farm.domain.jobs import DEFAULT_MAX_ATTEMPTS, AttemptState, Failure, JobKind, JobState, Phase
from farm.domain.verification import VerificationSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from farm.domain.calibration_caches import ReturnedCalibrationCache
    from farm.domain.digests import Digest
    from farm.domain.manifests import SignedManifest
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Target
    from farm.domain.timing_caches import ReturnedCache


#: One attempt builds them all.
MOST_BUILDS = 32


class Disposition(str, Enum):
    """What a submission finds for one of its cells."""

    #: The engine is filed already: answered from the store.
    BUILT = "built"
    #: Somebody's job for the same spec is queued or running: shared.
    SHARED = "shared"
    #: A new job.
    QUEUED = "queued"


@dataclass(frozen=True)
class JobRequest:
    """What a job is to do beside its build spec; not part of the key.

    Attributes:
        kind: build, or benchmark of a filed engine.
        benchmark: how to time.
        verification: what to verify with.
        max_attempts: how often it may be tried.
        deadline_s: how long one attempt may take.
        phase_deadlines: how long a phase of it may take, in seconds; phases that are not named may take all.
        queue_timeout_s: how long it may wait for a worker, each time that it waits; for ever if none.
        priority: higher goes first.
        rebuild_by: who wants the engine built anew although one is filed; empty if nobody does.
        builds: how often one attempt builds the cell, to keep the fastest engine that verifies.
        on_device: UUID of the only device that may have it; any of the target's if empty.
        repeat: which one of several equal benchmarks, from 1; each is a job of its own.
        against: number of another engine, with which a benchmark holds the filed one, block by block; 0 for none.
    """

    kind: JobKind = JobKind.BUILD
    benchmark: BenchmarkSpec = field(default_factory=BenchmarkSpec)
    verification: VerificationSpec = field(default_factory=VerificationSpec)
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    deadline_s: int = 4 * 3600
    phase_deadlines: Mapping[Phase, int] = field(default_factory=dict)
    queue_timeout_s: float | None = None
    priority: int = 0
    rebuild_by: str = ""
    builds: int = 1
    on_device: str = ""
    repeat: int = 1
    against: int = 0

    def __post_init__(self) -> None:
        """Refuse what no attempt does."""
        if not 1 <= self.builds <= MOST_BUILDS:
            raise InvalidSpecError(f"a cell is built 1 to {MOST_BUILDS} times, not {self.builds}")

    @property
    def is_rebuild(self) -> bool:
        """Whether what it builds is to take the place of an engine that is filed."""
        return bool(self.rebuild_by)


@dataclass(frozen=True)
class Job:
    """One build or one benchmark; equal specs share one however many users ask."""

    id: str
    state: JobState
    spec: BuildSpec
    request: JobRequest
    attempts: int
    created_at: datetime
    finished_at: datetime | None = None
    worker_id: str = ""
    cancel_requested: bool = False
    not_before: datetime | None = None
    lease_until: datetime | None = None
    failure: Failure | None = None
    user: str = ""
    queue_deadline_at: datetime | None = None
    avoid_device: str = ""

    @property
    def target(self) -> Target:
        """Where it is built for."""
        return self.spec.target


@dataclass(frozen=True)
class WantedJob:
    """A job that is to be queued.

    Attributes:
        position: of jobs queued at one moment the lowest goes first.
        user: who pays for it with a share of the fleet.
    """

    spec: BuildSpec
    request: JobRequest
    position: int = 0
    user: str = ""


@dataclass(frozen=True)
class FollowUp:
    """What a cell wants beyond the build that it shares: measured when that has filed its engine.

    Attributes:
        submission_id: whose cell.
        position: of the cell.
        job_id: of the build that it shares.
        request: the benchmark.
        user: who wants it.
    """

    submission_id: str
    position: int
    job_id: str
    request: JobRequest
    user: str = ""


@dataclass(frozen=True)
class Finished:
    """What the end of an attempt that succeeded leads to.

    Attributes:
        engine_id: the number of the engine.
        has_follow_ups: whether cells want something beyond it.
    """

    engine_id: int
    has_follow_ups: bool


@dataclass(frozen=True)
class WakeUp:
    """What is told to a target's queue: that a job is due. Whoever hears it takes the best one there is.

    Attributes:
        target: whose workers are meant.
        job_id: of some due job; workers of releases before 0.2 take this very one.
    """

    target: Target
    job_id: str


#: How the message of an attempt begins that can not go on by itself.
WAITING = "waiting: "


@dataclass(frozen=True)
class Attempt:
    """One try of a job by one worker."""

    id: int
    job_id: str
    number: int
    state: AttemptState
    worker_id: str
    host: str
    device_uuid: str
    driver_version: str
    phase: str
    fraction: float | None
    message: str
    claimed_at: datetime
    finished_at: datetime | None
    failure: Failure | None
    log: Digest | None
    seconds: Mapping[str, float]

    @property
    def state_text(self) -> str:
        """How it stands, in a word for people."""
        is_release = self.failure is not None and self.failure.is_release
        return "given back" if is_release else self.state.value.lower()

    @property
    def waits(self) -> str:
        """What it waits for, such as a device that somebody else holds; empty while it works."""
        return self.message if self.message.startswith(WAITING) else ""


@dataclass(frozen=True)
class Cell:
    """One (target x precision) of a submission, with what became of it."""

    position: int
    spec: BuildSpec
    disposition: Disposition
    job_id: str = ""
    engine_id: int | None = None


@dataclass(frozen=True)
class Submission:
    """One user's request; `is_withdrawn` once it was cancelled, though others may still wait for its jobs."""

    id: str
    model_name: str
    model_version: int
    model_sha256: str
    user: str
    created_at: datetime
    tags: Mapping[str, str]
    cells: tuple[Cell, ...]
    is_withdrawn: bool = False


@dataclass(frozen=True)
class ModelName:
    """A name's version: which model it meant from when on."""

    name: str
    version: int
    model_sha256: str
    created_at: datetime

    def __str__(self) -> str:
        """As users write it: `resnet50@2`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class DisturbedRun:
    """A run that something disturbed, and that was made again.

    Attributes:
        measurements: as JSON, with what disturbed each.
        samples: digest of the raw samples.
    """

    measurements: tuple[Mapping[str, Any], ...]
    samples: Digest | None


@dataclass(frozen=True)
class AttemptOutcome:
    """What a successful attempt leaves to be filed.

    Attributes:
        engine: digest of the engine's bytes; none for a benchmark of a filed engine.
        build: facts of the build, as `BuildOutput` has them.
        accuracy: as JSON; none if the engine could not be run here.
        unverified_reason: why not, in that case.
        measurements: as JSON.
        samples: digest of the raw samples.
        timing_cache: what the build gives back of its timing cache; none where there is no such thing.
        seconds: wall time of each phase.
        environment: facts of the child process.
        signed: what the worker states and signs about the engine.
        measured: digest of the filed engine's bytes that a benchmark measured; none for a build.
        layer_information: digest of what the engine told of its layers.
        profile: digest of the times of its layers.
        nsys: digest of the report of Nsight Systems.
        calibration_cache: what the build gives back of its calibration cache; none where nothing is to be noted.
        startup: from the engine's file to its first answer: seconds and memory, as JSON.
        comparison: with another engine, block by block, as JSON.
        histogram: digest of how the errors of the outputs are spread.
        disturbed: the runs before this one that something disturbed, oldest first.
    """

    engine: Digest | None
    build: Mapping[str, Any]
    accuracy: Mapping[str, Any] | None
    unverified_reason: str
    measurements: tuple[Mapping[str, Any], ...]
    samples: Digest | None
    timing_cache: ReturnedCache | None
    seconds: Mapping[str, float]
    environment: Mapping[str, Any]
    signed: SignedManifest | None = None
    measured: Digest | None = None
    layer_information: Digest | None = None
    profile: Digest | None = None
    nsys: Digest | None = None
    calibration_cache: ReturnedCalibrationCache | None = None
    startup: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] = field(default_factory=dict)
    histogram: Digest | None = None
    disturbed: tuple[DisturbedRun, ...] = ()

    @property
    def measured_sha256(self) -> str:
        """Of the bytes that the figures are of; empty if nobody says."""
        digest = self.engine or self.measured
        return digest.sha256 if digest else ""
