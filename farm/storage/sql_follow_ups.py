"""What cells want beyond the builds that they share, in SQL."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, insert, select, update

from farm.domain.work import FollowUp
from farm.storage.job_rows import request_as_json, request_from_json
from farm.storage.rows import portions
from farm.storage.tables import cells, follow_ups, jobs, submissions

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection


class SqlFollowUps:
    """The part of `JobLedger` that follow-ups are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_follow_ups(self, wanted: Sequence[FollowUp]) -> None:
        """Files what cells want beyond the builds that they share."""
        rows = [
            {
                "submission_id": follow_up.submission_id,
                "position": follow_up.position,
                "job_id": follow_up.job_id,
                "request": request_as_json(follow_up.request),
            }
            for follow_up in wanted
        ]
        if rows:
            self._connection.execute(insert(follow_ups), rows)
            self._note_on_jobs({follow_up.job_id for follow_up in wanted})

    def follow_ups(self, submission_ids: Sequence[str]) -> list[FollowUp]:
        """What cells of some submissions still want beyond the builds that they share."""
        found: list[FollowUp] = []
        for some in portions(submission_ids):
            query = (
                select(follow_ups, submissions.c.user_name)
                .join(submissions, submissions.c.id == follow_ups.c.submission_id)
                .where(follow_ups.c.submission_id.in_(some))
                .order_by(follow_ups.c.submission_id, follow_ups.c.position)
            )
            found += [_from_row(row, row.user_name) for row in self._connection.execute(query)]
        return found

    def take_follow_ups(self, job_id: str) -> list[FollowUp]:
        """Takes out what is wanted beyond a build, now that it is done; not what was withdrawn."""
        taken = self._connection.execute(_taking(), {"of_job": job_id}).all()
        if not taken:
            return []
        ids = {row.submission_id for row in taken}
        query = select(submissions.c.id, submissions.c.user_name).where(
            submissions.c.id.in_(ids), submissions.c.withdrawn_at.is_(None)
        )
        users = {row.id: row.user_name for row in self._connection.execute(query)}
        found = [_from_row(row, users[row.submission_id]) for row in taken if row.submission_id in users]
        return sorted(found, key=lambda follow_up: (follow_up.submission_id, follow_up.position))

    def move_follow_ups(self, old_job_id: str, new_job_id: str) -> None:
        """Wants them beyond another build."""
        moved = update(follow_ups).where(follow_ups.c.job_id == old_job_id).values(job_id=new_job_id)
        if self._connection.execute(moved).rowcount:
            self._note_on_jobs({new_job_id})

    def _note_on_jobs(self, job_ids: Collection[str]) -> None:
        """On rows that whoever wants more holds: an end that waits for one sees it there."""
        for some in portions(sorted(job_ids)):
            self._connection.execute(update(jobs).where(jobs.c.id.in_(some)).values(has_follow_ups=True))

    def point(self, submission_id: str, position: int, job_id: str) -> None:
        """Has another job answer a cell."""
        self._connection.execute(
            update(cells)
            .where(cells.c.submission_id == submission_id, cells.c.position == position)
            .values(job_id=job_id)
        )


def _from_row(row: Any, user: str) -> FollowUp:
    return FollowUp(row.submission_id, row.position, row.job_id, request_from_json(row.request), user)


@cache
def _taking() -> Any:
    """Built once: it is sent at the end of every build."""
    return delete(follow_ups).where(follow_ups.c.job_id == bindparam("of_job")).returning(*follow_ups.c)
