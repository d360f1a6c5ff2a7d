"""Rows of submissions, jobs and attempts as values, and back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.digests import Digest, digest_of_json
from farm.domain.jobs import AttemptState, JobKind, JobState, Phase
from farm.domain.specs import BuildSpec
from farm.domain.verification import VerificationSpec
from farm.domain.work import Attempt, Cell, Disposition, Job, JobRequest
from farm.storage.rows import failure_from_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Row


def dedup_sha256(spec: BuildSpec, request: JobRequest) -> str:
    """What two requests must share to be one job: the key, and for a benchmark what it measures and checks."""
    parts: list[Any] = [request.kind.value, spec.digest.sha256]
    if request.kind is JobKind.BENCHMARK:
        verification = request.verification
        parts += [
            sorted(request.benchmark.batches),
            verification.inputs_sha256,
            {name: repr(limit) for name, limit in verification.thresholds.as_json().items()},
            *([repr(verification.beyond_inputs)] if verification.beyond_inputs else []),
        ]
        # Only where asked for: jobs of before are what they were.
        parts += [name for name in ("profile", "nsys") if getattr(request.benchmark, name)]
        parts += [{name: value} for name, value in _wishes(request).items()]
        asked = request.benchmark.as_json()
        parts += [{name: asked[name]} for name in ("method", "streams", "flush_l2") if name in asked]
    return digest_of_json(parts).sha256


def _wishes(request: JobRequest) -> dict[str, Any]:
    """What a benchmark is told beyond what it measures, and was asked for."""
    return {name: getattr(request, name) for name, usual in _USUAL.items() if getattr(request, name) != usual}


#: Not told unless asked for: jobs of before are what they were.
_USUAL: Mapping[str, Any] = {"on_device": "", "repeat": 1, "against": 0}


#: What a release before 0.2 knows of a benchmark; it takes no job with more in that place, but passes over other places.
_BENCHMARK_OF_BEFORE = ("batches", "warmup_ms", "duration_ms", "min_iterations", "max_iterations")


def request_as_json(request: JobRequest) -> dict[str, Any]:
    """The document in `jobs.request`."""
    benchmark = request.benchmark.as_json()
    further = {name: value for name, value in benchmark.items() if name not in _BENCHMARK_OF_BEFORE}
    return {
        "kind": request.kind.value,
        "benchmark": {name: benchmark[name] for name in _BENCHMARK_OF_BEFORE},
        **({"benchmark_further": further} if further else {}),
        "verification": request.verification.as_json(),
        "max_attempts": request.max_attempts,
        "deadline_s": request.deadline_s,
        "phase_deadlines": {phase.value: limit for phase, limit in request.phase_deadlines.items()},
        "queue_timeout_s": request.queue_timeout_s,
        "priority": request.priority,
        # Not there unless it was asked for: other releases know nothing of it.
        **({"rebuild_by": request.rebuild_by} if request.rebuild_by else {}),
        **({"builds": request.builds} if request.builds > 1 else {}),
        **_wishes(request),
    }


def request_from_json(value: Mapping[str, Any]) -> JobRequest:
    """The inverse of `request_as_json`."""
    return JobRequest(
        kind=JobKind(value["kind"]),
        benchmark=BenchmarkSpec.from_json({**value["benchmark"], **value.get("benchmark_further", {})}),
        verification=VerificationSpec.from_json(value["verification"]),
        max_attempts=value["max_attempts"],
        deadline_s=value["deadline_s"],
        # Left out by releases before 0.2.
        phase_deadlines={Phase(name): s for name, s in value.get("phase_deadlines", {}).items()},
        queue_timeout_s=value.get("queue_timeout_s"),
        priority=value.get("priority", 0),
        rebuild_by=value.get("rebuild_by", ""),
        builds=value.get("builds", 1),
        **{name: value[name] for name in _USUAL if name in value},
    )


def queue_deadline(since: datetime, request: JobRequest) -> datetime | None:
    """Until when a job may wait that begins to wait now."""
    return None if request.queue_timeout_s is None else since + timedelta(seconds=request.queue_timeout_s)


#: What `job_from_row` reads.
JOB_COLUMNS = (
    "id",
    "state",
    "spec",
    "request",
    "attempts",
    "created_at",
    "finished_at",
    "worker_id",
    "cancel_requested_at",
    "not_before",
    "lease_until",
    "user_name",
    "queue_deadline_at",
    "avoid_device",
    "failure_class",
    "failure_code",
    "failure_message",
    "failure_hint",
    "failure_phase",
)


def job_from_row(row: Row[Any]) -> Job:
    """A row of `jobs`."""
    return Job(
        id=row.id,
        state=JobState(row.state),
        spec=BuildSpec.from_json(row.spec),
        request=request_from_json(row.request),
        attempts=row.attempts,
        created_at=row.created_at,
        finished_at=row.finished_at,
        worker_id=row.worker_id,
        cancel_requested=row.cancel_requested_at is not None,
        not_before=row.not_before,
        lease_until=row.lease_until,
        failure=failure_from_row(row),
        user=row.user_name,
        queue_deadline_at=row.queue_deadline_at,
        avoid_device=row.avoid_device,
    )


def attempt_from_row(row: Row[Any]) -> Attempt:
    """A row of `attempts` with the size of its log beside it."""
    return Attempt(
        id=row.id,
        job_id=row.job_id,
        number=row.number,
        state=AttemptState(row.state),
        worker_id=row.worker_id,
        host=row.host,
        device_uuid=row.device_uuid,
        driver_version=row.driver_version,
        phase=row.phase,
        fraction=row.phase_fraction,
        message=row.phase_message,
        claimed_at=row.claimed_at,
        finished_at=row.finished_at,
        failure=failure_from_row(row),
        log=Digest(row.log_sha256, row.log_size_bytes) if row.log_sha256 else None,
        seconds=row.seconds,
    )


def cell_from_row(row: Row[Any]) -> Cell:
    """A row of `cells`."""
    return Cell(
        row.position,
        BuildSpec.from_json(row.spec),
        Disposition(row.disposition),
        row.job_id or "",
        row.engine_id,
    )
