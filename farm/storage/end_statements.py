"""The statements of an attempt's end, each built once: building one takes longer than running it.

PostgreSQL does all of it in one statement; SQLite, which has no writes within a statement, in several.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, exists, func, literal_column, null, select, true, update
from sqlalchemy.dialects import postgresql

from farm.domain.jobs import Phase
from farm.storage.columns import DatabaseNow
from farm.storage.fence import owned
from farm.storage.rows import failure_values
from farm.storage.sql_artifacts import noting
from farm.storage.tables import attempts, engines, jobs, log_chunks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import CTE, ColumnElement, Delete, Select, Table, Update

#: The timestamp that the end of a phase sets.
END_OF_PHASE = {Phase.BUILD: "built_at", Phase.VERIFY: "verified_at", Phase.BENCHMARK: "measured_at"}
#: What the row of an engine takes from that of its job; the names are the same.
_FROM_JOB = ("spec_sha256", "spec", "model_sha256", "device_type_id", "toolchain_id")
_SUCCEEDED: ColumnElement[str] = literal_column("'SUCCEEDED'")


def stamps_of(phases: Iterable[str]) -> frozenset[str]:
    """The timestamps of phases that ended; those too short for anybody to have reported them end now."""
    ended = set(phases)
    return frozenset(stamp for phase, stamp in END_OF_PHASE.items() if phase.value in ended)


@cache
def moving(columns: frozenset[str]) -> Update:
    """Moves the job; for good, unless it is said when it is due again. Takes `job_…` for every column."""
    values = _given("job", jobs, columns)
    if "not_before" not in columns:
        values |= {"finished_at": DatabaseNow(), "not_before": DatabaseNow()}
    # Back in the queue it is news again, from the moment that it is due.
    return owned().values(lease_until=None, announced_at=None, **values)


@cache
def ending(stamps: frozenset[str]) -> Update:
    """Ends the attempt `of_attempt` with the columns that it is given."""
    return (
        update(attempts)
        .where(attempts.c.id == bindparam("of_attempt"))
        .values(finished_at=DatabaseNow(), **_moments(stamps))
    )


@cache
def dropping_log() -> Delete:
    """Removes the live log, which an artifact takes the place of."""
    return delete(log_chunks).where(log_chunks.c.attempt_id == bindparam("of_attempt"))


@cache
def closing(columns: frozenset[str], stamps: frozenset[str], has_log: bool) -> Update:
    """Moves the job and ends its attempt, on PostgreSQL; changes a row if the fence lets it."""
    moved = moving(columns).returning(jobs.c.id).cte("moved")
    end = ending(stamps).where(_is_moved(moved))
    return _keeping_log(end, moved) if has_log else end


@cache
def succeeding(stamps: frozenset[str], made: frozenset[str]) -> Select[Any]:
    """Ends an attempt that succeeded, its job as well, and files its engine under the key of the job.

    A row comes back if the fence let it: the engine's number, or none if there is an engine under that key, and
    whether cells want something beyond it.
    Takes `ended_seconds` and `ended_environment`, and `made_…` for every column of the engine.
    """
    moved = (
        owned()
        .values(
            state=_SUCCEEDED,
            finished_at=DatabaseNow(),
            not_before=DatabaseNow(),
            lease_until=null(),
            # What failed before it succeeded is the business of its attempts.
            **dict.fromkeys(failure_values(None), literal_column("''")),
        )
        .returning(jobs.c.id, jobs.c.has_follow_ups, *(jobs.c[name] for name in _FROM_JOB))
        .cte("moved")
    )
    end = (
        update(attempts)
        .where(attempts.c.id == bindparam("of_attempt"), _is_moved(moved))
        .values(
            state=_SUCCEEDED,
            log_sha256=bindparam("noted_sha256"),
            finished_at=DatabaseNow(),
            **_moments(stamps | {"uploaded_at"}),
            **_given("ended", attempts, frozenset({"seconds", "environment"})),
        )
    )
    row: dict[str, Any] = {name: moved.c[name] for name in _FROM_JOB}
    row |= {"job_id": moved.c.id, "created_at": DatabaseNow(), **_given("made", engines, made)}
    filed = (
        postgresql.insert(engines)
        .from_select(list(row), select(*row.values()))
        .on_conflict_do_nothing()
        .returning(engines.c.id)
        .cte("filed")
    )
    answer = select(filed.c.id, moved.c.has_follow_ups).select_from(moved.outerjoin(filed, true()))
    return answer.add_cte(_keeping_log(end, moved).cte("ended"), noting("postgresql", "engine").cte("kept"))


def _keeping_log(end: Update, moved: CTE) -> Update:
    """Also notes the artifact that takes the place of the live log."""
    dropped = dropping_log().where(_is_moved(moved)).cte("dropped")
    return end.add_cte(dropped, noting("postgresql").cte("noted"))


def _is_moved(moved: CTE) -> ColumnElement[bool]:
    return exists().where(moved.c.id.is_not(None))


def _moments(stamps: frozenset[str]) -> dict[str, Any]:
    return {stamp: func.coalesce(attempts.c[stamp], DatabaseNow()) for stamp in sorted(stamps)}


def _given(prefix: str, table: Table, columns: frozenset[str]) -> dict[str, Any]:
    return {name: bindparam(f"{prefix}_{name}", type_=table.c[name].type) for name in sorted(columns)}
