"""What behaviours start from: a farm with a worker and a model, jobs in every state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from farm.domain.jobs import AttemptState, JobState
from farm.domain.targets import DeviceKind
from tests.factories import (
    a_build_spec,
    a_cpu_toolchain,
    a_device,
    a_device_type,
    a_digest,
    a_failure,
    a_job_request,
    a_model,
    a_worker,
    an_outcome,
)

if TYPE_CHECKING:
    from farm.domain.jobs import Failure
    from farm.domain.models import Model
    from farm.domain.specs import BuildSpec
    from farm.domain.targets import Device
    from farm.domain.work import Attempt, AttemptOutcome, Cell, Job, JobRequest, ModelName, Submission
    from farm.services.ports import Database

HOUR_S = 3600.0
#: A lease that is over as it begins.
OVER_S = -1.0
#: How attempts may end, and where their jobs go then.
ENDS = [
    (AttemptState.SUCCEEDED, JobState.SUCCEEDED),
    (AttemptState.FAILED, JobState.FAILED),
    (AttemptState.TIMED_OUT, JobState.FAILED),
    (AttemptState.LOST, JobState.QUEUED),
    (AttemptState.FAILED, JobState.QUEUED),
    (AttemptState.CANCELLED, JobState.CANCELLED),
]


def given_a_farm(database: Database) -> ModelName:
    """One worker with an H200, and the default model under the name `resnet`."""
    with database.transaction() as transaction:
        transaction.fleet.register(a_worker())
    return given_a_model(database, a_model(), "resnet")


class OnAFarm:
    """Behaviours that begin with a farm."""

    @pytest.fixture(autouse=True)
    def name(self, database: Database) -> ModelName:
        """A farm with a worker and a model; the model's name."""
        return given_a_farm(database)


def given_a_model(database: Database, model: Model, name: str) -> ModelName:
    """A model under a name."""
    later()
    with database.transaction() as transaction:
        transaction.models.add(model)
        return transaction.models.name(name, model.digest.sha256)


def given_a_second_device(database: Database) -> Device:
    """A worker on another host, with the same kind of GPU."""
    device = a_device(uuid="GPU-1", host="host-b", driver_version="570.1")
    with database.transaction() as transaction:
        transaction.fleet.register(a_worker(id="w-2", host="host-b", device=device))
    return device


def given_a_cpu_worker(database: Database) -> None:
    """A worker that offers ONNX Runtime on its CPU."""
    cpu = a_device_type(DeviceKind.CPU)
    device = a_device(cpu, uuid="CPU-0", memory_mib=64_000, driver_version="")
    with database.transaction() as transaction:
        transaction.fleet.register(
            a_worker(id="w-cpu", device=device, toolchains=(a_cpu_toolchain(),), device_types=(cpu,))
        )


def given_a_queued_job(
    database: Database, spec: BuildSpec | None = None, request: JobRequest | None = None
) -> Job:
    """A job that nobody has begun."""
    later()
    with database.transaction() as transaction:
        return transaction.jobs.add(spec or a_build_spec(), request or a_job_request())


def given_a_submission(
    database: Database,
    name: ModelName,
    cells: list[Cell],
    *,
    user: str = "ada",
    tags: dict[str, str] | None = None,
) -> Submission:
    """What a user asked for, cell by cell."""
    later()
    with database.transaction() as transaction:
        return transaction.jobs.add_submission(
            name=name, user=user, tags=tags or {}, cells=cells, request={"model": name.name}
        )


def claim(
    database: Database,
    job: Job,
    *,
    worker_id: str = "w-1",
    device: Device | None = None,
    lease_s: float = HOUR_S,
) -> tuple[Job, Attempt]:
    """Takes a job that is there to be taken."""
    with database.transaction() as transaction:
        taken = transaction.jobs.claim(
            job.id, worker_id=worker_id, device=device or a_device(), lease_s=lease_s
        )
    assert taken is not None, f"job {job.id} could not be claimed"
    return taken


def given_a_running_job(
    database: Database,
    spec: BuildSpec | None = None,
    request: JobRequest | None = None,
    *,
    lease_s: float = HOUR_S,
) -> tuple[Job, Attempt]:
    """A job in its first attempt."""
    return claim(database, given_a_queued_job(database, spec, request), lease_s=lease_s)


def given_a_finished_job(
    database: Database,
    spec: BuildSpec | None = None,
    request: JobRequest | None = None,
    outcome: AttemptOutcome | None = None,
) -> tuple[Job, int]:
    """A job that succeeded, and the number of the engine that it filed."""
    job, attempt = given_a_running_job(database, spec, request)
    with database.transaction() as transaction:
        finished = transaction.engines.finish(job, attempt, outcome or an_outcome(), a_digest("log"))
    return get_job(database, job), finished.engine_id


def given_a_failed_job(database: Database, spec: BuildSpec | None = None) -> Job:
    """A job that ended without an engine."""
    job, attempt = given_a_running_job(database, spec)
    fail(database, attempt, JobState.FAILED)
    return get_job(database, job)


def fail(
    database: Database,
    attempt: Attempt,
    job_state: JobState,
    *,
    state: AttemptState = AttemptState.FAILED,
    failure: Failure | None = None,
    retry_in_s: float = 0.0,
    elsewhere: bool = False,
) -> None:
    """Ends an attempt with a failure."""
    with database.transaction() as transaction:
        transaction.jobs.close(
            attempt,
            state,
            job_state,
            failure=failure or a_failure(),
            retry_in_s=retry_in_s,
            elsewhere=elsewhere,
        )


def get_job(database: Database, job: Job) -> Job:
    """The job as it is now."""
    with database.reading() as transaction:
        return transaction.jobs.get(job.id)


def attempts_of(database: Database, job: Job) -> list[Attempt]:
    """The job's attempts as they are now."""
    with database.reading() as transaction:
        return transaction.jobs.attempts(job.id)


def later() -> None:
    """Lets the database's clock, which counts milliseconds, go on."""
    time.sleep(0.002)
