"""Figures for monitoring, in SQL. Each is one pass over a table at a scrape, which is cached by who serves them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, literal_column, select

from farm.domain.jobs import RELEASED
from farm.domain.metrics import Durations, FarmFigures
from farm.storage.columns import seconds_between
from farm.storage.sql_overview import SqlOverview
from farm.storage.tables import artifacts, attempts, cells, engines, jobs, timing_caches, toolchains

if TYPE_CHECKING:
    from sqlalchemy import Connection


#: Written out: PostgreSQL takes two placeholders in SELECT and GROUP BY for two different things.
_IS_RELEASE = attempts.c.failure_code == literal_column(f"'{RELEASED}'")


class SqlMetrics:
    """Implements `Metrics`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def figures(self) -> FarmFigures:
        """The farm as it is now."""
        waited = seconds_between(attempts.c.queued_at, attempts.c.claimed_at)
        queued = self._connection.execute(select(func.count(), func.sum(waited)).select_from(attempts)).one()
        builds = self._connection.execute(
            select(
                toolchains.c.name,
                toolchains.c.version,
                engines.c.precision,
                func.count().label("builds"),
                func.sum(engines.c.build_s).label("seconds"),
            )
            .join(toolchains, toolchains.c.id == engines.c.toolchain_id)
            .group_by(toolchains.c.name, toolchains.c.version, engines.c.precision)
        )
        caches = self._connection.execute(
            select(func.sum(timing_caches.c.lent), func.sum(timing_caches.c.saved_s))
        ).one()
        return FarmFigures(
            loads=tuple(SqlOverview(self._connection).loads()),
            jobs=self._counts(jobs.c.state),
            attempts=self._counts(case((_IS_RELEASE, literal_column("'RELEASED'")), else_=attempts.c.state)),
            failures=self._counts(attempts.c.failure_class, attempts.c.failure_class != "", ~_IS_RELEASE),
            builds={
                (f"{row.name} {row.version}", row.precision): Durations(row.builds, float(row.seconds or 0.0))
                for row in builds
            },
            queued=Durations(int(queued[0]), float(queued[1] or 0.0)),
            store_bytes=self._sums(
                artifacts.c.kind, artifacts.c.size_bytes, artifacts.c.deleted_at.is_(None)
            ),
            caches_lent=int(caches[0] or 0),
            saved_s=float(caches[1] or 0.0),
            answered=self._counts(cells.c.disposition),
        )

    def _counts(self, column: Any, *conditions: Any) -> dict[str, int]:
        query = select(column, func.count()).where(*conditions).group_by(column)
        return {row[0]: int(row[1]) for row in self._connection.execute(query)}

    def _sums(self, column: Any, what: Any, *conditions: Any) -> dict[str, int]:
        query = select(column, func.sum(what)).where(*conditions).group_by(column)
        return {row[0]: int(row[1]) for row in self._connection.execute(query)}
