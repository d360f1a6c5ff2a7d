"""The ports: what the services need of a database, a store and a queue, as Protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.fairness import Lane, Share
    from farm.domain.filing import Engine, HistoryEntry, SigningKey
    from farm.domain.garbage import RetireQuery
    from farm.domain.jobs import AttemptState, Failure, JobState, Phase
    from farm.domain.manifests import SignedManifest
    from farm.domain.metrics import FarmFigures
    from farm.domain.models import Model
    from farm.domain.overview import Rivals, TargetLoad
    from farm.domain.signatures import FailureGroup
    from farm.domain.specs import BuildSpec
    from farm.domain.stores import Leftovers, StoredArtifact
    from farm.domain.targets import Device, DeviceType, Target, ToolchainId
    from farm.domain.timing_caches import CacheKey, CacheUse, FiledCache
    from farm.domain.toolchains import ToolchainDescription
    from farm.domain.work import (
        Attempt,
        AttemptOutcome,
        Cell,
        FollowUp,
        Job,
        JobRequest,
        ModelName,
        Submission,
        WakeUp,
        WantedJob,
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

    def beat(self, worker_id: str) -> str:
        """Notes that a worker lives; why it is to take nothing new, or an empty text."""

    def drain(self, name: str, reason: str, requested_by: str) -> None:
        """Tells the workers of a name to finish what they do and take nothing new, until `resume`."""

    def resume(self, name: str) -> bool:
        """Lets the workers of a name take jobs again; false if they were not drained."""

    def hold_duty(self, duty: str, holder: str, lease_s: float) -> bool:
        """Takes a duty that one process does for all, or keeps it; false while somebody else has it."""

    def leave_duties(self, holder: str) -> None:
        """Gives up every duty, so that somebody else takes it at once."""

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

    def add(self, spec: BuildSpec, request: JobRequest, position: int = 0, user: str = "") -> Job:
        """Queues a new job; of those queued at one moment the lowest position goes first."""

    def widen(self, job: Job, request: JobRequest, user: str | None = None) -> bool:
        """Gives a job that still waits another request, and user to pay; false if it no longer waits."""

    def get(self, job_id: str) -> Job:
        """A job by its id or the id's beginning. Raises NotFoundError."""

    def jobs(self, *, states: Sequence[JobState] = (), limit: int = 1000) -> list[Job]:
        """Jobs, newest first."""

    def wake_ups(self, targets: Collection[Target] | None = None) -> list[WakeUp]:
        """For every target as many as it has idle workers and due jobs; for some targets or all."""

    def overdue(self) -> list[Job]:
        """Jobs that have waited for longer than they may."""

    def give_up(self, job: Job, failure: Failure) -> bool:
        """Fails a job that still waits beyond its time; false if it does not."""

    def forgive_devices(self) -> int:
        """Lets the devices that failed a job have it again, where no other one took it in time."""

    def charge_shares(self) -> int:
        """Adds the time of attempts that ended to their users' shares, each once; how many it added."""

    def lanes(self, worker_id: str, device: Device) -> list[Lane]:
        """What waits for a worker and is due, in the order in which it is served."""

    def shares(self, users: Iterable[str]) -> dict[str, Share]:
        """What users have had of the fleet of late; may be empty where there is nobody to compare."""

    def loads(self) -> list[TargetLoad]:
        """Every target that has jobs which have not ended, or live workers; the longest wait first."""

    def rivals(self, job: Job) -> Rivals:
        """Who waits for the same target as a job."""

    def failures(self, since: datetime | None = None, limit: int = 100) -> list[FailureGroup]:
        """Groups of failed attempts, the newest first."""

    def running(self) -> dict[str, Attempt]:
        """The attempts that run now, by the id of their worker."""

    def claim_next(self, *, worker_id: str, device: Device, lease_s: float) -> tuple[Job, Attempt] | None:
        """Takes the job whose turn it is among those of all targets that a worker registered."""

    def claim(
        self, job_id: str, *, worker_id: str, device: Device, lease_s: float
    ) -> tuple[Job, Attempt] | None:
        """Takes one job by one conditional update; none if it is not there to be taken."""

    def heartbeat(self, attempt: Attempt, lease_s: float) -> bool:
        """Renews the lease; true if cancellation was asked for. Raises AttemptSupersededError."""

    def report(self, attempt: Attempt, phase: Phase, fraction: float | None, message: str) -> None:
        """Notes where an attempt stands. Raises AttemptSupersededError."""

    def append_log(self, attempt: Attempt, text: str) -> None:
        """Adds to the live log."""

    def live_log(self, attempt: Attempt) -> str:
        """The live log so far; empty once the whole is kept as an artifact."""

    def keep_log(self, attempt: Attempt, log: Digest) -> None:
        """Puts an artifact in the place of the live log of an attempt that has ended and has none."""

    def close(
        self,
        attempt: Attempt,
        state: AttemptState,
        job_state: JobState,
        *,
        failure: Failure | None = None,
        retry_in_s: float = 0.0,
        elsewhere: bool = False,
        log: Digest | None = None,
        seconds: dict[str, float] | None = None,
        environment: dict[str, Any] | None = None,
    ) -> None:
        """Ends an attempt, and moves its job, if wanted to another device first. Raises AttemptSupersededError."""

    def attempts(self, job_id: str) -> list[Attempt]:
        """A job's attempts, oldest first."""

    def expired(self, job_id: str | None = None) -> list[tuple[Job, Attempt]]:
        """Running jobs whose lease is over: all, or this one if it is among them."""

    def crashes(self, job_id: str) -> int:
        """How many of a job's attempts died by a signal or fell silent."""

    def hold(self, job_ids: Sequence[str]) -> None:
        """Keeps jobs as they are to the end of the transaction; waits for whoever is at one."""

    def interested(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job and were not withdrawn."""

    def withdraw(self, submission_id: str) -> None:
        """Notes that nobody waits for a submission any more."""

    def request_cancel(self, job_id: str) -> Job:
        """Cancels a queued job at once, and asks a running one to stop."""

    def requeue(self, job_id: str) -> Job:
        """Queues what failed or was cancelled again, as a new job in every cell of the old one."""

    def active_all(self, specs: Sequence[BuildSpec], request: JobRequest) -> dict[str, Job]:
        """The queued or running jobs that do the same, by the digest of the spec; held to the end."""

    def add_all(self, wanted: Sequence[WantedJob]) -> list[Job]:
        """Queues new jobs, as of one moment. Raises ConflictError if one was queued by somebody else by now."""

    def widen_all(self, changes: Sequence[tuple[Job, JobRequest, str]]) -> None:
        """Gives jobs that still wait another request, and user to pay."""

    def get_all(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """Jobs by their whole ids, in that order; those that are not there are left out."""

    def newest_attempts(self, job_ids: Sequence[str]) -> dict[str, Attempt]:
        """The newest attempt of each of some jobs, by the job's id."""

    def interests(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Who waits for each of some jobs: users, by the submissions that were not withdrawn."""

    def charge_to(self, job_id: str, user: str) -> None:
        """Lets another user pay for a job from now on."""

    def request_cancel_all(self, job_ids: Sequence[str]) -> list[Job]:
        """Cancels queued jobs at once, and asks running ones to stop; those that have ended stay as they are."""

    def want_again(self, job_ids: Sequence[str]) -> None:
        """Takes back that running jobs were asked to stop: somebody else wants them now."""

    def add_follow_ups(self, wanted: Sequence[FollowUp]) -> None:
        """Files what cells want beyond the builds that they share."""

    def follow_ups(self, submission_ids: Sequence[str]) -> list[FollowUp]:
        """What cells of some submissions still want beyond the builds that they share."""

    def take_follow_ups(self, job_id: str) -> list[FollowUp]:
        """Takes out what is wanted beyond a build, now that it is done; not what was withdrawn."""

    def point(self, submission_id: str, position: int, job_id: str) -> None:
        """Has another job answer a cell."""


class EngineFiles(Protocol):
    """Engines and their runs; what an artifact is."""

    def find(self, spec: BuildSpec) -> Engine | None:
        """The engine under a key."""

    def find_all(self, specs: Sequence[BuildSpec]) -> dict[str, Engine]:
        """The engines under some keys, by the digest of the spec."""

    def get(self, engine_id: int) -> Engine:
        """An engine by its number. Raises NotFoundError."""

    def engines(self, *, model_sha256: str | None = None, with_retired: bool = False) -> list[Engine]:
        """Engines with their runs, oldest first; retired ones on request."""

    def file(self, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """Files what an attempt made; the engine's number."""

    def history(self, *, name: str, since: datetime | None, include_tainted: bool) -> list[HistoryEntry]:
        """Measurements of every version of a name, newest last."""

    def artifact(self, sha256: str) -> Digest:
        """The whole digest of an artifact that was noted. Raises NotFoundError."""

    def add_artifact(self, digest: Digest, kind: str) -> None:
        """Notes what an artifact of the store is."""


class SigningKeys(Protocol):
    """Public keys whose signatures on engines count."""

    def add(self, key_id: str, public_key: str, note: str) -> bool:
        """Trusts a key; false if it is there already, revoked or not."""

    def all(self) -> list[SigningKey]:
        """Every key, the revoked ones too, oldest first."""

    def revoke(self, prefix: str) -> str:
        """Makes a key count no more, for good; its whole id. Raises NotFoundError."""


class SignatureChecker(Protocol):
    """Knows the keys that are trusted."""

    def check(self, signed: SignedManifest) -> None:
        """Raises UntrustedEngineError unless a trusted key signed just this manifest."""


class GarbageRecords(Protocol):
    """What nothing refers to any more, and engines that are given up."""

    def referenced(self) -> set[str]:
        """The digests of all artifacts that something refers to."""

    def kinds(self) -> dict[str, str]:
        """What every artifact is that was ever noted, by digest."""

    def condemn(self, digests: Sequence[Digest]) -> set[str]:
        """Marks those of some artifacts as deleted that nothing refers to; these."""

    def retirable(self, query: RetireQuery) -> list[int]:
        """The numbers of engines that may be retired: no pinned one, and none that a live job needs."""

    def retire(self, engine_id: int) -> bool:
        """Gives up an engine's bytes; false if it was pinned, or is needed, by now."""

    def engine_id(self, word: str) -> int:
        """The engine of a number, or of a digest's first digits. Raises NotFoundError."""

    def pin(self, engine_id: int, reason: str) -> None:
        """Keeps an engine whatever its age. Raises ConflictError if it is retired."""

    def unpin(self, engine_id: int) -> bool:
        """Lets an engine go when its time comes; false if it was not pinned."""


class Metrics(Protocol):
    """Figures for those who watch the farm."""

    def figures(self) -> FarmFigures:
        """The farm as it is now; who watches it is not in it."""


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
        """Engines and runs."""

    @property
    def caches(self) -> TimingCaches:
        """Timing caches."""

    @property
    def keys(self) -> SigningKeys:
        """Keys that sign engines."""

    @property
    def garbage(self) -> GarbageRecords:
        """What nothing refers to any more."""

    @property
    def metrics(self) -> Metrics:
        """Figures for those who watch the farm."""

    def now(self) -> datetime:
        """The database's clock, which is the only one."""


class Database(Protocol):
    """Where transactions come from."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that writes; committed at the end of the block unless it raises."""

    def autocommit(self) -> AbstractContextManager[Transaction]:
        """As `transaction`, for statements of which each may count without the others: cheaper."""

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

    def touch(self, digest: Digest) -> bool:
        """As `has`; if so, they count as kept at this moment. False where only keeping them anew would do that."""

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes in chunks. Raises CorruptArtifactError at the end if they are not the digest's."""

    def fetch(self, digest: Digest, destination: Path, progress: Callable[[int], None] | None = None) -> None:
        """Writes the bytes to a file, which appears complete and verified or not at all."""

    def now(self) -> datetime:
        """The store's own clock, by which it says when an artifact was kept."""

    def listing(self) -> Iterator[StoredArtifact]:
        """Every artifact there is."""

    def remove(self, digest: Digest, kept_before: datetime) -> bool:
        """Removes an artifact, unless somebody kept or touched it since; whether it did."""

    def clear_leftovers(self, left_before: datetime, *, dry_run: bool = False) -> Leftovers:
        """Removes what writers that were killed before a moment left; what it found."""


class JobQueue(Protocol):
    """Wakes workers. Lossy by design: SQL holds the truth."""

    def announce(self, wake_up: WakeUp) -> None:
        """Tells the queue of a target that a job is due. Raises BrokerUnavailableError."""


class TimingCaches(Protocol):
    """The timing caches that builds are lent; every change compares first, so that none is lost."""

    def find(self, key: CacheKey) -> Digest | None:
        """The cache to lend to a build."""

    def replace(self, key: CacheKey, expected: Digest | None, new: Digest) -> bool:
        """Files a cache in place of the expected one, or of none; false if something else is filed."""

    def count(self, key: CacheKey, *, lent: int = 0, merged: int = 0, saved_s: float = 0.0) -> None:
        """Adds to what a filed cache has done."""

    def record(self, attempt: Attempt, use: CacheUse) -> None:
        """Notes on an attempt what a cache did for it."""

    def use_of(self, attempt: Attempt) -> CacheUse | None:
        """What was noted on an attempt; none if it built nothing that has caches."""

    def cold_build_s(self, model_sha256: str, key: CacheKey) -> float | None:
        """How long the last build of a model took under a key that was lent nothing."""

    def recent(self, keys: Sequence[CacheKey], limit: int) -> dict[CacheKey, list[CacheUse]]:
        """What the caches of some keys did for the newest builds, newest first."""

    def all(self) -> list[FiledCache]:
        """Every filed cache, the one that changed last first."""

    def drop(self, key: CacheKey) -> bool:
        """Disowns a cache; false if none is filed."""
