"""Submissions and their cells in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import desc, func, insert, select, update

from farm.domain.identifiers import new_id
from farm.domain.work import Cell, Submission
from farm.storage.columns import DatabaseNow
from farm.storage.job_rows import cell_from_row
from farm.storage.rows import full_id, portions
from farm.storage.tables import cells, submissions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection

    from farm.domain.work import ModelName


class SqlSubmissions:
    """The part of `JobLedger` that submissions are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

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
        submission_id = new_id("s")
        row = self._connection.execute(
            insert(submissions)
            .values(
                id=submission_id,
                model_name=name.name,
                model_version=name.version,
                model_sha256=name.model_sha256,
                user_name=user,
                tags=tags,
                request=request,
                created_at=DatabaseNow(),
            )
            .returning(*submissions.c)
        ).one()
        if cells:
            self._connection.execute(insert(_cells), [_cell_values(submission_id, cell) for cell in cells])
        return _submission(row, sorted(cells, key=lambda cell: cell.position))

    def submission(self, submission_id: str) -> Submission:
        """A submission by its id or the id's beginning.

        Raises:
            NotFoundError: there is none.
            InvalidRequestError: several begin like that.
        """
        full = full_id(self._connection, submissions, submission_id, "submission")
        (found,) = self._with_cells(submissions.c.id == full, limit=1)
        return found

    def submissions(self, limit: int) -> list[Submission]:
        """The newest submissions, newest first."""
        return self._with_cells(limit=limit)

    def _with_cells(self, *conditions: ColumnElement[bool], limit: int) -> list[Submission]:
        newest = select(submissions).where(*conditions).order_by(desc(submissions.c.created_at)).limit(limit)
        rows = self._connection.execute(newest).all()
        of_submission: dict[str, list[Cell]] = {row.id: [] for row in rows}
        for some in portions(list(of_submission)):
            query = select(_cells).where(_cells.c.submission_id.in_(some)).order_by(_cells.c.position)
            for row in self._connection.execute(query):
                of_submission[row.submission_id].append(cell_from_row(row))
        return [_submission(row, of_submission[row.id]) for row in rows]

    def asking(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job, withdrawn or not."""
        query = select(_cells.c.submission_id).where(_cells.c.job_id == job_id)
        return set(self._connection.execute(query).scalars())

    def interested(self, job_id: str) -> set[str]:
        """The submissions that have a cell of a job and were not withdrawn."""
        query = (
            select(_cells.c.submission_id)
            .join(submissions, submissions.c.id == _cells.c.submission_id)
            .where(_cells.c.job_id == job_id, submissions.c.withdrawn_at.is_(None))
        )
        return set(self._connection.execute(query).scalars())

    def rejoin(self, submission_ids: Collection[str]) -> None:
        """Has somebody wait for submissions again that were withdrawn."""
        self._connection.execute(
            update(submissions).where(submissions.c.id.in_(submission_ids)).values(withdrawn_at=None)
        )

    def withdraw(self, submission_id: str) -> None:
        """Notes that nobody waits for a submission any more."""
        self._connection.execute(
            update(submissions)
            .where(submissions.c.id == submission_id)
            .values(withdrawn_at=func.coalesce(submissions.c.withdrawn_at, DatabaseNow()))
        )


# The method `cells=` above needs the name for its argument.
_cells = cells


def _submission(row: Any, cells: Sequence[Cell]) -> Submission:
    return Submission(
        id=row.id,
        model_name=row.model_name,
        model_version=row.model_version,
        model_sha256=row.model_sha256,
        user=row.user_name,
        created_at=row.created_at,
        tags=row.tags,
        cells=tuple(cells),
        is_withdrawn=row.withdrawn_at is not None,
    )


def _cell_values(submission_id: str, cell: Cell) -> dict[str, Any]:
    return {
        "submission_id": submission_id,
        "position": cell.position,
        "spec_sha256": cell.spec.digest.sha256,
        "spec": cell.spec.as_json(),
        "disposition": cell.disposition.value,
        "job_id": cell.job_id or None,
        "engine_id": cell.engine_id,
    }
