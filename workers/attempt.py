"""Supervises attempts: claim, child, heartbeat, deadline, outcome."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from farm.domain.errors import (
    AttemptSupersededError,
    CorruptArtifactError,
    DeviceUnavailableError,
    FarmError,
)
from farm.domain.jobs import Failure, FailureClass, JobKind, Phase
from farm.domain.targets import DeviceKind
from farm.domain.work import AttemptOutcome
from farm.failpoints import reach
from farm.logs import log_context
from farm.services.attempts import cancel_attempt, fail_attempt, finish_attempt, release_attempt
from workers.child.requests import AttemptRequest, attempt_request_as_json, result_from_json
from workers.child_process import ChildOutcome, ChildProcess
from workers.confinement import Limits, make_private, own_file, remove_folder, state_of
from workers.device_lock import DeviceLock
from workers.journal import Journal
from workers.lease import Lease
from workers.materials import benchmark_shapes, chunk_shapes, place_model
from workers.phase_deadlines import PhaseDeadlines
from workers.presence import DeviceWatch, device_lost
from workers.reference import ReferenceStep, can_run_engine
from workers.throttle_watch import ThrottleWatch
from workers.timing_caches import CacheLoan
from workers.toolchains.toolchain import BuildInput
from workers.vouching import place_engine, sign_engine
from workers.workplace import ChildFailedError, StoppedError, Workplace

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.filing import Engine
    from farm.domain.models import Model
    from farm.domain.work import Attempt, Job
    from workers.child.requests import AttemptResult
    from workers.throttle_watch import Throttling

_log = logging.getLogger(__name__)
#: Computing a reference on the CPU may not take longer.
REFERENCE_DEADLINE_S = 1800
_DEVICE_GAP_S = 0.5


@dataclass(frozen=True)
class Attempted:
    """What an attempt came to, as far as its worker is concerned.

    Attributes:
        job_id: of its job.
        failure: why it made nothing; none if it succeeded, or did not end by itself.
        succeeded: whether it filed what it made.
    """

    job_id: str
    failure: Failure | None
    succeeded: bool


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
    failure, succeeded = None, False
    with log_context(job=job.id, attempt=attempt.number, worker=place.worker_id):
        try:
            with Lease(farm.database, attempt, farm.settings.lease_s, place.pulse) as lease:
                running = _Attempt(place, job, attempt, model, folder, lease)
                failure = running.run()
            # The engine is filed: combining its timing cache with somebody else's holds nothing up.
            running.loan.settle()
        except AttemptSupersededError as error:
            _log.warning("%s: its result was dropped", error)
        finally:
            remove_folder(folder)
    reach("after-finish")
    return Attempted(job.id, failure, succeeded)


class _Attempt:
    """One attempt, from the claim to the end."""

    def __init__(
        self, place: Workplace, job: Job, attempt: Attempt, model: Model, folder: Path, lease: Lease
    ) -> None:
        self._place = place
        self._farm = place.farm
        self._job = job
        self._attempt = attempt
        self._model = model
        self._folder = folder
        self._lease = lease
        self._seconds: dict[str, float] = {}
        self._deadline = time.monotonic() + job.request.deadline_s
        self.has_filed = False
        self._phases = PhaseDeadlines(job.request.phase_deadlines)
        self._log_file = folder / "log.txt"
        self._journal = Journal(place.farm.database, attempt, lease, self._log_file)
        self._throttling: Throttling | None = None
        self.loan = CacheLoan(place, job, attempt, folder)
        self._presence = DeviceWatch(place.device)

    def run(self) -> Failure | None:
        """Ends in exactly one of: finished, failed, cancelled, released, superseded; the failure, if it failed."""
        database, job, attempt = self._farm.database, self._job, self._attempt
        try:
            make_private(self._folder)
            self._log_file.touch()
            outcome = self._work()
            self._journal.report(Phase.UPLOAD, None, "filing")
            log = self._farm.store.put_file(self._log_file)
            reach("before-finish")
            number = self._journal.insist(lambda: finish_attempt(database, job, attempt, outcome, log))
            self.has_filed = True
            _log.info("job %s: engine %d filed", job.id, number)
        except StoppedError:
            self._end_stopped()
        except AttemptSupersededError:
            raise
        except ChildFailedError as error:
            return self._fail(error.failure)
        except FarmError as error:
            return self._fail(
                Failure(
                    FailureClass(error.failure_class),
                    type(error).__name__,
                    error.message,
                    error.hint,
                    self._journal.phase,
                )
            )
        except OSError as error:
            return self._fail(
                Failure(
                    FailureClass.TRANSIENT,
                    "StoreUnavailableError",
                    f"the worker's scratch folder failed: {error}",
                    "Is the disk under FARM_SCRATCH full?",
                    self._journal.phase,
                )
            )
        except Exception as error:
            # Recorded under its own name, so that nobody looks for a machine that fell silent; then it goes
            # its way as the bug that it is.
            what = f"a bug of the farm ended the attempt: {type(error).__name__}: {error}".splitlines()[0]
            hint = "The worker's own log has the trace: please report it."
            self._fail(Failure(FailureClass.TRANSIENT, "FarmBug", what, hint, self._journal.phase))
            raise
        return None

    def _work(self) -> AttemptOutcome:
        self._journal.report(Phase.PREPARE, None, "fetching the model")
        begin = time.monotonic()
        model_path = place_model(self._farm.store, self._model, self._folder / "model", self._prepare)
        sealed = state_of(self._folder / "model")
        engine_path = self._folder / "engine"
        wants_filed = self._job.request.kind is JobKind.BENCHMARK
        engine = self._journal.insist(self._find_engine) if wants_filed else None
        # One that was given up since the job was queued is built anew.
        is_build = engine is None
        if engine is not None:
            place_engine(self._farm, engine, self._job.spec, engine_path, self._journal.insist)
        reference, unverified = self._reference().obtain(model_path)
        self._seconds["prepare"] = time.monotonic() - begin
        request = self._request(model_path, engine_path, reference, is_build=is_build)
        result = self._in_child(request)
        if state_of(self._folder / "model") != sealed:
            raise CorruptArtifactError(
                "the toolchain changed the files of the model, so nobody knows what it built",
                hint="The log has what it did. Does the model, or a plugin, come from somebody you trust?",
            )
        if result.failure is not None:
            raise ChildFailedError(result.failure)
        self._seconds.update(result.seconds)
        return self._upload(request, result, unverified)

    def _reference(self) -> ReferenceStep:
        def run(request: Mapping[str, Any]) -> ChildOutcome:
            child = self._child("reference", request, self._place.reference_python, {})
            return self._supervise(child, min(REFERENCE_DEADLINE_S, self._remaining_s()))

        return ReferenceStep(
            self._place,
            self._job,
            self._model,
            self._folder,
            self._journal,
            prepare=self._prepare,
            run=run,
        )

    def _request(
        self, model_path: Path, engine_path: Path, reference: Path | None, *, is_build: bool
    ) -> AttemptRequest:
        spec, target = self._job.spec, self._job.target
        build = BuildInput(
            model_path=model_path,
            engine_path=engine_path,
            precision=spec.precision,
            builder_config=spec.builder_config,
            profiles=spec.profiles,
            compute_capability=target.device_type.compute_capability,
            timing_cache_out=self.loan.returned_path,
        )
        return AttemptRequest(
            toolchain=target.toolchain.name,
            toolchain_version=target.toolchain.version,
            engine_path=engine_path,
            build=build if is_build else None,
            inputs_path=reference and reference / "inputs.npz",
            reference_path=reference and reference / "outputs.npz",
            reference_name=(reference / "name.txt").read_text() if reference else "",
            chunk_shapes=chunk_shapes(self._model, self._job) if reference else {},
            thresholds=self._job.request.verification.thresholds,
            benchmark=self._job.request.benchmark if can_run_engine(self._place, self._job) else None,
            benchmark_shapes=benchmark_shapes(self._model, self._job)
            if can_run_engine(self._place, self._job)
            else (),
            samples_path=self._folder / "samples.npz" if can_run_engine(self._place, self._job) else None,
        )

    def _in_child(self, request: AttemptRequest) -> AttemptResult:
        device = self._place.device
        visible = device.uuid if device.device_type.kind is DeviceKind.GPU else ""
        with self._device() as lock:
            if request.build is not None:
                # Only now: who held the device until a moment ago may have filed a fuller cache.
                lent = self._journal.insist(self.loan.lend)
                request = replace(request, build=replace(request.build, timing_cache_in=lent))
            child = self._child(
                "attempt",
                attempt_request_as_json(request),
                self._place.interpreters[self._job.target.toolchain],
                self._place.environment_for(self._job.target.toolchain),
                pass_fds=(lock.fileno(),),
            )
            with ThrottleWatch(visible, lambda: self._journal.phase) as watch, self._presence:
                outcome = self._supervise(child, self._remaining_s())
            self._throttling = watch.during(Phase.BUILD.value)
        if outcome.failure is not None:
            raise ChildFailedError(outcome.failure)
        assert outcome.result is not None  # noqa: S101 - neither stopped nor failed
        return result_from_json(outcome.result)

    @contextmanager
    def _device(self) -> Iterator[DeviceLock]:
        """The device for this attempt alone.

        Somebody else of this host who holds it, such as another farm's worker, is waited for: that is no
        fault of the job, so it takes neither one of its attempts nor of its time.

        Raises:
            DeviceUnavailableError: it was held for as long as an attempt may take, or can not be locked.
        """
        lock = DeviceLock(
            self._place.device.uuid,
            folder=self._farm.settings.locks,
            purpose=f"engine-farm job {self._job.id}",
        )
        begin, told = time.monotonic(), ""
        while True:
            try:
                lock.acquire()
                break
            except DeviceUnavailableError as error:
                is_held = isinstance(error.__cause__, BlockingIOError)
                if not is_held or time.monotonic() - begin > self._job.request.deadline_s:
                    raise
                if error.message != told:
                    told = error.message
                    self._prepare(f"waiting: {told}")
            if self._should_stop():
                raise StoppedError
            time.sleep(_DEVICE_GAP_S)
        waited_s = time.monotonic() - begin
        self._deadline += waited_s
        self._phases.forgive(waited_s)
        try:
            yield lock
        finally:
            lock.release()

    def _child(
        self,
        name: str,
        request: Mapping[str, Any],
        python: Path,
        environment: Mapping[str, str],
        pass_fds: tuple[int, ...] = (),
    ) -> ChildProcess:
        return ChildProcess(
            python,
            self._folder,
            name,
            request,
            code=self._place.code,
            environment=environment,
            limits=Limits.of(self._farm.settings, self._remaining_s()),
            pass_fds=pass_fds,
        )

    def _supervise(self, child: ChildProcess, deadline_s: float) -> ChildOutcome:
        outcome = child.supervise(
            deadline_s=deadline_s,
            should_stop=self._should_stop,
            on_tick=self._journal.tell_of_child,
            phases=self._phases,
        )
        if outcome.was_stopped and self._presence.reason and not self._is_to_stop():
            raise ChildFailedError(
                device_lost(self._place.device, self._presence.reason, self._journal.phase)
            )
        if outcome.was_stopped:
            raise StoppedError
        return outcome

    def _should_stop(self) -> bool:
        return bool(self._presence.reason) or self._is_to_stop()

    def _is_to_stop(self) -> bool:
        return self._lease.is_cancelled or self._lease.is_lost or self._place.stopping.is_set()

    def _remaining_s(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)

    def _upload(self, request: AttemptRequest, result: AttemptResult, unverified: str) -> AttemptOutcome:
        self._journal.report(Phase.UPLOAD, None, "storing the engine")
        self._keep_time(Phase.UPLOAD)
        store, begin = self._farm.store, time.monotonic()
        build = result.build
        engine = store.put_file(own_file(request.engine_path)) if build else None
        samples = None
        if request.samples_path is not None and request.samples_path.exists():
            samples = store.put_file(own_file(request.samples_path))
        build_s = result.seconds.get(Phase.BUILD.value)
        timing_cache = self.loan.give_back(build, build_s, self._throttling) if build else None
        self._keep_time(Phase.UPLOAD)
        self._seconds["upload"] = time.monotonic() - begin
        reach("after-upload")
        return AttemptOutcome(
            engine=engine,
            build={**vars(build), "details": dict(build.details)} if build else {},
            accuracy=result.accuracy.as_json() if result.accuracy else None,
            unverified_reason=unverified,
            measurements=tuple(measurement.as_json() for measurement in result.measurements),
            samples=samples,
            timing_cache=timing_cache,
            seconds=self._seconds,
            environment=result.environment,
            signed=sign_engine(
                self._place.signer, self._job, self._attempt, engine, self._journal.insist(self._now)
            )
            if engine
            else None,
        )

    def _fail(self, failure: Failure) -> Failure:
        failure = self._presence.blamed(failure)
        with suppress(OSError), self._log_file.open("a") as log:
            log.write(f"\n[farm] {failure.code}: {failure.message}\n")
        kept = self._keep_log()
        state = self._journal.insist(
            lambda: fail_attempt(
                self._farm.database, self._job, self._attempt, failure, kept, seconds=self._seconds
            )
        )
        _log.warning(
            "job %s attempt %d: %s; now %s", self._job.id, self._attempt.number, failure.message, state.value
        )
        return failure

    def _end_stopped(self) -> None:
        database, attempt = self._farm.database, self._attempt
        if self._lease.is_cancelled:
            log = self._keep_log()
            self._journal.insist(lambda: cancel_attempt(database, attempt, log))
        elif self._lease.is_lost:
            raise AttemptSupersededError(
                f"attempt {attempt.number} of job {attempt.job_id} could not renew its lease"
            )
        else:
            log = self._keep_log()
            self._journal.insist(
                lambda: release_attempt(database, attempt, "the worker was told to stop", log)
            )

    def _keep_log(self) -> Digest | None:
        """The whole log; of an attempt that failed for want of a store or of scratch, what was shown live."""
        try:
            return self._farm.store.put_file(self._log_file)
        except (FarmError, OSError) as error:
            _log.warning("the log of job %s was not kept: %s", self._job.id, error)
            return None

    def _now(self) -> datetime:
        with self._farm.database.reading() as transaction:
            return transaction.now()

    def _keep_time(self, phase: Phase) -> None:
        """Ends a phase of the worker's own that takes longer than it may."""
        overdue = self._phases.look(phase.value)
        if overdue is not None:
            raise ChildFailedError(overdue)

    def _find_engine(self) -> Engine | None:
        with self._farm.database.reading() as transaction:
            return transaction.engines.find(self._job.spec)

    def _prepare(self, message: str) -> None:
        if self._should_stop():
            raise StoppedError
        self._keep_time(Phase.PREPARE)
        self._journal.report(Phase.PREPARE, None, message)
