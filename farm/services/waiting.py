"""Why a job is where it is, in plain sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.domain.durations import duration_text
from farm.domain.fairness import Share
from farm.domain.jobs import JobState

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.fleet import Worker
    from farm.domain.overview import Rivals
    from farm.domain.targets import Target
    from farm.domain.work import Job
    from farm.services.ports import Transaction


@dataclass(frozen=True)
class Waiting:
    """What is known of a job's wait.

    Attributes:
        job: which.
        ahead: jobs of its target that are served before it, by the reason.
        shares: of its user, and of the others who wait for the same target.
        workers: live ones of its target.
        lines: the same for people.
    """

    job: Job
    ahead: dict[str, int]
    shares: dict[str, Share]
    workers: list[Worker]
    lines: list[str]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "job": self.job.id,
            "state": self.job.state.value,
            "target": str(self.job.target),
            "priority": self.job.request.priority,
            "user": self.job.user,
            "not_before": self.job.not_before,
            "queue_deadline_at": self.job.queue_deadline_at,
            "avoids_device": self.job.avoid_device or None,
            "ahead": self.ahead,
            "shares": {
                user: {"device_s": round(share.device_s, 1), "running": share.running}
                for user, share in self.shares.items()
            },
            "live_workers": [worker.name for worker in self.workers],
            "reasons": self.lines,
        }


def why_it_waits(transaction: Transaction, job_id: str) -> Waiting:
    """Explains where a job stands: its turn, its user's share, and who is there to take it.

    Raises:
        NotFoundError: there is no such job.
    """
    job = transaction.jobs.get(job_id)
    now = transaction.now()
    workers = [w for w in transaction.fleet.workers() if w.is_live and job.target in w.targets]
    if job.state is not JobState.QUEUED:
        return Waiting(job, {}, {}, workers, [_not_waiting(transaction, job)])
    wanted = job.request.on_device
    taking = [
        w
        for w in workers
        if not w.drain_reason and w.device.uuid != job.avoid_device and wanted in ("", w.device.uuid)
    ]
    rivals, nearest = _rivals(transaction, job, taking)
    shares = transaction.jobs.shares({job.user, *rivals.users})
    mine = shares.get(job.user, Share())
    ahead = {
        "higher priority": rivals.higher_priority,
        "same user, older": rivals.older_of_user,
        "users who have had less": sum(
            count for user, count in rivals.users.items() if shares.get(user, Share()).weight < mine.weight
        ),
    }
    lines = [f"job {job.id} waits for {job.target}"]
    lines += _times(job, now)
    lines += _people(workers)
    if job.avoid_device:
        lines.append(f"it failed on {job.avoid_device}, so another device has the first chance at it")
    if wanted:
        lines.append(f"it is for {wanted} alone" + ("" if taking else ", and nobody there takes it now"))
    if any(ahead.values()) and any(len(worker.targets) > 1 for worker in taking):
        lines.append("of all targets that its worker serves:")
    lines += [f"{count} job(s) go first: {reason}" for reason, count in ahead.items() if count]
    if rivals.users:
        lines.append(
            f"of late {job.user or 'its user'} had {duration_text(mine.device_s)} of devices and runs {mine.running} job(s); "
            + "; ".join(
                f"{user} had {duration_text(share.device_s)} and runs {share.running}"
                for user, share in sorted(shares.items())
                if user != job.user
            )
            + ": priority goes first, then whoever had least, then age"
        )
    is_due = job.not_before is None or job.not_before <= now
    # Of two users who have had the same the older job goes first, and only the claim knows which that is.
    others = [shares.get(user, Share()).weight for user in rivals.users]
    if taking and is_due and not any(ahead.values()) and mine.weight not in others:
        is_free = any(not worker.current_job for worker in nearest)
        lines.append("it is next" if is_free else "it is next, as soon as one of them is free")
    return Waiting(job, ahead, shares, workers, lines)


def _rivals(transaction: Transaction, job: Job, taking: list[Worker]) -> tuple[Rivals, list[Worker]]:
    """Who competes with a job, and the workers with whom it is so: those with the fewest rivals, free ones first.

    A worker asks for the jobs of all its targets at once, so whoever waits for any of them competes. Without a
    worker, those of the job's own target do.
    """
    by_targets: dict[frozenset[Target], list[Worker]] = {}
    for worker in taking:
        by_targets.setdefault(frozenset(worker.targets), []).append(worker)
    found = [(transaction.jobs.rivals(job, alike[0].id), alike) for alike in by_targets.values()]
    if not found:
        return transaction.jobs.rivals(job), []

    def order(candidate: tuple[Rivals, list[Worker]]) -> tuple[int, bool]:
        rivals, alike = candidate
        count = rivals.higher_priority + rivals.older_of_user + sum(rivals.users.values())
        return count, all(worker.current_job for worker in alike)

    return min(found, key=order)


def _not_waiting(transaction: Transaction, job: Job) -> str:
    if job.state is JobState.RUNNING:
        attempt = transaction.jobs.newest_attempts([job.id]).get(job.id)
        stays = f", {attempt.waits}" if attempt and attempt.waits else ""
        return f"job {job.id} does not wait: {job.worker_id} has it, in attempt {job.attempts}{stays}"
    why = f": {job.failure.message}" if job.failure else ""
    return f"job {job.id} does not wait: it is {job.state.value.lower()}{why}"


def _times(job: Job, now: datetime) -> list[str]:
    lines = []
    if job.not_before is not None and job.not_before > now:
        left = duration_text((job.not_before - now).total_seconds())
        lines.append(f"it is tried again in {left}, after attempt {job.attempts} failed")
    if job.queue_deadline_at is not None:
        left_s = (job.queue_deadline_at - now).total_seconds()
        lines.append(
            f"it gives up in {duration_text(left_s)}"
            if left_s > 0
            else "it gives up now: it has waited too long"
        )
    return lines


def _people(workers: list[Worker]) -> list[str]:
    if not workers:
        return ["no worker that serves this target is live: start `farm worker` on such a machine"]
    draining = [worker for worker in workers if worker.drain_reason]
    busy = [worker for worker in workers if worker.current_job and not worker.drain_reason]
    lines = [f"{len(workers)} worker(s) of it are live: {len(busy)} busy, {len(draining)} draining"]
    lines += [f"{worker.name} takes nothing new: {worker.drain_reason}" for worker in draining]
    return lines
