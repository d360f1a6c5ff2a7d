"""The rows that the stand-ins keep in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.calibration_caches import CalibrationCacheKey, FiledCalibrationCache
    from farm.domain.canaries import Canary, Suspicion
    from farm.domain.digests import Digest
    from farm.domain.filing import Engine, SigningKey
    from farm.domain.fleet import Drain, WorkerRegistration
    from farm.domain.models import Model
    from farm.domain.stored_references import StoredReference
    from farm.domain.targets import Device, DeviceType, ToolchainId
    from farm.domain.timing_caches import CacheKey, CacheUse, FiledCache
    from farm.domain.toolchains import ToolchainDescription
    from farm.domain.work import Attempt, FollowUp, Job, ModelName, Submission


@dataclass
class WorkerRow:
    registration: WorkerRegistration
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None = None
    is_leaving: bool = False
    is_dead: bool = False


@dataclass
class JobRow:
    job: Job
    position: int


@dataclass
class AttemptRow:
    attempt: Attempt
    is_crash: bool = False
    log: str = ""


@dataclass
class Tables:
    models: dict[str, Model] = field(default_factory=dict)
    names: list[ModelName] = field(default_factory=list)
    slugs: dict[str, DeviceType] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    toolchains: dict[ToolchainId, ToolchainDescription] = field(default_factory=dict)
    targets: set[tuple[DeviceType, ToolchainId]] = field(default_factory=set)
    workers: dict[str, WorkerRow] = field(default_factory=dict)
    submissions: dict[str, Submission] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    jobs: dict[str, JobRow] = field(default_factory=dict)
    attempts: dict[int, AttemptRow] = field(default_factory=dict)
    engines: dict[int, Engine] = field(default_factory=dict)
    artifacts: dict[str, Digest] = field(default_factory=dict)
    timing_caches: dict[CacheKey, FiledCache] = field(default_factory=dict)
    cache_uses: dict[int, CacheUse] = field(default_factory=dict)
    calibration_caches: dict[CalibrationCacheKey, FiledCalibrationCache] = field(default_factory=dict)
    stored_references: dict[str, StoredReference] = field(default_factory=dict)
    drains: dict[str, Drain] = field(default_factory=dict)
    duties: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    usage: dict[str, tuple[float, datetime]] = field(default_factory=dict)
    charged: set[int] = field(default_factory=set)
    keys: dict[str, SigningKey] = field(default_factory=dict)
    follow_ups: list[FollowUp] = field(default_factory=list)
    canaries: list[Canary] = field(default_factory=list)
    suspects: dict[str, Suspicion] = field(default_factory=dict)
