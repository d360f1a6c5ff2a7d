"""What the parts of the in-memory ledger share."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from farm.domain.errors import AttemptSupersededError, InvalidRequestError, NotFoundError
from farm.domain.jobs import JobKind, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from farm.domain.jobs import Failure
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Target
    from farm.domain.work import Attempt, Job, JobRequest
    from tests.fakes.tables import JobRow, Tables


class JobRows:
    """The rows of jobs, and what every part of the ledger does with them."""

    def __init__(self, tables: Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def get(self, job_id: str) -> Job:
        """By its id or the id's beginning."""
        return self._tables.jobs[full_id(self._tables.jobs, job_id, "job")].job

    def attempts(self, job_id: str) -> list[Attempt]:
        """Oldest first."""
        return [row.attempt for row in self._tables.attempts.values() if row.attempt.job_id == job_id]

    def _waiting(self, target: Target) -> list[JobRow]:
        """What is due for a target, oldest first."""
        found = [
            row
            for row in self._tables.jobs.values()
            if row.job.state is JobState.QUEUED and row.job.target == target and self._is_due(row.job)
        ]
        return sorted(found, key=lambda row: (row.job.created_at, row.position))

    def _is_due(self, job: Job) -> bool:
        return job.not_before is not None and job.not_before <= self._now()

    def _change(self, job_id: str, **changes: Any) -> None:
        self._tables.jobs[job_id].job = replace(self._tables.jobs[job_id].job, **changes)

    def _fence(self, attempt: Attempt) -> None:
        job = self._tables.jobs[attempt.job_id].job
        if job.state is not JobState.RUNNING or job.attempts != attempt.number:
            raise AttemptSupersededError(f"attempt {attempt.number} no longer runs job {job.id}")


def may_have(device_uuid: str, job: Job) -> bool:
    """Whether a device may have a job."""
    return job.avoid_device != device_uuid and job.request.on_device in ("", device_uuid)


def queue_deadline(since: datetime, request: JobRequest) -> datetime | None:
    """Until when a job may wait."""
    limit = request.queue_timeout_s
    return None if limit is None else since + timedelta(seconds=limit)


def same_work(spec: BuildSpec, request: JobRequest) -> tuple[object, ...]:
    """The key, and for a benchmark what it measures."""
    if request.kind is JobKind.BUILD:
        return (request.kind, spec.digest)
    benchmark = request.benchmark
    asked = (sorted(benchmark.batches), benchmark.profile, benchmark.nsys)
    wishes = (request.on_device, request.repeat, request.against, benchmark.methods)
    return (request.kind, spec.digest, *asked, *wishes, request.verification.inputs_sha256)


def recorded_failure(failure: Failure | None) -> Failure | None:
    """Whether it was a crash is kept beside the failure, not in it."""
    return None if failure is None else replace(failure, is_crash=False, is_timeout=False)


def full_id(known: Iterable[str], prefix: str, noun: str) -> str:
    """What begins so, if it is one."""
    found = [full for full in known if full.startswith(prefix)]
    if prefix in found:
        return prefix
    if not found:
        raise NotFoundError(f"there is no {noun} {prefix!r}")
    if len(found) > 1:
        raise InvalidRequestError(f"several {noun}s begin with {prefix!r}")
    return found[0]
