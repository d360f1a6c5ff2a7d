"""The sweeper: keeps SQL and broker in step, and mends what silent workers left.

Every worker has one; of a fleet's, one at a time has the duty.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from farm.domain.errors import FarmError
from farm.log_repeats import REPEATS
from farm.logs import log_context
from farm.services.attempts import rescue_expired
from farm.services.dead_workers import keep_lost_logs
from farm.services.sweep import announce_due, give_up_overdue

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection

    from farm.bootstrap import Farm
    from farm.domain.targets import Target
    from farm.domain.work import WakeUp
    from farm.services.ports import JobQueue

_log = logging.getLogger(__name__)
DUTY = "sweeper"
#: How long the duty stays with a sweeper that is not heard of; shorter where leases are.
_DUTY_LEASE_S = 10.0
_RESCUE_GAP_S = 2.0
#: Looks of an embedded worker between two of a fleet's sweeper.
_FLEET_LOOKS = 5
#: What was told in vain is told again after so long, then after twice that, to the limit.
_FIRST_PATIENCE_S, _LAST_PATIENCE_S = 1.0, 5.0


class Sweeper:
    """Sweeps until it is stopped.

    Args:
        farm: the open farm.
        queue: what wakes the workers.
        holder: who has the duty: the id of a worker, or of another process.
        targets: of an embedded farm's worker, which alone hears its own broker; none for a fleet.
        is_busy: whether that worker could take nothing.
    """

    def __init__(
        self,
        farm: Farm,
        queue: JobQueue,
        holder: str,
        *,
        targets: Collection[Target] | None = None,
        is_busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._farm = farm
        self._queue = _PatientQueue(queue)
        self._holder = holder
        self._targets = targets
        self._is_busy = is_busy
        self._has_duty = False
        self._next_duty = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Sweeps until told to stop, whatever goes wrong."""
        gap_s = self._farm.settings.poll_s * (1 if self._targets is not None else _FLEET_LOOKS)
        while not stopping.is_set():
            try:
                self.once()
            except FarmError as error:
                _log.warning("the sweeper could not work: %s", error, extra=REPEATS)
                stopping.wait(1.0)
            except Exception:  # noqa: BLE001 - a bug must not end the sweeper
                _log.exception("a bug of the farm in the sweeper; it goes on")
                stopping.wait(1.0)
            stopping.wait(gap_s)
        self.leave()

    def once(self) -> None:
        """Looks once for everything that is due.

        Raises:
            DatabaseUnavailableError: nothing can be seen.
            BrokerUnavailableError: nobody can be told.
        """
        if time.monotonic() >= self._next_duty:
            self._take_duty()
            if self._has_duty:
                self._mend()
        if self._targets is None:
            if self._has_duty:
                announce_due(self._farm.database, self._queue)
        elif not self._is_busy():
            # In memory nobody else could take it, so a busy worker leaves it to others.
            announce_due(self._farm.database, self._queue, targets=self._targets)

    @property
    def has_duty(self) -> bool:
        """Whether this is the sweeper of the fleet."""
        return self._has_duty

    def _take_duty(self) -> None:
        lease_s = min(_DUTY_LEASE_S, self._farm.settings.lease_s)
        self._next_duty = time.monotonic() + min(_RESCUE_GAP_S, lease_s / 4)
        self._has_duty = False
        with self._farm.database.transaction() as transaction:
            held = transaction.fleet.hold_duty(DUTY, self._holder, lease_s)
        self._has_duty = held

    def _mend(self) -> None:
        database, rescued = self._farm.database, []
        for job, state in rescue_expired(database):
            with log_context(job=job.id, attempt=job.attempts):
                _log.warning("job %s was taken from a silent worker; now %s", job.id, state.value)
            rescued.append(job)
        for job in give_up_overdue(database):
            with log_context(job=job.id):
                _log.warning("job %s waited for longer than it may; now FAILED", job.id)
        with database.transaction() as transaction:
            transaction.jobs.forgive_devices()
            transaction.jobs.charge_shares()
        # Last: a store that answers slowly holds nothing up.
        for job in rescued:
            keep_lost_logs(database, self._farm.store, job.id)

    def leave(self) -> None:
        """Gives the duty up, so that somebody else takes it at once."""
        try:
            with self._farm.database.transaction() as transaction:
                transaction.fleet.leave_duties(self._holder)
        except FarmError as error:
            _log.info("the duty was not given up, and ends by itself: %s", error)


class _PatientQueue:
    """Tells again what was told in vain, but ever less often: a worker may be alive and yet not hear."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._told: dict[str, tuple[float, float]] = {}

    def announce(self, wake_up: WakeUp) -> None:
        """Tells the queue, unless it was told of this very job a moment ago."""
        now = time.monotonic()
        when, patience_s = self._told.get(wake_up.job_id, (-_LAST_PATIENCE_S, _FIRST_PATIENCE_S / 2))
        if now - when < patience_s:
            return
        self._queue.announce(wake_up)
        self._told = {id_: told for id_, told in self._told.items() if now - told[0] < 2 * _LAST_PATIENCE_S}
        self._told[wake_up.job_id] = (now, min(2 * patience_s, _LAST_PATIENCE_S))
