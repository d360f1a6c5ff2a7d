"""Turns in memory: whose job is next."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from farm.domain.fairness import Lane, Share, decayed, in_turn
from farm.domain.jobs import AttemptState, JobState
from farm.domain.overview import Rivals, TargetLoad
from farm.domain.targets import Target
from farm.domain.work import Attempt, Job, WakeUp
from tests.fakes.fleet_catalog import InMemoryFleetCatalog
from tests.fakes.job_rows import JobRows, may_have
from tests.fakes.tables import AttemptRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from farm.domain.targets import Device


class JobTurns(JobRows):
    """Who is woken, whose turn it is, and what it took."""

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
            for row in [row for row in self._waiting(target) if self._has_taker(row.job)][:count]
        ]

    def _has_taker(self, job: Job) -> bool:
        workers = InMemoryFleetCatalog(self._tables, self._now).workers()
        takers = {worker.device.uuid for worker in workers if worker.is_live and not worker.drain_reason}
        return not job.request.on_device or job.request.on_device in takers

    def rivals(self, job: Job, worker_id: str = "") -> Rivals:
        """Who waits for the same target as a job, or for any target of a worker."""
        targets = {job.target}
        if worker_id:
            registration = self._tables.workers[worker_id].registration
            targets = {Target(type_, toolchain.id) for type_, toolchain in registration.targets}
        waiting = sorted(
            (row for target in targets for row in self._waiting(target)),
            key=lambda row: (row.job.created_at, row.position),
        )
        others = [row.job for row in waiting if row.job.id != job.id]
        priority = job.request.priority
        same = [other for other in others if other.request.priority == priority]
        before = [row.job.id for row in waiting]
        place = before.index(job.id) if job.id in before else len(before)
        return Rivals(
            higher_priority=sum(other.request.priority > priority for other in others),
            older_of_user=sum(o.user == job.user and before.index(o.id) < place for o in same),
            users=Counter(other.user for other in same if other.user != job.user),
        )

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

    def lanes(self, worker_id: str, device: Device) -> list[Lane]:
        """What waits for a worker and is due, in the order in which it is served."""
        targets = list(self._tables.workers[worker_id].registration.targets)
        found: dict[tuple[int, int, str], Lane] = {}
        for number, (device_type, toolchain) in enumerate(targets):
            for row in self._waiting(Target(device_type, toolchain.id)):
                job = row.job
                if may_have(device.uuid, job):
                    lane = Lane(number, 0, job.request.priority, job.user, job.created_at)
                    found.setdefault((number, lane.priority, lane.user), lane)
        return in_turn(found.values(), self.shares({lane.user for lane in found.values()}))

    def shares(self, users: Iterable[str]) -> dict[str, Share]:
        """What users have had of the fleet of late."""
        now = self._now()
        running = [row.job.user for row in self._tables.jobs.values() if row.job.state is JobState.RUNNING]
        found = {}
        for user in users:
            had, since = self._tables.usage.get(user, (0.0, now))
            found[user] = Share(decayed(had, (now - since).total_seconds()), running.count(user))
        return found

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

    def claim_next(self, *, worker_id: str, device: Device, lease_s: float) -> tuple[Job, Attempt] | None:
        """Takes the job whose turn it is."""
        targets = list(self._tables.workers[worker_id].registration.targets)
        for lane in self.lanes(worker_id, device):
            device_type, toolchain = targets[lane.device_type_id]
            for row in self._waiting(Target(device_type, toolchain.id)):
                job = row.job
                if (job.request.priority, job.user) == (lane.priority, lane.user) and (
                    may_have(device.uuid, job)
                ):
                    return self.claim(job.id, worker_id=worker_id, device=device, lease_s=lease_s)
        return None

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
        self._tables.attempts[attempt.id] = AttemptRow(attempt)
        return row.job, attempt
