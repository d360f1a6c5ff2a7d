"""Where a submission stands: every cell with its job, its newest attempt and its engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.jobs import JobState

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.work import Attempt, Cell, Job, Submission
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
        has_live_worker: whether somebody could take it now.
    """

    cell: Cell
    slug: str
    job: Job | None
    attempt: Attempt | None
    engine: Engine | None
    has_live_worker: bool

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
        """Whether cells wait, nothing runs, and no live worker could take any of them."""
        open_cells = [cell for cell in self.cells if not cell.state.is_terminal]
        return bool(open_cells) and all(
            cell.state is JobState.QUEUED and not cell.has_live_worker for cell in open_cells
        )


def submission_progress(transaction: Transaction, submission_id: str) -> SubmissionProgress:
    """Where a submission stands now.

    Raises:
        NotFoundError: there is no such submission.
    """
    submission = transaction.jobs.submission(submission_id)
    slugs = {device_type: slug for slug, device_type in transaction.fleet.device_types().items()}
    live = {target for worker in transaction.fleet.workers() if worker.is_live for target in worker.targets}
    cells = []
    for cell in submission.cells:
        job = transaction.jobs.get(cell.job_id) if cell.job_id and cell.disposition.value != "built" else None
        attempts = transaction.jobs.attempts(job.id) if job else []
        cells.append(
            CellProgress(
                cell=cell,
                slug=slugs[cell.spec.target.device_type],
                job=job,
                attempt=attempts[-1] if attempts else None,
                engine=transaction.engines.find(cell.spec),
                has_live_worker=cell.spec.target in live,
            )
        )
    return SubmissionProgress(submission, tuple(cells))
