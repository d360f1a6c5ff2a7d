"""Attempts in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from farm.domain.jobs import AttemptState, JobState, Phase, check_attempt_transition, check_job_transition
from farm.domain.signatures import FailureGroup, signature_of
from tests.fakes.fleet_catalog import InMemoryFleetCatalog
from tests.fakes.job_rows import JobRows, queue_deadline, recorded_failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.digests import Digest
    from farm.domain.jobs import Failure
    from farm.domain.work import Attempt, Job


class Attempts(JobRows):
    """Attempts behind the fence: reports, logs, ends."""

    def running(self) -> dict[str, Attempt]:
        """The attempts that run now."""
        found = [row.attempt for row in self._tables.attempts.values()]
        return {attempt.worker_id: attempt for attempt in found if attempt.state is AttemptState.RUNNING}

    def newest_attempts(self, job_ids: Sequence[str]) -> dict[str, Attempt]:
        """By the job's id."""
        found = {job_id: self.attempts(job_id) for job_id in job_ids}
        return {job_id: attempts[-1] for job_id, attempts in found.items() if attempts}

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
        now, recorded = self._now(), recorded_failure(failure)
        due = now + timedelta(seconds=retry_in_s if job_state is JobState.QUEUED else 0.0)
        if job_state is JobState.QUEUED:
            job = self.get(attempt.job_id)
            has_others = (
                elsewhere
                and not job.request.on_device
                and any(
                    worker.is_live
                    and job.target in worker.targets
                    and worker.device.uuid != attempt.device_uuid
                    for worker in InMemoryFleetCatalog(self._tables, self._now).workers()
                )
            )
            self._change(
                job.id,
                queue_deadline_at=queue_deadline(due, job.request),
                avoid_device=attempt.device_uuid if has_others else "",
            )
        self._change(
            attempt.job_id,
            state=job_state,
            lease_until=None,
            finished_at=now if job_state.is_terminal else None,
            not_before=due,
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
