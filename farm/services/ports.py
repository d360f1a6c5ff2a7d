"""The ports: what the services need of a database, a store and a queue, as Protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.filing import Engine, HistoryEntry
    from farm.domain.jobs import AttemptState, Failure, JobState, Phase
    from farm.domain.models import Model
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Device, DeviceType, Target, ToolchainId
    from farm.domain.toolchains import ToolchainDescription
    from farm.domain.work import (
        Attempt,
        AttemptOutcome,
        Cell,
        Job,
        JobRequest,
        ModelName,
        Submission,
        Worker,
        WorkerRegistration,
    )


class ModelCatalog(Protocol):
    """Models and their names."""

    def add(self, model: Model) -> None:
        """Files a model; the same content twice is the same model."""

    def get(self, sha256: str) -> Model:
        """A model by its content. Raises NotFoundError."""

    def name(self, name: str, sha256: str) -> ModelName:
        """What the name means from now on: its latest version, or a new one for other content."""

    def named(self, reference: str) -> ModelName:
        """`resnet50`, `resnet50@2` or a digest's first digits. Raises NotFoundError."""

    def names(self) -> list[ModelName]:
        """Every version of every name, newest last."""


class FleetCatalog(Protocol):
    """Device types, devices, toolchains and workers."""

    def register(self, registration: WorkerRegistration) -> dict[DeviceType, str]:
        """Files a worker with its device, toolchains and targets; the slug of each device type."""

    def describe(
        self, device_types: Sequence[DeviceType], toolchains: Sequence[ToolchainDescription]
    ) -> None:
        """Files what a machine could serve, with no worker behind it yet."""

    def beat(self, worker_id: str) -> None:
        """Notes that a worker lives."""

    def stop(self, worker_id: str) -> None:
        """Notes that a worker has left."""

    def workers(self) -> list[Worker]:
        """Every worker, the live ones first."""

    def device_types(self) -> dict[str, DeviceType]:
        """Every device type ever seen, by slug."""

    def devices(self) -> list[Device]:
        """Every device ever seen."""

    def toolchains(self) -> list[ToolchainDescription]:
        """Every toolchain ever seen."""

    def known_targets(self) -> set[tuple[DeviceType, ToolchainId]]:
        """Every pair that some worker has served or could serve."""


class JobLedger(Protocol):
    """Submissions, jobs and attempts; every write of an attempt carries its number."""

    def add_submission(
        self,
        *,
        name: ModelName,
        user: str,
        tags: dict[str, str],
        cells: Sequence[Cell],
        request: dict[str, Any],
    ) -> Submission:
        """Files a request with its cells."""

    def submission(self, submission_id: str) -> Submission:
        """A submission by its id or the id's beginning. Raises NotFoundError."""

    def submissions(self, limit: int) -> list[Submission]:
        """The newest submissions, newest first."""

    def active(self, spec: BuildSpec, request: JobRequest) -> Job | None:
        """The queued or running job that does the same, if there is one."""

    def add(self, spec: BuildSpec, request: JobRequest, position: int = 0) -> Job:
        """Queues a new job; of those queued at one moment the lowest position goes first."""

    def widen(self, job: Job, request: JobRequest) -> bool:
        """Gives a job that still waits another request; false if it no longer waits."""

    def get(self, job_id: str) -> Job:
        """A job by its id or the id's beginning. Raises NotFoundError."""

    def jobs(self, *, states: Sequence[JobState] = (), limit: int = 1000) -> list[Job]:
        """Jobs, newest first."""

    def unannounced(self, limit: int, targets: Collection[Target] | None = None) -> list[Job]:
        """Jobs that are due and that nobody has announced since they became so, for some targets or all."""

    def mark_announced(self, job_ids: Sequence[str]) -> None:
        """Notes that their queues were told."""

    def forget_announcements(self, older_than_s: float) -> int:
        """Makes queued jobs unannounced again whose announcement has led to nothing for so long."""

    def claim(
        self, job_id: str, *, worker_id: str, device: Device, lease_s: float
    ) -> tuple[Job, Attempt] | None:
        """Takes a job by one conditional update; none if it is not there to be taken."""

    def heartbeat(self, attempt: Attempt, lease_s: float) -> bool:
        """Renews the lease; true if cancellation was asked for. Raises AttemptSupersededError."""

    def report(self, attempt: Attempt, phase: Phase, fraction: float | None, message: str) -> None:
        """Notes where an attempt stands. Raises AttemptSupersededError."""

    def append_log(self, attempt: Attempt, text: str) -> None:
        """Adds to the live log."""

    def live_log(self, attempt: Attempt) -> str:
        """The live log so far; empty once the whole is kept as an artifact."""

    def close(
        self,
        attempt: Attempt,
        state: AttemptState,
        job_state: JobState,
        *,
        failure: Failure | None = None,
        retry_in_s: float = 0.0,
        log: Digest | None = None,
        seconds: dict[str, float] | None = None,
        environment: dict[str, Any] | None = None,
    ) -> None:
        """Ends an attempt, and moves its job. Raises AttemptSupersededError."""

    def attempts(self, job_id: str) -> list[Attempt]:
        """A job's attempts, oldest first."""

    def expired(self) -> list[tuple[Job, Attempt]]:
        """Running jobs whose lease is over."""

    def crashes(self, job_id: str) -> int:
        """How many of a job's attempts died by a signal or fell silent."""

    def interested(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job and were not withdrawn."""

    def withdraw(self, submission_id: str) -> None:
        """Notes that nobody waits for a submission any more."""

    def request_cancel(self, job_id: str) -> Job:
        """Cancels a queued job at once, and asks a running one to stop."""

    def requeue(self, job_id: str) -> Job:
        """Queues what failed or was cancelled again, as a new job in every cell of the old one."""


class EngineFiles(Protocol):
    """Engines, their runs, and the caches of builders."""

    def find(self, spec: BuildSpec) -> Engine | None:
        """The engine under a key."""

    def get(self, engine_id: int) -> Engine:
        """An engine by its number. Raises NotFoundError."""

    def engines(self, *, model_sha256: str | None = None) -> list[Engine]:
        """Engines with their runs, oldest first."""

    def file(self, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """Files what an attempt made; the engine's number."""

    def history(self, *, name: str, since: datetime | None, include_tainted: bool) -> list[HistoryEntry]:
        """Measurements of every version of a name, newest last."""

    def timing_cache(self, target: Target, flags: str) -> Digest | None:
        """The timing cache to lend to a build."""

    def keep_timing_cache(self, target: Target, flags: str, cache: Digest) -> None:
        """Files a timing cache in place of the one before."""

    def artifact(self, sha256: str) -> Digest:
        """The whole digest of an artifact that was noted. Raises NotFoundError."""

    def add_artifact(self, digest: Digest, kind: str) -> None:
        """Notes what an artifact of the store is."""


class Transaction(Protocol):
    """One transaction: everything in it happens, or nothing."""

    @property
    def models(self) -> ModelCatalog:
        """Models and names."""

    @property
    def fleet(self) -> FleetCatalog:
        """Device types, devices, toolchains and workers."""

    @property
    def jobs(self) -> JobLedger:
        """Submissions, jobs and attempts."""

    @property
    def engines(self) -> EngineFiles:
        """Engines, runs and caches."""

    def now(self) -> datetime:
        """The database's clock, which is the only one."""


class Database(Protocol):
    """Where transactions come from."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that writes; committed at the end of the block unless it raises."""

    def reading(self) -> AbstractContextManager[Transaction]:
        """A transaction that only reads."""


class ArtifactStore(Protocol):
    """Immutable bytes by digest. Reads are verified, writes are atomic, nothing is read whole."""

    def put_file(self, path: Path) -> Digest:
        """Keeps a file's bytes. Raises StoreUnavailableError."""

    def put_bytes(self, data: bytes) -> Digest:
        """Keeps a few bytes. Raises StoreUnavailableError."""

    def has(self, digest: Digest) -> bool:
        """Whether the bytes are there, in their full size."""

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes in chunks. Raises CorruptArtifactError at the end if they are not the digest's."""

    def fetch(self, digest: Digest, destination: Path, progress: Callable[[int], None] | None = None) -> None:
        """Writes the bytes to a file, which appears complete and verified or not at all."""


class JobQueue(Protocol):
    """Wakes workers. Lossy by design: SQL holds the truth."""

    def announce(self, job: Job) -> None:
        """Tells the queue of the job's target. Raises BrokerUnavailableError."""
