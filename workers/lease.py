"""The heartbeat of an attempt: renews its lease, hears of cancellation, and gives up in time."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING

from farm.domain.errors import AttemptSupersededError, TransientError
from farm.log_repeats import REPEATS

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from farm.domain.work import Attempt
    from farm.services.ports import Database
    from workers.pulse import Pulse

_log = logging.getLogger(__name__)
#: The heartbeat of an attempt, with the usual lease: a thousand workers make 200 transactions a second of it.
HEARTBEAT_S = 5.0


class Lease:
    """Renews in a thread of its own while the block runs.

    A worker that can not renew in time must take itself for dead: others do. So `is_lost` turns true
    a little before the lease ends in the database. The heartbeat of the worker itself goes along, which
    halves what a thousand workers ask of the database.

    Args:
        database: the truth.
        attempt: whose lease it is.
        lease_s: how long it holds.
        pulse: of the worker.
    """

    def __init__(self, database: Database, attempt: Attempt, lease_s: float, pulse: Pulse) -> None:
        self._pulse = pulse
        self._database = database
        self._attempt = attempt
        self._lease_s = lease_s
        self._renewed = time.monotonic()
        self._stop = threading.Event()
        self._superseded = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(
            # With the job and the attempt of whoever began it on every line of the log.
            target=contextvars.copy_context().run,
            args=(self._beat,),
            name="lease",
            daemon=True,
        )

    def __enter__(self) -> Self:
        """Starts the heartbeat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the heartbeat."""
        self._stop.set()
        self._thread.join()

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for the job to stop."""
        return self._cancelled.is_set()

    @property
    def is_lost(self) -> bool:
        """Whether the job is no longer this attempt's, or must be taken to be somebody else's."""
        return self._superseded.is_set() or time.monotonic() - self._renewed > 0.8 * self._lease_s

    def _beat(self) -> None:
        # Often enough for cancellation to act soon, and for two beats to fail without harm.
        while not self._stop.wait(min(self._lease_s / 4, HEARTBEAT_S)):
            begin = time.monotonic()
            try:
                with self._database.autocommit() as transaction:
                    if transaction.jobs.heartbeat(self._attempt, self._lease_s):
                        self._cancelled.set()
                    self._pulse.beat(transaction)
                self._renewed = begin
            except AttemptSupersededError:
                self._superseded.set()
                return
            except TransientError as error:
                self._pulse.missed()
                _log.warning("heartbeat of job %s failed: %s", self._attempt.job_id, error, extra=REPEATS)
