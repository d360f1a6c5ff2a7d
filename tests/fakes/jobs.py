"""Jobs in memory, one at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from farm.domain.errors import ConflictError
from farm.domain.identifiers import new_id
from farm.domain.jobs import AVOID_DEVICE_S, JobState, check_job_transition
from farm.domain.work import Job
from tests.fakes.job_rows import JobRows, queue_deadline, recorded_failure, same_work
from tests.fakes.tables import JobRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.jobs import Failure
    from farm.domain.specs import BuildSpec
    from farm.domain.work import JobRequest


class Jobs(JobRows):
    """Jobs from the queue to the end of their wait."""

    def active(self, spec: BuildSpec, request: JobRequest) -> Job | None:
        """The queued or running job that does the same."""
        wanted = same_work(spec, request)
        for row in self._tables.jobs.values():
            if not row.job.state.is_terminal and same_work(row.job.spec, row.job.request) == wanted:
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
            queue_deadline_at=queue_deadline(now, request),
        )
        self._tables.jobs[job.id] = JobRow(job, position)
        return job

    def jobs(self, *, states: Sequence[JobState] = (), limit: int = 1000) -> list[Job]:
        """Newest first."""
        found = [row.job for row in self._tables.jobs.values() if not states or row.job.state in states]
        return sorted(found, key=lambda job: job.created_at, reverse=True)[:limit]

    def hold(self, job_ids: Sequence[str]) -> None:
        """Nobody else is there."""
        assert all(job_id in self._tables.jobs for job_id in job_ids)

    def overdue(self) -> list[Job]:
        """Jobs that have waited for longer than they may."""
        return [row.job for row in self._tables.jobs.values() if self._is_overdue(row.job)]

    def give_up(self, job: Job, failure: Failure) -> bool:
        """Fails a job that still waits beyond its time."""
        if not self._is_overdue(self.get(job.id)):
            return False
        check_job_transition(JobState.QUEUED, JobState.FAILED)
        self._change(
            job.id, state=JobState.FAILED, finished_at=self._now(), failure=recorded_failure(failure)
        )
        return True

    def _is_overdue(self, job: Job) -> bool:
        limit = job.queue_deadline_at
        return job.state is JobState.QUEUED and limit is not None and limit < self._now()

    def forgive_devices(self) -> int:
        """Lets the devices that failed a job have it again."""
        earliest = self._now() - timedelta(seconds=AVOID_DEVICE_S)
        forgiven = [
            row.job
            for row in self._tables.jobs.values()
            if row.job.avoid_device and row.job.not_before is not None and row.job.not_before <= earliest
        ]
        for job in forgiven:
            self._change(job.id, avoid_device="")
        return len(forgiven)

    def request_cancel(self, job_id: str) -> Job:
        """Cancels a queued job at once, and asks a running one to stop."""
        job = self.get(job_id)
        if job.state.is_terminal:
            raise ConflictError(f"job {job.id} has ended already: {job.state.value}")
        if job.state is JobState.QUEUED:
            self._change(job.id, state=JobState.CANCELLED, finished_at=self._now())
        self._change(job.id, cancel_requested=True)
        return self.get(job.id)

    def requeue(self, job_id: str, request: JobRequest | None = None) -> Job:
        """Queues what failed or was cancelled again, as a new job in every cell of the old one."""
        old = self.get(job_id)
        if old.state not in (JobState.FAILED, JobState.CANCELLED):
            raise ConflictError(f"job {old.id} is {old.state.value}")
        request = request or old.request
        job = self.active(old.spec, request) or self.add(old.spec, request, user=old.user)
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
