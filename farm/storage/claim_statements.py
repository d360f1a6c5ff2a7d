"""The statements of a claim, each built once: building one takes longer than running it.

What a look costs grows with the number of users who wait, never with how much they wait for: the lanes are
found by hopping over the index `ix_jobs_waiting`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    CTE,
    Float,
    and_,
    bindparam,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
    update,
)

from farm.domain.jobs import AttemptState
from farm.storage.columns import DatabaseNow, JsonDocument, SecondsFromNow
from farm.storage.job_rows import JOB_COLUMNS
from farm.storage.tables import attempts, jobs, user_usage, worker_targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ColumnElement, CompoundSelect, Insert, ScalarSelect, Select, Update

_STATES: dict[str, ColumnElement[str]] = {
    state: literal_column(f"'{state}'") for state in ("QUEUED", "RUNNING")
}


def is_in(table: Any, state: str) -> ColumnElement[bool]:
    """That a job is in a state, written out: only then does a database know a partial index for it."""
    found: ColumnElement[bool] = table.c.state == _STATES[state]
    return found


def wanted_device(table: Any) -> ColumnElement[str]:
    """UUID of the only device that may have a job; NULL where any of its target may."""
    wanted: ColumnElement[str] = table.c.request["on_device"].as_string()
    return wanted


def _may_have(table: Any) -> tuple[ColumnElement[bool], ...]:
    """That the device which asks may have a job."""
    wanted, here = wanted_device(table), bindparam("here", type_=jobs.c.avoid_device.type)
    return table.c.avoid_device != here, or_(wanted.is_(None), wanted == here)


#: The columns that tell the lanes of waiting jobs apart.
LANE = ("device_type_id", "toolchain_id", "priority", "user_name")
OF_ID: ColumnElement[Any] = bindparam("of_id", type_=jobs.c.id.type)


@cache
def head_of_lane() -> ColumnElement[Any]:
    """The id of the oldest due job of a lane; what somebody else takes at this moment is not waited for."""
    return _head_of({name: bindparam(f"of_{name}") for name in LANE})


def _head_of(lane: Mapping[str, Any]) -> ColumnElement[Any]:
    return (
        select(jobs.c.id)
        .where(
            *(jobs.c[name] == value for name, value in lane.items()),
            *_is_due(jobs),
            *_may_have(jobs),
        )
        .order_by(jobs.c.created_at, jobs.c.position)
        .limit(literal_column("1"))
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )


@cache
def taking(which: ColumnElement[Any]) -> Update:
    """The one conditional update that a claim is; answers with the job and its lane."""
    return (
        update(jobs)
        .where(jobs.c.id == which, *_is_due(jobs))
        .values(
            state=_STATES["RUNNING"],
            attempts=jobs.c.attempts + literal_column("1"),
            worker_id=bindparam("new_worker"),
            lease_until=SecondsFromNow(bindparam("lease_s", type_=Float)),
            avoid_device=literal_column("''"),
        )
        .returning(*(jobs.c[name] for name in dict.fromkeys((*JOB_COLUMNS, *LANE))))
    )


def _begin(taken: Any, *conditions: ColumnElement[bool]) -> Insert:
    """The attempt of a job that was taken."""
    values: dict[str, Any] = {
        "job_id": taken.c.id,
        "number": taken.c.attempts,
        "state": literal(AttemptState.RUNNING.value),
        "worker_id": bindparam("new_worker", type_=attempts.c.worker_id.type),
        "host": bindparam("new_host", type_=attempts.c.host.type),
        "device_uuid": bindparam("new_device", type_=attempts.c.worker_id.type),
        "driver_version": bindparam("new_driver", type_=attempts.c.driver_version.type),
        "queued_at": taken.c.not_before,
        "claimed_at": DatabaseNow(),
        "seconds": literal({}, JsonDocument),
        "environment": literal({}, JsonDocument),
    }
    return (
        insert(attempts)
        .from_select(list(values), select(*values.values()).where(*conditions))
        .returning(attempts.c.id.label("attempt_id"), attempts.c.claimed_at, attempts.c.job_id)
    )


@cache
def beginning() -> Insert:
    """The attempt of a job that was taken by a statement before."""
    return _begin(jobs, jobs.c.id == bindparam("new_job"))


@cache
def take_and_begin(which: ColumnElement[Any]) -> Select[Any]:
    """Both in one statement, which SQLite does not know."""
    taken, begun = _taken_and_begun(which)
    query = select(*(taken.c[name] for name in JOB_COLUMNS), begun.c.attempt_id, begun.c.claimed_at)
    return query.join_from(taken, begun, begun.c.job_id == taken.c.id)


@cache
def look_and_take() -> Select[Any]:
    """The lanes of a worker, and what was taken from the first of them if all are of one user.

    With nobody to compare, priority and age alone say which lane is first, and one statement does it all. The
    columns of the lanes have `lane_` before their names. SQLite does not know such statements.
    """
    lanes = lanes_query().cte("due")
    is_due = lanes.c.head_created_at.is_not(None)
    users = select(func.count(lanes.c.user_name.distinct())).where(is_due).scalar_subquery()
    first = (
        select(*(lanes.c[name] for name in LANE))
        .where(is_due, users == literal_column("1"))
        .order_by(lanes.c.priority.desc(), lanes.c.head_created_at)
        .limit(literal_column("1"))
        .cte("first")
    )
    # One look-up for each column: only then is the lane known before its index is scanned, in its order.
    lane = {name: select(first.c[name]).scalar_subquery() for name in LANE}
    taken, begun = _taken_and_begun(_head_of(lane))
    of_lane = and_(*(taken.c[name] == lanes.c[name] for name in LANE))
    return (
        select(*(column.label(f"lane_{column.name}") for column in lanes.c))
        .add_columns(*(taken.c[name] for name in JOB_COLUMNS), begun.c.attempt_id, begun.c.claimed_at)
        .select_from(lanes.outerjoin(taken.join(begun, begun.c.job_id == taken.c.id), of_lane))
        .where(is_due)
    )


def _taken_and_begun(which: ColumnElement[Any]) -> tuple[CTE, CTE]:
    taken = taking(which).cte("taken")
    return taken, _begin(taken).cte("begun")


@cache
def lanes_query() -> Select[Any]:
    """The lanes of a worker with the age of what is next in each."""
    lanes = _all_lanes(bindparam("of_worker", type_=worker_targets.c.worker_id.type))
    head = jobs.alias("head")
    oldest = (
        select(head.c.created_at)
        .where(
            head.c.device_type_id == lanes.c.device_type_id,
            head.c.toolchain_id == lanes.c.toolchain_id,
            head.c.priority == lanes.c.priority,
            head.c.user_name == lanes.c.user_name,
            *_is_due(head),
            *_may_have(head),
        )
        .order_by(head.c.created_at, head.c.position)
        .limit(literal_column("1"))
        .scalar_subquery()
    )
    return select(lanes, oldest.label("head_created_at")).where(lanes.c.user_name.is_not(None))


@cache
def shares_query() -> CompoundSelect[Any]:
    """What users have had, and how many of their attempts run: at most a row of each for every user."""
    users: ColumnElement[Any] = bindparam("of_users", expanding=True)
    had = select(
        user_usage.c.user_name,
        user_usage.c.device_s,
        user_usage.c.updated_at,
        literal_column("0").label("running"),
        DatabaseNow().label("now"),
    ).where(user_usage.c.user_name.in_(users))
    running = (
        select(
            jobs.c.user_name,
            literal_column("0.0"),
            null(),
            func.count(),
            DatabaseNow(),
        )
        .where(is_in(jobs, "RUNNING"), jobs.c.user_name.in_(users))
        .group_by(jobs.c.user_name)
    )
    return union_all(had, running)


def _is_due(table: Any) -> tuple[ColumnElement[bool], ...]:
    return is_in(table, "QUEUED"), table.c.not_before <= DatabaseNow()


def _all_lanes(worker_id: ColumnElement[str]) -> CTE:
    """Every (target, priority, user) with waiting jobs for a worker; a last one of each has no user."""
    waiting = jobs.alias("waiting")

    def extreme(function: Any, column: str, *conditions: ColumnElement[bool]) -> ScalarSelect[Any]:
        return (
            select(function(waiting.c[column])).where(is_in(waiting, "QUEUED"), *conditions).scalar_subquery()
        )

    def of_target(table: Any) -> tuple[ColumnElement[bool], ...]:
        return (
            waiting.c.device_type_id == table.c.device_type_id,
            waiting.c.toolchain_id == table.c.toolchain_id,
        )

    served = worker_targets
    levels = (
        select(
            served.c.device_type_id,
            served.c.toolchain_id,
            extreme(func.max, "priority", *of_target(served)).label("priority"),
        )
        .where(served.c.worker_id == worker_id)
        .cte("levels", recursive=True)
    )
    levels = levels.union_all(
        select(
            levels.c.device_type_id,
            levels.c.toolchain_id,
            extreme(func.max, "priority", *of_target(levels), waiting.c.priority < levels.c.priority),
        ).where(levels.c.priority.is_not(None))
    )

    def of_level(table: Any) -> tuple[ColumnElement[bool], ...]:
        return (*of_target(table), waiting.c.priority == table.c.priority)

    lanes = (
        select(
            levels.c.device_type_id,
            levels.c.toolchain_id,
            levels.c.priority,
            extreme(func.min, "user_name", *of_level(levels)).label("user_name"),
        )
        .where(levels.c.priority.is_not(None))
        .cte("lanes", recursive=True)
    )
    return lanes.union_all(
        select(
            lanes.c.device_type_id,
            lanes.c.toolchain_id,
            lanes.c.priority,
            extreme(func.min, "user_name", *of_level(lanes), waiting.c.user_name > lanes.c.user_name),
        ).where(lanes.c.user_name.is_not(None))
    )
