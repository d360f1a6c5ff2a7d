"""Where a submission stands: every cell with its job, its newest attempt and its engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.jobs import JobState
from farm.domain.work import Disposition
from farm.services.targets import slugs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.filing import Engine
    from farm.domain.work import Attempt, Cell, Job, JobRequest, Submission
    from farm.services.ports import Transaction


@dataclass(frozen=True)
class CellProgress:
    """One cell and what became of it.

    Attributes:
        cell: as submitted.
        slug: of the device type.
        job: that builds or measures it; none if it was answered from the store.
        attempt: the newest one of the job.
        engine: as soon as it is filed.
        has_live_worker: whether somebody who takes new work could take it now.
        beyond: what it wants beyond the build that it shares; measured as soon as that is done.
    """

    cell: Cell
    slug: str
    job: Job | None
    attempt: Attempt | None
    engine: Engine | None
    has_live_worker: bool
    beyond: JobRequest | None = None

    @property
    def state(self) -> JobState:
        """Of the job; a cell answered from the store has succeeded."""
        return self.job.state if self.job else JobState.SUCCEEDED


@dataclass(frozen=True)
class SubmissionProgress:
    """A submission and all its cells."""

    submission: Submission
    cells: tuple[CellProgress, ...]

    @property
    def is_done(self) -> bool:
        """Whether nothing of it is queued or running."""
        return all(cell.state.is_terminal for cell in self.cells)

    @property
    def is_successful(self) -> bool:
        """Whether every cell has its engine."""
        return all(cell.state is JobState.SUCCEEDED for cell in self.cells)

    @property
    def is_stuck(self) -> bool:
        """Whether cells wait, nothing runs, and nobody who takes new work could take any of them."""
        open_cells = [cell for cell in self.cells if not cell.state.is_terminal]
        return bool(open_cells) and all(
            cell.state is JobState.QUEUED and not cell.has_live_worker for cell in open_cells
        )


def submission_progress(transaction: Transaction, submission_id: str) -> SubmissionProgress:
    """Where a submission stands now.

    Raises:
        NotFoundError: there is no such submission.
    """
    (progress,) = progress_of(transaction, [transaction.jobs.submission(submission_id)])
    return progress


def progress_of(transaction: Transaction, submissions: Sequence[Submission]) -> list[SubmissionProgress]:
    """Where submissions stand now, in a handful of statements however many cells they have."""
    slugs = slugs_of(transaction)
    takers = [worker for worker in transaction.fleet.workers() if worker.takes_work]
    live = {(target, device) for w in takers for target in w.targets for device in ("", w.device.uuid)}
    cells = [cell for submission in submissions for cell in submission.cells]
    job_ids = [cell.job_id for cell in cells if cell.job_id and cell.disposition is not Disposition.BUILT]
    jobs = transaction.jobs.get_all(list(dict.fromkeys(job_ids)))
    attempts = transaction.jobs.newest_attempts(list(jobs))
    engines = transaction.engines.find_all(list({cell.spec.digest: cell.spec for cell in cells}.values()))

    follow_ups = transaction.jobs.follow_ups([submission.id for submission in submissions])
    beyond = {(one.submission_id, one.position): one.request for one in follow_ups}

    def progress(submission: Submission, cell: Cell) -> CellProgress:
        job = jobs.get(cell.job_id) if cell.disposition is not Disposition.BUILT else None
        return CellProgress(
            cell=cell,
            slug=slugs[cell.spec.target.device_type],
            job=job,
            attempt=attempts.get(job.id) if job else None,
            engine=engines.get(cell.spec.digest.sha256),
            has_live_worker=(cell.spec.target, job.request.on_device if job else "") in live,
            beyond=beyond.get((submission.id, cell.position)),
        )

    return [
        SubmissionProgress(submission, tuple(progress(submission, cell) for cell in submission.cells))
        for submission in submissions
    ]
