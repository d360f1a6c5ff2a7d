"""How an attempt ends that files nothing: failed, cancelled, given back, or superseded."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from farm.domain.errors import AttemptSupersededError, FarmError, StoreUnavailableError
from farm.domain.jobs import Failure, FailureClass
from farm.logs import fields
from farm.services.attempts import cancel_attempt, fail_attempt, release_attempt
from workers.workplace import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm.bootstrap import Farm
    from farm.domain.digests import Digest
    from farm.domain.work import Attempt, Job
    from workers.journal import Journal
    from workers.lease import Lease

_log = logging.getLogger(__name__)


def failure_of(error: Exception, phase: str) -> Failure:
    """The failure that an error stands for.

    Args:
        error: that ended an attempt.
        phase: in which it did.
    """
    if isinstance(error, ChildFailedError):
        return error.failure
    if isinstance(error, FarmError):
        return Failure.of(error, phase)
    if isinstance(error, OSError):
        return Failure(
            FailureClass.TRANSIENT,
            StoreUnavailableError.__name__,
            f"the worker's scratch folder failed: {error}",
            "Is the disk under FARM_SCRATCH full?",
            phase,
        )
    # Recorded under its own name, so that nobody looks for a machine that fell silent.
    what = f"a bug of the farm ended the attempt: {type(error).__name__}: {error}".splitlines()[0]
    hint = "The worker's own log has the trace: please report it."
    return Failure(FailureClass.TRANSIENT, "FarmBug", what, hint, phase)


class Ending:
    """Ends one attempt without an engine, and keeps its log.

    Args:
        farm: the open farm.
        job: of the attempt.
        attempt: that ends.
        lease: of the attempt.
        journal: of the attempt.
        log_file: the whole log.
    """

    def __init__(
        self, farm: Farm, job: Job, attempt: Attempt, lease: Lease, journal: Journal, log_file: Path
    ) -> None:
        self._farm = farm
        self._job = job
        self._attempt = attempt
        self._lease = lease
        self._journal = journal
        self._log_file = log_file

    def fail(self, failure: Failure, seconds: Mapping[str, float]) -> None:
        """Records a failure, which decides what becomes of the job.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
            DatabaseUnavailableError: it was away for as long as the lease holds.
        """
        with suppress(OSError), self._log_file.open("a") as log:
            log.write(f"\n[farm] {failure.code}: {failure.message}\n")
        kept = self._keep_log()
        state = self._journal.insist(
            lambda: fail_attempt(
                self._farm.database, self._job, self._attempt, failure, kept, seconds=dict(seconds)
            )
        )
        _log.warning(
            "job %s attempt %d: %s; now %s",
            self._job.id,
            self._attempt.number,
            failure.message,
            state.value,
            extra=fields(
                "failed",
                state=state.value,
                code=failure.code,
                failure_class=failure.failure_class.value,
                phase=failure.phase,
            ),
        )

    def stop(self, why: str) -> None:
        """Ends an attempt that was told to stop, in the way that the reason asks for.

        Args:
            why: said of a job that is given back, as one is that was neither cancelled nor taken away.

        Raises:
            AttemptSupersededError: the job went on without this attempt, or may have.
            DatabaseUnavailableError: it was away for as long as the lease holds.
        """
        database, attempt = self._farm.database, self._attempt
        if self._lease.is_cancelled:
            log = self._keep_log()
            self._journal.insist(lambda: cancel_attempt(database, attempt, log))
            _log.info("job %s was cancelled", attempt.job_id, extra=fields("cancelled"))
        elif self._lease.is_lost:
            raise AttemptSupersededError(
                f"attempt {attempt.number} of job {attempt.job_id} could not renew its lease"
            )
        else:
            log = self._keep_log()
            self._journal.insist(lambda: release_attempt(database, attempt, why, log))
            _log.info("gave job %s back: %s", attempt.job_id, why, extra=fields("released", reason=why))

    def _keep_log(self) -> Digest | None:
        """The whole log; of an attempt that failed for want of a store or of scratch, what was shown live."""
        try:
            return self._farm.store.put_file(self._log_file)
        except (FarmError, OSError) as error:
            _log.warning("the log of job %s was not kept: %s", self._job.id, error)
            return None
