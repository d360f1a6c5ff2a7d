"""In-memory stand-ins behind the ports of `farm/services/ports.py`.

They keep the promises of the real ones, which `tests/unit/test_fakes.py` proves with the suites in
`tests/behaviours/`: transactions roll back, the fence holds, and what a foreign key would refuse raises.
"""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from farm.domain.accuracy import Accuracy
from farm.domain.benchmarks import Measurement
from farm.domain.digests import CHUNK_BYTES, Digest, digest_of_bytes
from farm.domain.errors import (
    AttemptSupersededError,
    BrokerUnavailableError,
    ConflictError,
    CorruptArtifactError,
    InvalidRequestError,
    NotFoundError,
)
from farm.domain.fairness import Lane, Share, decayed, in_turn
from farm.domain.filing import Engine, HistoryEntry, Run, SigningKey
from farm.domain.identifiers import new_id
from farm.domain.jobs import (
    AttemptState,
    JobKind,
    JobState,
    Phase,
    check_attempt_transition,
    check_job_transition,
)
from farm.domain.overview import Rivals, TargetLoad
from farm.domain.signatures import FailureGroup, signature_of
from farm.domain.stores import Leftovers, StoredArtifact
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import Target
from farm.domain.work import Attempt, Cell, FollowUp, Job, ModelName, Submission, WakeUp, Worker
from tests.fake_caches import InMemoryTimingCaches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from farm.domain.jobs import Failure
    from farm.domain.models import Model
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Device, DeviceType, ToolchainId
    from farm.domain.timing_caches import CacheKey, CacheUse, FiledCache
    from farm.domain.toolchains import ToolchainDescription
    from farm.domain.work import AttemptOutcome, JobRequest, WantedJob, WorkerRegistration

WORKER_SILENCE_S = 30


@dataclass
class _WorkerRow:
    registration: WorkerRegistration
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None = None


@dataclass
class _JobRow:
    job: Job
    position: int


@dataclass
class _AttemptRow:
    attempt: Attempt
    is_crash: bool = False
    log: str = ""


@dataclass
class _Tables:
    models: dict[str, Model] = field(default_factory=dict)
    names: list[ModelName] = field(default_factory=list)
    slugs: dict[str, DeviceType] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    toolchains: dict[ToolchainId, ToolchainDescription] = field(default_factory=dict)
    targets: set[tuple[DeviceType, ToolchainId]] = field(default_factory=set)
    workers: dict[str, _WorkerRow] = field(default_factory=dict)
    submissions: dict[str, Submission] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    jobs: dict[str, _JobRow] = field(default_factory=dict)
    attempts: dict[int, _AttemptRow] = field(default_factory=dict)
    engines: dict[int, Engine] = field(default_factory=dict)
    artifacts: dict[str, Digest] = field(default_factory=dict)
    timing_caches: dict[CacheKey, FiledCache] = field(default_factory=dict)
    cache_uses: dict[int, CacheUse] = field(default_factory=dict)
    drains: dict[str, str] = field(default_factory=dict)
    duties: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    usage: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    charged: set[int] = field(default_factory=set)
    keys: dict[str, SigningKey] = field(default_factory=dict)
    follow_ups: list[FollowUp] = field(default_factory=list)


class InMemoryDatabase:
    """Implements `Database`.

    Attributes:
        clock: what `now()` says. It goes on by a millisecond with every transaction that writes, so
            that nothing happens at the same time; a test sets it, or lets time go by with `advance`.
        before_writing: called before every transaction that writes, such as to let somebody else go first.
    """

    def __init__(self) -> None:
        self.clock = datetime(2026, 1, 1, tzinfo=UTC)
        self.before_writing: Callable[[], None] | None = None
        self._tables = _Tables()

    def advance(self, seconds: float) -> None:
        """Lets time go by."""
        self.clock += timedelta(seconds=seconds)

    @contextmanager
    def transaction(self) -> Iterator[InMemoryTransaction]:
        """A transaction that writes; all is as before if the block raises."""
        self._let_others_go_first()
        self.advance(0.001)
        before = copy.deepcopy(self._tables)
        try:
            yield InMemoryTransaction(self, self._tables)
        except BaseException:
            self._tables = before
            raise

    def autocommit(self) -> AbstractContextManager[InMemoryTransaction]:
        """As `transaction`."""
        return self.transaction()

    @contextmanager
    def reading(self) -> Iterator[InMemoryTransaction]:
        """A transaction that only reads: what it writes is lost."""
        yield InMemoryTransaction(self, copy.deepcopy(self._tables))

    def _let_others_go_first(self) -> None:
        others, self.before_writing = self.before_writing, None
        if others is not None:
            others()


class InMemoryTransaction:
    """Implements `Transaction`."""

    def __init__(self, database: InMemoryDatabase, tables: _Tables) -> None:
        self._database = database
        self.models = InMemoryModelCatalog(tables, self.now)
        self.fleet = InMemoryFleetCatalog(tables, self.now)
        self.jobs = InMemoryJobLedger(tables, self.now)
        self.engines = InMemoryEngineFiles(tables, self.now)
        self.caches = InMemoryTimingCaches(tables, self.now)
        self.keys = InMemorySigningKeys(tables, self.now)

    def now(self) -> datetime:
        """The only clock."""
        return self._database.clock


class InMemoryModelCatalog:
    """Implements `ModelCatalog`."""

    def __init__(self, tables: _Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def add(self, model: Model) -> None:
        """The same content twice is the same model."""
        for file in model.files:
            self._tables.artifacts.setdefault(file.digest.sha256, file.digest)
        self._tables.models.setdefault(model.digest.sha256, model)

    def get(self, sha256: str) -> Model:
        """A model by its content."""
        if sha256 not in self._tables.models:
            raise NotFoundError(f"no model {sha256[:12]} is filed")
        return self._tables.models[sha256]

    def name(self, name: str, sha256: str) -> ModelName:
        """The latest version, or a new one for other content."""
        versions = self._versions(name)
        if versions and versions[-1].model_sha256 == sha256:
            return versions[-1]
        added = ModelName(name, len(versions) + 1, self.get(sha256).digest.sha256, self._now())
        self._tables.names.append(added)
        return added

    def named(self, reference: str) -> ModelName:
        """By name, by name and version, or by a digest's first digits."""
        name, at, version = reference.partition("@")
        if at and not version.isdecimal():
            raise InvalidRequestError(f"not a version: {version!r}")
        versions = self._versions(name)
        found = [known for known in versions if not at or known.version == int(version)]
        if not found and len(reference) >= 6:
            found = [
                known for known in self._tables.names if known.model_sha256.startswith(reference.lower())
            ]
        if not found:
            hint = f"It has {len(versions)} version(s)." if at and versions else ""
            known_names = {known.name for known in self._tables.names}
            raise NotFoundError(
                f"no model is named {reference!r}", hint=hint or did_you_mean(name, known_names)
            )
        return found[-1]

    def names(self) -> list[ModelName]:
        """Newest last."""
        return list(self._tables.names)

    def _versions(self, name: str) -> list[ModelName]:
        return [known for known in self._tables.names if known.name == name]


class InMemoryFleetCatalog:
    """Implements `FleetCatalog`."""

    def __init__(self, tables: _Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def register(self, registration: WorkerRegistration) -> dict[DeviceType, str]:
        """Files a worker; the slug of each of its device types."""
        self.describe(registration.device_types, registration.toolchains)
        self._slug(registration.device.device_type)
        self._tables.devices[registration.device.uuid] = registration.device
        self._tables.workers[registration.id] = _WorkerRow(registration, self._now(), self._now())
        return {device_type: self._slug(device_type) for device_type in registration.device_types}

    def describe(
        self, device_types: Sequence[DeviceType], toolchains: Sequence[ToolchainDescription]
    ) -> None:
        """Files what a machine could serve."""
        for toolchain in toolchains:
            self._tables.toolchains[toolchain.id] = toolchain
        for device_type in device_types:
            self._slug(device_type)
            self._tables.targets |= {(device_type, t.id) for t in toolchains if t.can_serve(device_type)}

    def beat(self, worker_id: str) -> str:
        """Notes that a worker lives; why it is to take nothing new."""
        if worker_id not in self._tables.workers:
            return ""
        row = self._tables.workers[worker_id]
        row.heartbeat_at, row.stopped_at = self._now(), None
        return self._tables.drains.get(row.registration.name, "")

    def drain(self, name: str, reason: str, requested_by: str) -> None:
        """Tells the workers of a name to take nothing new."""
        assert requested_by
        self._tables.drains.setdefault(name, reason)

    def resume(self, name: str) -> bool:
        """Lets them take jobs again."""
        return self._tables.drains.pop(name, None) is not None

    def hold_duty(self, duty: str, holder: str, lease_s: float) -> bool:
        """Takes a duty, or keeps it."""
        now = self._now()
        had, until = self._tables.duties.get(duty, (holder, now))
        if had != holder and until >= now:
            return False
        self._tables.duties[duty] = (holder, now + timedelta(seconds=lease_s))
        return True

    def leave_duties(self, holder: str) -> None:
        """Gives up every duty."""
        for duty in [duty for duty, (had, _) in self._tables.duties.items() if had == holder]:
            del self._tables.duties[duty]

    def stop(self, worker_id: str) -> None:
        """Notes that a worker has left."""
        if worker_id in self._tables.workers:
            self._tables.workers[worker_id].stopped_at = self._now()

    def workers(self) -> list[Worker]:
        """The live ones first."""
        found = [self._worker(row) for row in self._tables.workers.values()]
        return sorted(found, key=lambda worker: not worker.is_live)

    def device_types(self) -> dict[str, DeviceType]:
        """By slug."""
        return dict(sorted(self._tables.slugs.items(), key=lambda item: (item[1].kind.value, item[0])))

    def devices(self) -> list[Device]:
        """By host and index."""
        return sorted(self._tables.devices.values(), key=lambda device: (device.host, device.index))

    def toolchains(self) -> list[ToolchainDescription]:
        """By name."""
        return sorted(self._tables.toolchains.values(), key=lambda toolchain: toolchain.id.name)

    def known_targets(self) -> set[tuple[DeviceType, ToolchainId]]:
        """Every pair that some machine has been able to serve."""
        return set(self._tables.targets)

    def _slug(self, device_type: DeviceType) -> str:
        for slug, known in self._tables.slugs.items():
            if known == device_type:
                return slug
        slug = device_type.distinct_slug if device_type.slug in self._tables.slugs else device_type.slug
        self._tables.slugs[slug] = device_type
        return slug

    def _worker(self, row: _WorkerRow) -> Worker:
        registration = row.registration
        targets = tuple(Target(device_type, toolchain.id) for device_type, toolchain in registration.targets)
        silence = self._now() - row.heartbeat_at
        is_live = row.stopped_at is None and silence < timedelta(seconds=WORKER_SILENCE_S)
        running = [
            row.job.id
            for row in self._tables.jobs.values()
            if row.job.state is JobState.RUNNING and row.job.worker_id == registration.id
        ]
        return Worker(
            id=registration.id,
            host=registration.host,
            pid=registration.pid,
            device=self._tables.devices[registration.device.uuid],
            toolchains=tuple(sorted({target.toolchain for target in targets})),
            targets=targets,
            started_at=row.started_at,
            heartbeat_at=row.heartbeat_at,
            stopped_at=row.stopped_at,
            is_live=is_live,
            current_job=running[-1] if running and is_live else "",
            name=registration.name,
            drain_reason=self._tables.drains.get(registration.name, ""),
        )


class InMemoryJobLedger:
    """Implements `JobLedger`."""

    def __init__(self, tables: _Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

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
        for cell in cells:
            assert cell.job_id in self._tables.jobs or cell.engine_id in self._tables.engines
        submission = Submission(
            id=new_id("s"),
            model_name=name.name,
            model_version=name.version,
            model_sha256=self._tables.models[name.model_sha256].digest.sha256,
            user=user,
            created_at=self._now(),
            tags=tags,
            cells=tuple(sorted(cells, key=lambda cell: cell.position)),
        )
        self._tables.submissions[submission.id] = submission
        return submission

    def submission(self, submission_id: str) -> Submission:
        """By its id or the id's beginning."""
        return self._tables.submissions[_full_id(self._tables.submissions, submission_id, "submission")]

    def submissions(self, limit: int) -> list[Submission]:
        """Newest first."""
        return list(self._tables.submissions.values())[: -limit - 1 : -1]

    def active(self, spec: BuildSpec, request: JobRequest) -> Job | None:
        """The queued or running job that does the same."""
        wanted = _same_work(spec, request)
        for row in self._tables.jobs.values():
            if not row.job.state.is_terminal and _same_work(row.job.spec, row.job.request) == wanted:
                return row.job
        return None

    def add(self, spec: BuildSpec, request: JobRequest, position: int = 0, user: str = "") -> Job:
        """Queues a new job; of those queued at one moment the lowest position goes first."""
        assert spec.model_sha256 in self._tables.models
        assert spec.target.toolchain in self._tables.toolchains
        if self.active(spec, request) is not None:
            raise ConflictError("the same build was queued at this moment")
        now = self._now()
        job = Job(
            new_id("j"),
            JobState.QUEUED,
            spec,
            request,
            0,
            created_at=now,
            not_before=now,
            user=user,
            queue_deadline_at=_deadline(now, request),
        )
        self._tables.jobs[job.id] = _JobRow(job, position)
        return job

    def widen(self, job: Job, request: JobRequest, user: str | None = None) -> bool:
        """Only a job that still waits takes another request."""
        if self.get(job.id).state is not JobState.QUEUED:
            return False
        changes: dict[str, Any] = {} if user is None else {"user": user}
        self._change(job.id, request=request, queue_deadline_at=_deadline(self._now(), request), **changes)
        return True

    def get(self, job_id: str) -> Job:
        """By its id or the id's beginning."""
        return self._tables.jobs[_full_id(self._tables.jobs, job_id, "job")].job

    def jobs(self, *, states: Sequence[JobState] = (), limit: int = 1000) -> list[Job]:
        """Newest first."""
        found = [row.job for row in self._tables.jobs.values() if not states or row.job.state in states]
        return sorted(found, key=lambda job: job.created_at, reverse=True)[:limit]

    def wake_ups(self, targets: Collection[Target] | None = None) -> list[WakeUp]:
        """As many as a target has idle workers and due jobs."""
        busy = {row.job.worker_id for row in self._tables.jobs.values() if row.job.state is JobState.RUNNING}
        idle: dict[Target, int] = {}
        for worker in InMemoryFleetCatalog(self._tables, self._now).workers():
            if worker.is_live and worker.id not in busy and not worker.drain_reason:
                for target in worker.targets:
                    idle[target] = idle.get(target, 0) + 1
        return [
            WakeUp(target, row.job.id)
            for target, count in idle.items()
            if targets is None or target in targets
            for row in self._waiting(target)[:count]
        ]

    def running(self) -> dict[str, Attempt]:
        """The attempts that run now."""
        found = [row.attempt for row in self._tables.attempts.values()]
        return {attempt.worker_id: attempt for attempt in found if attempt.state is AttemptState.RUNNING}

    def rivals(self, job: Job) -> Rivals:
        """Who waits for the same target as a job."""
        others = [row.job for row in self._waiting(job.target) if row.job.id != job.id]
        priority = job.request.priority
        same = [other for other in others if other.request.priority == priority]
        before = [row.job.id for row in self._waiting(job.target)]
        place = before.index(job.id) if job.id in before else len(before)
        return Rivals(
            higher_priority=sum(other.request.priority > priority for other in others),
            older_of_user=sum(o.user == job.user and before.index(o.id) < place for o in same),
            users=Counter(other.user for other in same if other.user != job.user),
        )

    def failures(self, since: datetime | None = None, limit: int = 100) -> list[FailureGroup]:
        """Groups of failed attempts, the newest first."""
        groups: dict[str, list[Attempt]] = {}
        for row in self._tables.attempts.values():
            attempt = row.attempt
            if attempt.failure is None or attempt.finished_at is None:
                continue
            if since is None or attempt.finished_at > since:
                groups.setdefault(signature_of(attempt.failure), []).append(attempt)
        found = []
        for signature, members in groups.items():
            first, last = members[0], members[-1]
            assert first.failure is not None
            assert last.failure is not None
            assert first.finished_at is not None
            assert last.finished_at is not None
            found.append(
                FailureGroup(
                    signature=signature,
                    code=last.failure.code,
                    phase=last.failure.phase,
                    attempts=len(members),
                    jobs=len({attempt.job_id for attempt in members}),
                    targets=tuple(sorted({str(self.get(attempt.job_id).target) for attempt in members})),
                    hosts=tuple(sorted({attempt.host for attempt in members})),
                    first_at=first.finished_at,
                    last_at=last.finished_at,
                    first_message=first.failure.message,
                    last_message=last.failure.message,
                    last_job=last.job_id,
                )
            )
        return sorted(found, key=lambda group: group.last_at, reverse=True)[:limit]

    def loads(self) -> list[TargetLoad]:
        """Every target that has jobs which have not ended, or live workers."""
        workers = [w for w in InMemoryFleetCatalog(self._tables, self._now).workers() if w.is_live]
        jobs = [row.job for row in self._tables.jobs.values() if not row.job.state.is_terminal]
        slugs = {device_type: slug for slug, device_type in self._tables.slugs.items()}
        found = []
        for target in {job.target for job in jobs} | {t for worker in workers for t in worker.targets}:
            serving = [worker for worker in workers if target in worker.targets]
            waiting = [j for j in jobs if j.target == target and j.state is JobState.QUEUED]
            found.append(
                TargetLoad(
                    target=target,
                    slug=slugs[target.device_type],
                    waiting=len(waiting),
                    running=sum(j.target == target and j.state is JobState.RUNNING for j in jobs),
                    oldest_since=min((j.not_before for j in waiting if j.not_before), default=None),
                    live_workers=len(serving),
                    busy_workers=sum(bool(worker.current_job) for worker in serving),
                    draining_workers=sum(bool(worker.drain_reason) for worker in serving),
                )
            )
        return sorted(found, key=lambda load: (load.oldest_since or self._now(), load.slug))

    def overdue(self) -> list[Job]:
        """Jobs that have waited for longer than they may."""
        return [row.job for row in self._tables.jobs.values() if self._is_overdue(row.job)]

    def give_up(self, job: Job, failure: Failure) -> bool:
        """Fails a job that still waits beyond its time."""
        if not self._is_overdue(self.get(job.id)):
            return False
        check_job_transition(JobState.QUEUED, JobState.FAILED)
        self._change(job.id, state=JobState.FAILED, finished_at=self._now(), failure=_recorded(failure))
        return True

    def forgive_devices(self) -> int:
        """Lets the devices that failed a job have it again."""
        earliest = self._now() - timedelta(seconds=30)
        forgiven = [
            row.job
            for row in self._tables.jobs.values()
            if row.job.avoid_device and row.job.not_before is not None and row.job.not_before <= earliest
        ]
        for job in forgiven:
            self._change(job.id, avoid_device="")
        return len(forgiven)

    def charge_shares(self) -> int:
        """Adds the time of attempts that ended to their users' shares."""
        now, charged = self._now(), 0
        for number, row in self._tables.attempts.items():
            attempt = row.attempt
            if number in self._tables.charged or attempt.finished_at is None:
                continue
            user = self.get(attempt.job_id).user
            had, since = self._tables.usage.get(user, (0.0, now))
            left = decayed(had, (now - since).total_seconds())
            took = (attempt.finished_at - attempt.claimed_at).total_seconds()
            self._tables.usage[user] = (left + took, now)
            self._tables.charged.add(number)
            charged += 1
        return charged

    def shares(self, users: Iterable[str]) -> dict[str, Share]:
        """What users have had of the fleet of late."""
        now = self._now()
        running = [row.job.user for row in self._tables.jobs.values() if row.job.state is JobState.RUNNING]
        found = {}
        for user in users:
            had, since = self._tables.usage.get(user, (0.0, now))
            found[user] = Share(decayed(had, (now - since).total_seconds()), running.count(user))
        return found

    def lanes(self, worker_id: str, device: Device) -> list[Lane]:
        """What waits for a worker and is due, in the order in which it is served."""
        targets = list(self._tables.workers[worker_id].registration.targets)
        found: dict[tuple[int, int, str], Lane] = {}
        for number, (device_type, toolchain) in enumerate(targets):
            for row in self._waiting(Target(device_type, toolchain.id)):
                job = row.job
                if job.avoid_device != device.uuid:
                    lane = Lane(number, 0, job.request.priority, job.user, job.created_at)
                    found.setdefault((number, lane.priority, lane.user), lane)
        return in_turn(found.values(), self.shares({lane.user for lane in found.values()}))

    def claim_next(self, *, worker_id: str, device: Device, lease_s: float) -> tuple[Job, Attempt] | None:
        """Takes the job whose turn it is."""
        targets = list(self._tables.workers[worker_id].registration.targets)
        for lane in self.lanes(worker_id, device):
            device_type, toolchain = targets[lane.device_type_id]
            for row in self._waiting(Target(device_type, toolchain.id)):
                job = row.job
                if (job.request.priority, job.user) == (lane.priority, lane.user) and (
                    job.avoid_device != device.uuid
                ):
                    return self.claim(job.id, worker_id=worker_id, device=device, lease_s=lease_s)
        return None

    def _waiting(self, target: Target) -> list[_JobRow]:
        """What is due for a target, oldest first."""
        found = [
            row
            for row in self._tables.jobs.values()
            if row.job.state is JobState.QUEUED and row.job.target == target and self._is_due(row.job)
        ]
        return sorted(found, key=lambda row: (row.job.created_at, row.position))

    def _is_overdue(self, job: Job) -> bool:
        limit = job.queue_deadline_at
        return job.state is JobState.QUEUED and limit is not None and limit < self._now()

    def claim(
        self, job_id: str, *, worker_id: str, device: Device, lease_s: float
    ) -> tuple[Job, Attempt] | None:
        """Takes a job that waits and is due."""
        row = self._tables.jobs.get(job_id)
        if row is None or row.job.state is not JobState.QUEUED or not self._is_due(row.job):
            return None
        assert device.uuid in self._tables.devices
        self._change(
            job_id,
            state=JobState.RUNNING,
            attempts=row.job.attempts + 1,
            worker_id=worker_id,
            lease_until=self._now() + timedelta(seconds=lease_s),
            avoid_device="",
        )
        attempt = Attempt(
            id=len(self._tables.attempts) + 1,
            job_id=job_id,
            number=row.job.attempts,
            state=AttemptState.RUNNING,
            worker_id=worker_id,
            host=device.host,
            device_uuid=device.uuid,
            driver_version=device.driver_version,
            phase="",
            fraction=None,
            message="",
            claimed_at=self._now(),
            finished_at=None,
            failure=None,
            log=None,
            seconds={},
        )
        self._tables.attempts[attempt.id] = _AttemptRow(attempt)
        return row.job, attempt

    def heartbeat(self, attempt: Attempt, lease_s: float) -> bool:
        """Renews the lease; true if cancellation was asked for."""
        self._fence(attempt)
        self._change(attempt.job_id, lease_until=self._now() + timedelta(seconds=lease_s))
        return self.get(attempt.job_id).cancel_requested

    def report(self, attempt: Attempt, phase: Phase, fraction: float | None, message: str) -> None:
        """Notes where an attempt stands."""
        self._fence(attempt)
        row = self._tables.attempts[attempt.id]
        row.attempt = replace(row.attempt, phase=phase.value, fraction=fraction, message=message[:500])

    def append_log(self, attempt: Attempt, text: str) -> None:
        """Adds to the live log."""
        self._tables.attempts[attempt.id].log += text.replace("\0", "")

    def live_log(self, attempt: Attempt) -> str:
        """The live log so far."""
        return self._tables.attempts[attempt.id].log

    def keep_log(self, attempt: Attempt, log: Digest) -> None:
        """Of an attempt that has ended and has none."""
        row = self._tables.attempts[attempt.id]
        if row.attempt.state is not AttemptState.RUNNING and row.attempt.log is None:
            self._tables.artifacts.setdefault(log.sha256, log)
            row.log, row.attempt = "", replace(row.attempt, log=log)

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
        """Ends an attempt, and moves its job."""
        check_attempt_transition(AttemptState.RUNNING, state)
        check_job_transition(JobState.RUNNING, job_state)
        self._fence(attempt)
        now, recorded = self._now(), _recorded(failure)
        if job_state is JobState.QUEUED:
            job = self.get(attempt.job_id)
            has_others = elsewhere and any(
                worker.is_live and job.target in worker.targets and worker.device.uuid != attempt.device_uuid
                for worker in InMemoryFleetCatalog(self._tables, self._now).workers()
            )
            self._change(
                job.id,
                queue_deadline_at=_deadline(now + timedelta(seconds=retry_in_s), job.request),
                avoid_device=attempt.device_uuid if has_others else "",
            )
        self._change(
            attempt.job_id,
            state=job_state,
            lease_until=None,
            finished_at=now if job_state.is_terminal else None,
            not_before=now + timedelta(seconds=retry_in_s),
            failure=None if job_state is JobState.SUCCEEDED else recorded,
        )
        row = self._tables.attempts[attempt.id]
        row.is_crash = bool(failure and failure.is_crash)
        if log is not None:
            self._tables.artifacts.setdefault(log.sha256, log)
            row.log = ""
        row.attempt = replace(
            row.attempt, state=state, finished_at=now, failure=recorded, log=log, seconds=seconds or {}
        )

    def attempts(self, job_id: str) -> list[Attempt]:
        """Oldest first."""
        return [row.attempt for row in self._tables.attempts.values() if row.attempt.job_id == job_id]

    def expired(self, job_id: str | None = None) -> list[tuple[Job, Attempt]]:
        """Running jobs whose lease is over."""
        running = [row.job for row in self._tables.jobs.values() if job_id in (None, row.job.id)]
        return [
            (job, self.attempts(job.id)[-1])
            for job in running
            if job.lease_until is not None and job.lease_until < self._now()
        ]

    def crashes(self, job_id: str) -> int:
        """How many attempts died by a signal."""
        return sum(row.is_crash for row in self._tables.attempts.values() if row.attempt.job_id == job_id)

    def hold(self, job_ids: Sequence[str]) -> None:
        """Nobody else is there."""
        assert all(job_id in self._tables.jobs for job_id in job_ids)

    def interested(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job and were not withdrawn."""
        return {
            submission.id
            for submission in self._tables.submissions.values()
            if any(cell.job_id == job_id for cell in submission.cells)
        } - self._tables.withdrawn

    def withdraw(self, submission_id: str) -> None:
        """Notes that nobody waits for a submission any more."""
        self._tables.withdrawn.add(submission_id)

    def request_cancel(self, job_id: str) -> Job:
        """Cancels a queued job at once, and asks a running one to stop."""
        job = self.get(job_id)
        if job.state.is_terminal:
            raise ConflictError(f"job {job.id} has ended already: {job.state.value}")
        if job.state is JobState.QUEUED:
            self._change(job.id, state=JobState.CANCELLED, finished_at=self._now())
        self._change(job.id, cancel_requested=True)
        return self.get(job.id)

    def requeue(self, job_id: str) -> Job:
        """Queues what failed or was cancelled again, as a new job in every cell of the old one."""
        old = self.get(job_id)
        if old.state not in (JobState.FAILED, JobState.CANCELLED):
            raise ConflictError(f"job {old.id} is {old.state.value}")
        job = self.active(old.spec, old.request) or self.add(old.spec, old.request, user=old.user)
        for submission in self._tables.submissions.values():
            cells = tuple(
                replace(cell, job_id=job.id) if cell.job_id == old.id else cell for cell in submission.cells
            )
            self._tables.submissions[submission.id] = replace(submission, cells=cells)
        moved = [
            replace(wanted, job_id=job.id) if wanted.job_id == old.id else wanted
            for wanted in self._tables.follow_ups
        ]
        self._tables.follow_ups[:] = moved
        return job

    def active_all(self, specs: Sequence[BuildSpec], request: JobRequest) -> dict[str, Job]:
        """The queued or running jobs that do the same."""
        found = {spec.digest.sha256: self.active(spec, request) for spec in specs}
        return {key: job for key, job in found.items() if job is not None}

    def add_all(self, wanted: Sequence[WantedJob]) -> list[Job]:
        """Queues new jobs, as of one moment."""
        return [self.add(job.spec, job.request, job.position, job.user) for job in wanted]

    def widen_all(self, changes: Sequence[tuple[Job, JobRequest, str]]) -> None:
        """Gives jobs that still wait another request, and user to pay."""
        for job, request, user in changes:
            self.widen(job, request, user)

    def get_all(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """By their whole ids."""
        return {job_id: self.get(job_id) for job_id in job_ids if job_id in self._tables.jobs}

    def newest_attempts(self, job_ids: Sequence[str]) -> dict[str, Attempt]:
        """By the job's id."""
        found = {job_id: self.attempts(job_id) for job_id in job_ids}
        return {job_id: attempts[-1] for job_id, attempts in found.items() if attempts}

    def interests(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Users, by the submissions that were not withdrawn."""
        return {
            job_id: {name: self._tables.submissions[name].user for name in self.interested(job_id)}
            for job_id in job_ids
        }

    def charge_to(self, job_id: str, user: str) -> None:
        """Lets another user pay."""
        self._change(job_id, user=user)

    def request_cancel_all(self, job_ids: Sequence[str]) -> list[Job]:
        """Cancels queued jobs at once, and asks running ones to stop."""
        for job in self.get_all(job_ids).values():
            if not job.state.is_terminal:
                self.request_cancel(job.id)
        return list(self.get_all(job_ids).values())

    def want_again(self, job_ids: Sequence[str]) -> None:
        """Takes back that running jobs were asked to stop."""
        for job in self.get_all(job_ids).values():
            if job.state is JobState.RUNNING:
                self._change(job.id, cancel_requested=False)

    def add_follow_ups(self, wanted: Sequence[FollowUp]) -> None:
        """Files what cells want beyond the builds that they share."""
        for follow_up in wanted:
            assert follow_up.job_id in self._tables.jobs
            user = self._tables.submissions[follow_up.submission_id].user
            self._tables.follow_ups.append(replace(follow_up, user=user))

    def follow_ups(self, submission_ids: Sequence[str]) -> list[FollowUp]:
        """Of some submissions."""
        found = [wanted for wanted in self._tables.follow_ups if wanted.submission_id in submission_ids]
        return sorted(found, key=lambda wanted: (wanted.submission_id, wanted.position))

    def take_follow_ups(self, job_id: str) -> list[FollowUp]:
        """Takes them out; not what was withdrawn."""
        taken = [wanted for wanted in self._tables.follow_ups if wanted.job_id == job_id]
        self._tables.follow_ups[:] = [wanted for wanted in self._tables.follow_ups if wanted not in taken]
        wanted_still = [one for one in taken if one.submission_id not in self._tables.withdrawn]
        return sorted(wanted_still, key=lambda wanted: (wanted.submission_id, wanted.position))

    def point(self, submission_id: str, position: int, job_id: str) -> None:
        """Has another job answer a cell."""
        assert job_id in self._tables.jobs
        submission = self._tables.submissions[submission_id]
        cells = tuple(
            replace(cell, job_id=job_id) if cell.position == position else cell for cell in submission.cells
        )
        self._tables.submissions[submission_id] = replace(submission, cells=cells)

    def _is_due(self, job: Job) -> bool:
        return job.not_before is not None and job.not_before <= self._now()

    def _change(self, job_id: str, **changes: Any) -> None:
        self._tables.jobs[job_id].job = replace(self._tables.jobs[job_id].job, **changes)

    def _fence(self, attempt: Attempt) -> None:
        job = self._tables.jobs[attempt.job_id].job
        if job.state is not JobState.RUNNING or job.attempts != attempt.number:
            raise AttemptSupersededError(f"attempt {attempt.number} no longer runs job {job.id}")


class InMemorySigningKeys:
    """Implements `SigningKeys`."""

    def __init__(self, tables: _Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def add(self, key_id: str, public_key: str, note: str) -> bool:
        """False if it is there."""
        if key_id in self._tables.keys:
            return False
        self._tables.keys[key_id] = SigningKey(key_id, public_key, note, self._now())
        return True

    def all(self) -> list[SigningKey]:
        """Oldest first."""
        return sorted(self._tables.keys.values(), key=lambda key: (key.created_at, key.id))

    def revoke(self, prefix: str) -> str:
        """For good; the engines that it signed know of it."""
        found = [key for key in self._tables.keys.values() if prefix and key.id.startswith(prefix.lower())]
        if not found:
            raise NotFoundError(f"there is no signing key {prefix!r}")
        if len(found) > 1:
            raise InvalidRequestError(f"several signing keys begin with {prefix!r}")
        (key,) = found
        self._tables.keys[key.id] = replace(key, revoked_at=key.revoked_at or self._now())
        for engine in self._tables.engines.values():
            if engine.signed is not None and engine.signed.signing_key == key.id:
                self._tables.engines[engine.id] = replace(engine, is_key_revoked=True)
        return key.id


class InMemoryEngineFiles:
    """Implements `EngineFiles`."""

    def __init__(self, tables: _Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def find(self, spec: BuildSpec) -> Engine | None:
        """The engine under a key."""
        found = self._of(spec)
        return None if found is None or found.retired_at else found

    def find_all(self, specs: Sequence[BuildSpec]) -> dict[str, Engine]:
        """The engines under some keys."""
        found = {spec.digest.sha256: self.find(spec) for spec in specs}
        return {key: engine for key, engine in found.items() if engine is not None}

    def _of(self, spec: BuildSpec) -> Engine | None:
        engines = self._tables.engines.values()
        return next((engine for engine in engines if engine.spec.digest == spec.digest), None)

    def get(self, engine_id: int) -> Engine:
        """By its number."""
        if engine_id not in self._tables.engines:
            raise NotFoundError(f"there is no engine {engine_id}")
        return self._tables.engines[engine_id]

    def engines(self, *, model_sha256: str | None = None, with_retired: bool = False) -> list[Engine]:
        """Oldest first."""
        engines = self._tables.engines.values()
        return [
            engine
            for engine in engines
            if model_sha256 in (None, engine.spec.model_sha256) and (with_retired or not engine.retired_at)
        ]

    def file(self, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """The first under a key keeps its bytes; every measured outcome adds a run."""
        engine = self.find(job.spec)
        if engine is None and outcome.engine is None:
            raise NotFoundError(f"job {job.id} measured an engine that is not filed")
        gives_way = engine is not None and not engine.is_signed and outcome.signed is not None
        if engine is None or gives_way:
            engine = self._new_engine(job, outcome, outcome.engine)
            retired = self._of(job.spec)
            if retired is not None:
                engine = replace(engine, id=retired.id, runs=retired.runs, pinned_at=retired.pinned_at)
        if outcome.engine is not None:
            self.add_artifact(outcome.engine, "engine")
        if outcome.accuracy is not None or outcome.measurements:
            engine = replace(engine, runs=(*engine.runs, self._new_run(engine, job, attempt, outcome)))
        self._tables.engines[engine.id] = engine
        return engine.id

    def history(self, *, name: str, since: datetime | None, include_tainted: bool) -> list[HistoryEntry]:
        """Newest last."""
        found = [
            HistoryEntry(name, version.version, engine, run, measurement)
            for version in self._tables.names
            if version.name == name
            for engine in self.engines(model_sha256=version.model_sha256, with_retired=True)
            for run in engine.runs
            if (since is None or run.started_at >= since) and (include_tainted or not run.taints)
            for measurement in run.measurements
        ]
        return sorted(found, key=lambda entry: (entry.run.started_at, entry.run.id, entry.measurement.batch))

    def artifact(self, sha256: str) -> Digest:
        """The whole digest of an artifact that was noted."""
        if sha256 not in self._tables.artifacts:
            raise NotFoundError(f"no artifact {sha256[:12]} is filed")
        return self._tables.artifacts[sha256]

    def add_artifact(self, digest: Digest, kind: str) -> None:
        """Notes an artifact."""
        self._tables.artifacts.setdefault(digest.sha256, digest)

    def _new_engine(self, job: Job, outcome: AttemptOutcome, digest: Digest | None) -> Engine:
        assert digest is not None
        return Engine(
            id=len(self._tables.engines) + 1,
            spec=job.spec,
            digest=digest,
            build_s=outcome.seconds.get("build", 0.0),
            precision_note=outcome.build.get("precision_note", ""),
            device_memory_bytes=outcome.build.get("device_memory_bytes", 0),
            layers=outcome.build.get("layers", 0),
            unverified_reason=outcome.unverified_reason,
            job_id=job.id,
            signed=outcome.signed,
            created_at=self._now(),
        )

    def _new_run(self, engine: Engine, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> Run:
        if outcome.samples is not None:
            self.add_artifact(outcome.samples, "samples")
        return Run(
            id=sum(len(known.runs) for known in self._tables.engines.values()) + 1,
            engine_id=engine.id,
            device_uuid=attempt.device_uuid,
            driver_version=attempt.driver_version,
            host=attempt.host,
            started_at=self._now(),
            accuracy=Accuracy.from_json(outcome.accuracy) if outcome.accuracy else None,
            measurements=tuple(map(Measurement.from_json, outcome.measurements)),
            samples=outcome.samples,
            inputs_sha256=job.request.verification.inputs_sha256,
        )


class InMemoryArtifactStore:
    """Implements `ArtifactStore`."""

    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}
        self._kept_at: dict[str, datetime] = {}
        self.puts = 0
        self.moment = datetime(2026, 1, 1, tzinfo=UTC)

    def put_file(self, path: Path) -> Digest:
        """Keeps a file's bytes."""
        return self.put_bytes(path.read_bytes())

    def put_bytes(self, data: bytes) -> Digest:
        """Keeps a few bytes."""
        self.puts += 1
        digest = digest_of_bytes(data)
        if not self.touch(digest):
            self._bytes[digest.sha256] = data
            self._kept_at[digest.sha256] = self.moment
        return digest

    def touch(self, digest: Digest) -> bool:
        """Counts as kept now."""
        if self.has(digest):
            self._kept_at[digest.sha256] = self.moment
        return self.has(digest)

    def now(self) -> datetime:
        """A clock that tests move."""
        return self.moment

    def listing(self) -> Iterator[StoredArtifact]:
        """Every artifact."""
        for sha256, data in list(self._bytes.items()):
            yield StoredArtifact(Digest(sha256, len(data)), self._kept_at[sha256])

    def remove(self, digest: Digest, kept_before: datetime) -> bool:
        """Unless somebody kept it since."""
        if digest.sha256 not in self._bytes or self._kept_at[digest.sha256] >= kept_before:
            return False
        del self._bytes[digest.sha256]
        return True

    def clear_leftovers(self, left_before: datetime, *, dry_run: bool = False) -> Leftovers:
        """Nobody is killed in memory."""
        del left_before, dry_run
        return Leftovers()

    def has(self, digest: Digest) -> bool:
        """Whether the bytes are there, in their full size."""
        return digest.sha256 in self._bytes and len(self._bytes[digest.sha256]) == digest.size_bytes

    def chunks(self, digest: Digest) -> Iterator[bytes]:
        """The bytes, checked at the end."""
        if digest.sha256 not in self._bytes:
            raise NotFoundError(f"the store has no {digest.short}")
        data = self._bytes[digest.sha256]
        for start in range(0, len(data), CHUNK_BYTES):
            yield data[start : start + CHUNK_BYTES]
        if digest_of_bytes(data) != digest:
            raise CorruptArtifactError(f"artifact {digest.short} was altered")

    def fetch(self, digest: Digest, destination: Path, progress: Callable[[int], None] | None = None) -> None:
        """Writes the bytes to a file, whole or not at all."""
        data = b""
        for chunk in self.chunks(digest):
            data += chunk
            if progress is not None:
                progress(len(data))
        destination.write_bytes(data)

    def spoil(self, digest: Digest, data: bytes) -> None:
        """Puts other bytes in place of an artifact's."""
        self._bytes[digest.sha256] = data


class RecordingQueue:
    """Implements `JobQueue`: remembers what it was told.

    Args:
        breaks_after: how many it takes before the broker goes away.
    """

    def __init__(self, breaks_after: int | None = None) -> None:
        self.announced: list[str] = []
        self._breaks_after = breaks_after

    def announce(self, wake_up: WakeUp) -> None:
        """Remembers the job's id."""
        if self._breaks_after is not None and len(self.announced) >= self._breaks_after:
            raise BrokerUnavailableError("the broker went away")
        self.announced.append(wake_up.job_id)


def _deadline(since: datetime, request: JobRequest) -> datetime | None:
    limit = request.queue_timeout_s
    return None if limit is None else since + timedelta(seconds=limit)


def _same_work(spec: BuildSpec, request: JobRequest) -> tuple[object, ...]:
    """The key, and for a benchmark what it measures."""
    if request.kind is JobKind.BUILD:
        return (request.kind, spec.digest)
    return (request.kind, spec.digest, sorted(request.benchmark.batches), request.verification.inputs_sha256)


def _recorded(failure: Failure | None) -> Failure | None:
    """Whether it was a crash is kept beside the failure, not in it."""
    return None if failure is None else replace(failure, is_crash=False, is_timeout=False)


def _full_id(known: Iterable[str], prefix: str, noun: str) -> str:
    found = [full for full in known if full.startswith(prefix)]
    if prefix in found:
        return prefix
    if not found:
        raise NotFoundError(f"there is no {noun} {prefix!r}")
    if len(found) > 1:
        raise InvalidRequestError(f"several {noun}s begin with {prefix!r}")
    return found[0]
