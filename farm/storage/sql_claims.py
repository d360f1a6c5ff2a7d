"""The next job for a worker, in SQL: one look at the heads of the queues, then one conditional update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.fairness import Lane, Share, decayed, in_turn
from farm.domain.jobs import AttemptState
from farm.domain.work import Attempt
from farm.storage.claim_statements import (
    LANE,
    OF_ID,
    beginning,
    head_of_lane,
    lanes_query,
    look_and_take,
    shares_query,
    take_and_begin,
    taking,
)
from farm.storage.columns import storable_text
from farm.storage.job_rows import job_from_row

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, Row

    from farm.domain.targets import Device
    from farm.domain.work import Job


class SqlClaims:
    """The part of `JobLedger` that claims are."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim_next(self, *, worker_id: str, device: Device, lease_s: float) -> tuple[Job, Attempt] | None:
        """Takes the job whose turn it is among those of all targets that a worker registered."""
        if self._connection.dialect.name != "postgresql":
            return self._take_in_turn(self.lanes(worker_id, device), worker_id, device, lease_s)
        bound = _bound(worker_id, device, lease_s) | {"of_worker": worker_id}
        rows = self._connection.execute(look_and_take(), bound).all()
        for row in rows:
            if row.id is not None:
                return _claimed(row, row, worker_id, device)
        lanes = [Lane(*row[: len(LANE) + 1]) for row in rows]
        # One user's that was just not to be had is tried like several users' lanes.
        return self._take_in_turn(self._in_turn(lanes), worker_id, device, lease_s)

    def claim(
        self, job_id: str, *, worker_id: str, device: Device, lease_s: float
    ) -> tuple[Job, Attempt] | None:
        """Takes one job by one conditional update; none if it is not there to be taken."""
        return self._take(OF_ID, {"of_id": job_id}, worker_id, device, lease_s)

    def lanes(self, worker_id: str, device: Device) -> list[Lane]:
        """What waits for a worker and is due, in the order in which it is served."""
        rows = self._connection.execute(lanes_query(), {"of_worker": worker_id, "here": device.uuid})
        return self._in_turn([Lane(*row) for row in rows if row.head_created_at is not None])

    def _in_turn(self, lanes: list[Lane]) -> list[Lane]:
        return in_turn(lanes, self.shares({lane.user for lane in lanes}))

    def shares(self, users: Iterable[str]) -> dict[str, Share]:
        """What users have had of the fleet of late; nothing is looked up where there is nobody to compare."""
        names = sorted(set(users))
        if len(names) < 2:
            return {}
        had, running = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0)
        for row in self._connection.execute(shares_query(), {"of_users": names}):
            if row.updated_at is None:
                running[row.user_name] = int(row.running)
            else:
                had[row.user_name] = decayed(row.device_s, (row.now - row.updated_at).total_seconds())
        return {name: Share(had[name], running[name]) for name in names}

    def _take_in_turn(
        self, lanes: list[Lane], worker_id: str, device: Device, lease_s: float
    ) -> tuple[Job, Attempt] | None:
        for lane in lanes:
            columns = (lane.device_type_id, lane.toolchain_id, lane.priority, lane.user)
            which = {f"of_{name}": value for name, value in zip(LANE, columns, strict=True)}
            taken = self._take(head_of_lane(), which, worker_id, device, lease_s)
            if taken is not None:
                return taken
        return None

    def _take(
        self,
        which: ColumnElement[Any],
        values: dict[str, Any],
        worker_id: str,
        device: Device,
        lease_s: float,
    ) -> tuple[Job, Attempt] | None:
        bound = _bound(worker_id, device, lease_s) | values
        if self._connection.dialect.name == "postgresql":
            row = self._connection.execute(take_and_begin(which), bound).one_or_none()
            return None if row is None else _claimed(row, row, worker_id, device)
        row = self._connection.execute(taking(which), bound).one_or_none()
        if row is None:
            return None
        begun = self._connection.execute(beginning(), bound | {"new_job": row.id}).one()
        return _claimed(row, begun, worker_id, device)


def _bound(worker_id: str, device: Device, lease_s: float) -> dict[str, Any]:
    """What every claim is given."""
    return {
        "lease_s": lease_s,
        "here": device.uuid,
        "new_worker": worker_id,
        "new_host": device.host,
        "new_device": device.uuid,
        "new_driver": device.driver_version,
    }


def _claimed(row: Row[Any], begun: Row[Any], worker_id: str, device: Device) -> tuple[Job, Attempt]:
    """A job that was taken, and its attempt."""
    attempt = Attempt(
        id=begun.attempt_id,
        job_id=row.id,
        number=row.attempts,
        state=AttemptState.RUNNING,
        worker_id=storable_text(worker_id),
        host=storable_text(device.host),
        device_uuid=device.uuid,
        driver_version=storable_text(device.driver_version),
        phase="",
        fraction=None,
        message="",
        claimed_at=begun.claimed_at,
        finished_at=None,
        failure=None,
        log=None,
        seconds={},
    )
    return job_from_row(row), attempt
