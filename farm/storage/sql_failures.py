"""Failed attempts by their signatures, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, literal_column, select

from farm.domain.jobs import RELEASED
from farm.domain.signatures import FailureGroup
from farm.storage.fleet_rows import target_from_rows
from farm.storage.tables import attempts, device_types, jobs, toolchains

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection


class SqlFailures:
    """The part of `JobLedger` that says what fails again and again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def failures(self, since: datetime | None = None, limit: int = 100) -> list[FailureGroup]:
        """Groups of failed attempts, the newest first.

        Args:
            since: only attempts that ended after; all if none.
            limit: at most so many groups.
        """
        conditions: list[ColumnElement[bool]] = [
            attempts.c.failure_signature != literal_column("''"),
            # Until 0.2 those had a signature as well.
            attempts.c.failure_code != RELEASED,
        ]
        if since is not None:
            conditions.append(attempts.c.finished_at > since)
        query = (
            select(
                attempts.c.failure_signature,
                func.count().label("attempts"),
                func.count(attempts.c.job_id.distinct()).label("jobs"),
                func.min(attempts.c.id).label("first"),
                func.max(attempts.c.id).label("last"),
            )
            .where(*conditions)
            .group_by(attempts.c.failure_signature)
            .order_by(func.max(attempts.c.id).desc())
            .limit(limit)
        )
        rows = self._connection.execute(query).all()
        wanted = {row.first for row in rows} | {row.last for row in rows}
        ends = {
            row.id: row for row in self._connection.execute(select(attempts).where(attempts.c.id.in_(wanted)))
        }
        places = self._places([row.failure_signature for row in rows], conditions)
        return [
            FailureGroup(
                signature=row.failure_signature,
                code=ends[row.last].failure_code,
                phase=ends[row.last].failure_phase,
                attempts=row.attempts,
                jobs=row.jobs,
                targets=tuple(sorted(places[row.failure_signature][0])),
                hosts=tuple(sorted(places[row.failure_signature][1])),
                first_at=ends[row.first].finished_at,
                last_at=ends[row.last].finished_at,
                first_message=ends[row.first].failure_message,
                last_message=ends[row.last].failure_message,
                last_job=ends[row.last].job_id,
            )
            for row in rows
        ]

    def _places(
        self, signatures: list[str], conditions: Sequence[ColumnElement[bool]]
    ) -> dict[str, tuple[set[str], set[str]]]:
        types = {row.id: row for row in self._connection.execute(select(device_types))}
        stacks = {row.id: row for row in self._connection.execute(select(toolchains))}
        query = (
            select(attempts.c.failure_signature, attempts.c.host, jobs.c.device_type_id, jobs.c.toolchain_id)
            .join(jobs, jobs.c.id == attempts.c.job_id)
            .where(attempts.c.failure_signature.in_(signatures), *conditions)
            .distinct()
        )
        found: dict[str, tuple[set[str], set[str]]] = {name: (set(), set()) for name in signatures}
        for row in self._connection.execute(query):
            target = target_from_rows(types[row.device_type_id], stacks[row.toolchain_id])
            found[row.failure_signature][0].add(str(target))
            found[row.failure_signature][1].add(row.host)
        return found
