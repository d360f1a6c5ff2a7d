"""Takes the job whose turn it is, and sees one attempt of it through."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.durations import duration_text
from farm.domain.errors import AttemptSupersededError
from farm.failpoints import reach
from farm.logs import fields, log_context
from workers.attempt import AttemptRun
from workers.confinement import remove_folder
from workers.lease import Lease

if TYPE_CHECKING:
    from farm.domain.jobs import Failure
    from farm.domain.work import Attempt, Job
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempted:
    """What an attempt came to, as far as its worker is concerned.

    Attributes:
        job_id: of its job.
        failure: why it made nothing; none if it succeeded, or did not end by itself.
        succeeded: whether it filed what it made.
        drain_reason: why its worker is not to take another job; empty if it may.
    """

    job_id: str
    failure: Failure | None
    succeeded: bool
    drain_reason: str = ""


def run_next(place: Workplace) -> Attempted | None:
    """Claims the job whose turn it is and sees one attempt of it through; none if nothing is due here.

    Raises:
        DatabaseUnavailableError: nobody can say what is due.
    """
    farm = place.farm
    with farm.database.autocommit() as transaction:
        claimed = transaction.jobs.claim_next(
            worker_id=place.worker_id, device=place.device, lease_s=farm.settings.lease_s
        )
        model = transaction.models.get(claimed[0].spec.model_sha256) if claimed else None
    if claimed is None or model is None:
        return None
    reach("after-claim")
    job, attempt = claimed
    folder = farm.settings.scratch / f"{job.id}.{attempt.number}"
    remove_folder(folder)
    failure, succeeded, drain_reason = None, False, ""
    with log_context(job=job.id, attempt=attempt.number, worker=place.worker_id):
        _tell_of_claim(job, attempt)
        place.pulse.doing = attempt
        try:
            with Lease(farm.database, attempt, farm.settings.lease_s, place.pulse) as lease:
                running = AttemptRun(place, job, attempt, model, folder, lease)
                failure = running.run()
                succeeded, drain_reason = running.has_filed, running.drain_reason
            # The engine is filed: combining its timing cache with somebody else's holds nothing up.
            running.loan.settle()
        except AttemptSupersededError as error:
            _log.warning("%s: its result was dropped", error, extra=fields("superseded"))
        finally:
            place.pulse.doing = None
            remove_folder(folder)
    reach("after-finish")
    return Attempted(job.id, failure, succeeded, drain_reason)


def _tell_of_claim(job: Job, attempt: Attempt) -> None:
    waited_s = max((attempt.claimed_at - (job.not_before or job.created_at)).total_seconds(), 0.0)
    target = job.spec.target
    _log.info(
        "took job %s (%s, %s) of %s after %s",
        job.id,
        target,
        job.spec.precision,
        job.user or "nobody",
        duration_text(waited_s),
        extra=fields(
            "claimed",
            device_type=target.device_type.slug,
            toolchain=str(target.toolchain),
            precision=job.spec.precision,
            model=job.spec.model_sha256,
            user=job.user,
            waited_s=round(waited_s, 3),
        ),
    )
