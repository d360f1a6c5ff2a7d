"""What an attempt says of itself to SQL, through a database that may be away for a while."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from farm.domain.errors import AttemptSupersededError, DatabaseUnavailableError, FarmError
from farm.domain.jobs import Phase
from farm.failpoints import reach
from farm.log_repeats import REPEATS
from farm.logs import fields
from workers.child_process import ChildEvent
from workers.live_log import LiveLog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from farm.domain.work import Attempt
    from farm.services.ports import Database
    from workers.lease import Lease

_log = logging.getLogger(__name__)
#: How long to wait before a database that is away is asked again.
_DATABASE_GAP_S = 0.5
_Result = TypeVar("_Result")


class Journal:
    """Notes the phases and the live log of one attempt."""

    def __init__(self, database: Database, attempt: Attempt, lease: Lease, log_file: Path) -> None:
        self._database = database
        self._attempt = attempt
        self._lease = lease
        self._live = LiveLog(log_file)
        self._event = ChildEvent(Phase.PREPARE, None, "")
        self._unsaid_events: list[ChildEvent] = []
        self._unsaid_log = ""
        self._next_tell = 0.0
        self._logged_phase: Phase | None = None

    @property
    def phase(self) -> str:
        """The phase that was said last."""
        return self._event.phase.value

    def insist(self, write: Callable[[], _Result]) -> _Result:
        """Does something with the database; tries again while that is away, as long as the lease may hold.

        Raises:
            DatabaseUnavailableError: it was away for so long that others must take the attempt for lost.
        """
        while True:
            try:
                return write()
            except DatabaseUnavailableError as error:
                if self._lease.is_lost:
                    raise
                _log.warning("job %s waits for its database: %s", self._attempt.job_id, error, extra=REPEATS)
            time.sleep(_DATABASE_GAP_S)

    def tell_of_child(self, events: Sequence[ChildEvent]) -> None:
        """Notes where the child stands; what a database that is away for a moment missed is said again."""
        for event in events:
            self._log_phase(event.phase)
        self._unsaid_events += events
        self._unsaid_log += self._live.new_text()
        now = time.monotonic()
        if now < self._next_tell or not (self._unsaid_events or self._unsaid_log):
            return
        try:
            with self._database.transaction() as transaction:
                for event in self._unsaid_events:
                    transaction.jobs.report(self._attempt, event.phase, event.fraction, event.message)
                if self._unsaid_log:
                    transaction.jobs.append_log(self._attempt, self._unsaid_log)
        except AttemptSupersededError:
            # The heartbeat finds the same, and ends the child.
            return
        except FarmError as error:
            _log.warning(
                "progress of job %s was not noted yet: %s", self._attempt.job_id, error, extra=REPEATS
            )
            self._next_tell = now + _DATABASE_GAP_S
            return
        if any(event.phase is Phase.BUILD for event in self._unsaid_events):
            reach("mid-build")
        if self._unsaid_events:
            self._event = self._unsaid_events[-1]
        self._unsaid_events.clear()
        self._unsaid_log = ""

    def _log_phase(self, phase: Phase) -> None:
        if phase is not self._logged_phase:
            self._logged_phase = phase
            _log.info("phase %s", phase.value, extra=fields("phase", phase=phase.value))

    def report(self, phase: Phase, fraction: float | None, message: str) -> None:
        """Says where the attempt itself stands.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
            DatabaseUnavailableError: it was away for as long as the lease holds.
        """
        self._event = ChildEvent(phase, fraction, message)
        self._log_phase(phase)

        def note() -> None:
            with self._database.transaction() as transaction:
                # What the child said while the database was away comes first.
                for event in (*self._unsaid_events, self._event):
                    transaction.jobs.report(self._attempt, event.phase, event.fraction, event.message)

        self.insist(note)
        self._unsaid_events.clear()
