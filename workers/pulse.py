"""The pulse of a worker: it says that it lives, and hears whether it is to take nothing new."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from farm.domain.durations import duration_text
from farm.log_repeats import BACK
from farm.logs import fields

if TYPE_CHECKING:
    from farm.domain.work import Attempt
    from farm.services.ports import Database, Transaction

_log = logging.getLogger(__name__)
#: How often an idle worker says that it lives.
PULSE_S = 5.0


class Pulse:
    """Beats in transactions of others, or in one of its own where nobody has one.

    Args:
        worker_id: whose.
        name: by which the worker is drained.
    """

    def __init__(self, worker_id: str, name: str) -> None:
        self._worker_id = worker_id
        self._name = name
        self._next = 0.0
        self._own_reason = ""
        self._leaves_unsaid = False
        self._saying = threading.Lock()
        self._missed_since: float | None = None
        self.drain_reason = ""
        self.is_leaving = False
        #: What the worker is at; for whoever logs of it from another thread.
        self.doing: Attempt | None = None

    @property
    def takes_nothing(self) -> bool:
        """Whether the worker is to finish what it does and take nothing new."""
        return self.is_leaving or bool(self.drain_reason)

    @property
    def is_due(self) -> bool:
        """Whether nobody has beaten for a while."""
        return time.monotonic() >= self._next

    @property
    def has_unsaid(self) -> bool:
        """Whether it drains itself or is leaving, and this is not noted yet."""
        return bool(self._own_reason) or self._leaves_unsaid

    def leave(self) -> None:
        """Takes nothing new from now on, because its process is to end; `note_drain` says so to everybody else.

        Unlike a drain this is over with the process: whoever is started after it takes jobs.
        """
        self.is_leaving = self._leaves_unsaid = True

    def drain_itself(self, reason: str) -> None:
        """Takes nothing new from now on; `note_drain` says so to everybody else."""
        self.drain_reason = self._own_reason = reason

    def note_drain(self, database: Database) -> None:
        """Notes that the worker leaves or drains itself, unless that is noted; from then on `resume` counts.

        In a transaction of its own, because only its end tells that it is noted. Said once more after that,
        it would undo a `resume` that came at once.

        Raises:
            DatabaseUnavailableError: nobody knows whether it is noted; to be said again.
        """
        with self._saying:
            if self._leaves_unsaid:
                with database.transaction() as transaction:
                    transaction.fleet.leave(self._worker_id)
                self._leaves_unsaid = False
            if not self._own_reason:
                return
            with database.transaction() as transaction:
                transaction.fleet.drain(self._name, self._own_reason, "the worker itself")
            self._own_reason = ""

    def missed(self) -> None:
        """Notes that a heartbeat failed, because the database is away."""
        if self._missed_since is None:
            self._missed_since = time.monotonic()

    def beat(self, transaction: Transaction) -> None:
        """Says that the worker lives, if that is due."""
        if not self.is_due:
            return
        # Read first: once it is forgotten, it is noted for sure.
        own = self._own_reason
        reason = transaction.fleet.beat(self._worker_id) or own
        if self._missed_since is not None:
            away = duration_text(time.monotonic() - self._missed_since)
            _log.info("the database answers again, after %s", away, extra=fields(BACK))
            self._missed_since = None
        self._next = time.monotonic() + PULSE_S
        if reason != self.drain_reason:
            event = fields("drained" if reason else "resumed", reason=reason)
            _log.warning("draining: %s" if reason else "resumed%s", reason, extra=event)
        # What was decided in the meantime is not overruled by what SQL did not know yet.
        self.drain_reason = reason or self._own_reason
