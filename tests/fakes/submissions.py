"""Submissions in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm.domain.identifiers import new_id
from farm.domain.work import Cell, ModelName, Submission
from tests.fakes.job_rows import JobRows, full_id

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class Submissions(JobRows):
    """Requests with their cells, and who still waits for them."""

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
        for cell in cells:
            assert cell.job_id in self._tables.jobs or cell.engine_id in self._tables.engines
        submission = Submission(
            id=new_id("s"),
            model_name=name.name,
            model_version=name.version,
            model_sha256=self._tables.models[name.model_sha256].digest.sha256,
            user=user,
            created_at=self._now(),
            tags=tags,
            cells=tuple(sorted(cells, key=lambda cell: cell.position)),
        )
        self._tables.submissions[submission.id] = submission
        return submission

    def submission(self, submission_id: str) -> Submission:
        """By its id or the id's beginning."""
        return self._tables.submissions[full_id(self._tables.submissions, submission_id, "submission")]

    def submissions(self, limit: int) -> list[Submission]:
        """Newest first."""
        return list(self._tables.submissions.values())[: -limit - 1 : -1]

    def interested(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job and were not withdrawn."""
        return self.asking(job_id) - self._tables.withdrawn

    def asking(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job, withdrawn or not."""
        return {
            submission.id
            for submission in self._tables.submissions.values()
            if any(cell.job_id == job_id for cell in submission.cells)
        }

    def interests(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Users, by the submissions that were not withdrawn."""
        return {
            job_id: {name: self._tables.submissions[name].user for name in self.interested(job_id)}
            for job_id in job_ids
        }

    def rejoin(self, submission_ids: Collection[str]) -> None:
        """Has somebody wait for submissions again."""
        for submission_id in submission_ids:
            self._tables.withdrawn.discard(submission_id)
            submission = self._tables.submissions[submission_id]
            self._tables.submissions[submission_id] = replace(submission, is_withdrawn=False)

    def withdraw(self, submission_id: str) -> None:
        """Notes that nobody waits for a submission any more."""
        self._tables.withdrawn.add(submission_id)
        submission = self._tables.submissions[submission_id]
        self._tables.submissions[submission_id] = replace(submission, is_withdrawn=True)

    def point(self, submission_id: str, position: int, job_id: str) -> None:
        """Has another job answer a cell."""
        assert job_id in self._tables.jobs
        submission = self._tables.submissions[submission_id]
        cells = tuple(
            replace(cell, job_id=job_id) if cell.position == position else cell for cell in submission.cells
        )
        self._tables.submissions[submission_id] = replace(submission, cells=cells)
