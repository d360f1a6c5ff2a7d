"""The pulse of a worker: it says that it lives, and hears whether it is to take nothing new."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.services.ports import Transaction

_log = logging.getLogger(__name__)
#: How often an idle worker says that it lives.
PULSE_S = 5.0
#: How soon it says again that it drains itself, until it hears that this was noted.
_INSIST_S = 1.0


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
        self.drain_reason = ""
        self.is_leaving = False

    @property
    def takes_nothing(self) -> bool:
        """Whether the worker is to finish what it does and take nothing new."""
        return self.is_leaving or bool(self.drain_reason)

    @property
    def is_due(self) -> bool:
        """Whether nobody has beaten for a while."""
        return time.monotonic() >= self._next

    def drain_itself(self, reason: str) -> None:
        """Takes nothing new from now on, and has the next beats note it, until one hears that it is noted."""
        self.drain_reason = self._own_reason = reason
        self._next = 0.0

    def beat(self, transaction: Transaction) -> None:
        """Says that the worker lives, if that is due."""
        if not self.is_due:
            return
        reason, gap_s = transaction.fleet.beat(self._worker_id), PULSE_S
        own = self._own_reason
        if own and not reason:
            # Whether this transaction is committed nobody knows yet: only a later beat that hears of it does.
            transaction.fleet.drain(self._name, own, "the worker itself")
            reason, gap_s = own, _INSIST_S
        elif own:
            self._own_reason = ""
        self._next = time.monotonic() + gap_s
        if reason != self.drain_reason:
            _log.warning("draining: %s", reason) if reason else _log.warning("resumed")
        self.drain_reason = reason
