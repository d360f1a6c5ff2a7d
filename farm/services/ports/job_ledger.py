"""Submissions, jobs and attempts, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from farm.domain.digests import Digest
    from farm.domain.fairness import Lane, Share
    from farm.domain.jobs import AttemptState, Failure, JobState, Phase
    from farm.domain.overview import Rivals, TargetLoad
    from farm.domain.signatures import FailureGroup
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Device, Target
    from farm.domain.work import (
        Attempt,
        Cell,
        FollowUp,
        Job,
        JobRequest,
        ModelName,
        Submission,
        WakeUp,
        WantedJob,
    )


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

    def rivals(self, job: Job, worker_id: str = "") -> Rivals:
        """Who waits for the same target as a job, or for any target of a worker."""

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
        """How many of a job's attempts died by a signal, or killed their worker."""

    def hold(self, job_ids: Sequence[str]) -> None:
        """Keeps jobs as they are to the end of the transaction; waits for whoever is at one."""

    def interested(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job and were not withdrawn."""

    def asking(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job, withdrawn or not."""

    def rejoin(self, submission_ids: Collection[str]) -> None:
        """Has somebody wait for submissions again that were withdrawn."""

    def withdraw(self, submission_id: str) -> None:
        """Notes that nobody waits for a submission any more."""

    def request_cancel(self, job_id: str) -> Job:
        """Cancels a queued job at once, and asks a running one to stop."""

    def requeue(self, job_id: str, request: JobRequest | None = None) -> Job:
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
