"""Many jobs at once, and those that several people want, in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.jobs import JobState
from tests.fakes.job_rows import queue_deadline
from tests.fakes.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.specs import BuildSpec
    from farm.domain.work import FollowUp, Job, JobRequest, WantedJob


class SharedJobs(Jobs):
    """Jobs in bulk, and what cells want beyond the builds that they share."""

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
            if self.get(job.id).state is JobState.QUEUED:
                until = queue_deadline(self._now(), request)
                self._change(job.id, request=request, queue_deadline_at=until, user=user)

    def get_all(self, job_ids: Sequence[str]) -> dict[str, Job]:
        """By their whole ids."""
        return {job_id: self.get(job_id) for job_id in job_ids if job_id in self._tables.jobs}

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
