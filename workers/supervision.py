"""Runs the children of an attempt: with the device to themselves, within their time, until they are to stop."""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from farm.domain.errors import DeviceUnavailableError
from farm.domain.jobs import Phase
from farm.domain.targets import DeviceKind
from farm.domain.work import WAITING
from workers.child.requests import attempt_request_as_json, result_from_json
from workers.child_process import ChildOutcome, ChildProcess
from workers.condition_watch import ConditionWatch
from workers.confinement import Limits
from workers.device_lock import DeviceLock
from workers.nsys import nsys_command, report_in
from workers.phase_deadlines import PhaseDeadlines
from workers.presence import DeviceWatch, device_lost
from workers.remeasuring import TIMES_ON_CPU, TIMES_ON_GPU, measure_again
from workers.workplace import ChildFailedError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from farm.domain.work import Job
    from workers.child.requests import AttemptRequest, AttemptResult
    from workers.condition_watch import Throttling
    from workers.journal import Journal
    from workers.lease import Lease
    from workers.remeasuring import Disturbed
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)
#: Computing a reference or converting a model on the CPU may not take longer.
WITHOUT_DEVICE_DEADLINE_S = 1800
_DEVICE_GAP_S = 0.5
#: It is measured again only where so many times what measuring took is left: a child must load the engine first.
_AGAIN_FACTOR = 2.0


class Supervision:
    """Watches over the children of one attempt.

    Args:
        place: what the worker works with.
        job: of the attempt; its deadlines begin now.
        folder: scratch folder of the attempt.
        lease: of the attempt.
        journal: of the attempt.
    """

    def __init__(self, place: Workplace, job: Job, folder: Path, lease: Lease, journal: Journal) -> None:
        self._place = place
        self._job = job
        self._folder = folder
        self._lease = lease
        self._journal = journal
        self._deadline = time.monotonic() + job.request.deadline_s
        self._phases = PhaseDeadlines(job.request.phase_deadlines)
        #: Whether the device is there while a child works on it.
        self.presence = DeviceWatch(place.device)
        #: How the device was throttled during the build; none if nobody could say.
        self.throttling: Throttling | None = None
        #: What was measured again, as it was the first time.
        self.disturbed: tuple[Disturbed, ...] = ()
        #: What Nsight Systems left, where it looked on.
        self.nsys_report: Path | None = None

    def prepare(self, message: str) -> None:
        """Says what the attempt does before its child starts.

        Raises:
            StoppedError: it is to stop.
            ChildFailedError: preparing takes longer than it may.
        """
        if self._should_stop():
            raise StoppedError
        self.keep_time(Phase.PREPARE)
        self._journal.report(Phase.PREPARE, None, message)

    def keep_time(self, phase: Phase) -> None:
        """Ends a phase of the worker's own that takes longer than it may.

        Raises:
            ChildFailedError: it does.
        """
        overdue = self._phases.look(phase.value)
        if overdue is not None:
            raise ChildFailedError(overdue)

    def run_without_device(self, request: Mapping[str, Any], *, in_toolchain: bool = False) -> ChildOutcome:
        """Runs a request in a child of its own, without the device: a reference, a conversion.

        Args:
            request: what to do.
            in_toolchain: whether the job's toolchain has the interpreter for it, and not the farm itself.

        Raises:
            StoppedError: the attempt is to stop.
        """
        python, environment = self._place.reference_python, {}
        if in_toolchain:
            toolchain = self._job.target.toolchain
            python = self._place.interpreters[toolchain]
            environment = {**self._place.environment_for(toolchain), "CUDA_VISIBLE_DEVICES": ""}
        child = self._child(request["operation"], request, python, environment)
        return self._supervise(child, min(WITHOUT_DEVICE_DEADLINE_S, self._remaining_s()))

    def run_toolchain(self, compose: Callable[[], AttemptRequest]) -> AttemptResult:
        """Runs a request in a child of the job's toolchain, which has the device to itself.

        Args:
            compose: makes the request, once the device is this attempt's.

        Raises:
            ChildFailedError: the child failed, took too long, or lost its device.
            DeviceUnavailableError: the device was held by others all the time, or can not be locked.
            StoppedError: the attempt is to stop.
        """
        nsys: list[str] = []
        if self._job.request.benchmark.nsys:
            nsys = nsys_command(self._folder, self._place.device.host)
        with self._device() as lock, self.presence:
            request = compose()
            child = self._toolchain_child("attempt", request, lock, nsys)
            with self._watch(child) as watch:
                outcome = self._supervise(child, self._remaining_s(), self._job.request.deadline_s)
            self.throttling = watch.during(Phase.BUILD.value)
            if outcome.failure is not None:
                raise ChildFailedError(outcome.failure)
            result = watch.judged(result_from_json(outcome.answer))
            # Nsight Systems takes time of its own whenever it looks on.
            if not nsys:
                result, self.disturbed = measure_again(
                    request,
                    result,
                    times=self._times_again(),
                    is_cpu=self._is_cpu,
                    run=lambda again, why: self._run_again(again, why, lock, result.seconds),
                )
        self.nsys_report = report_in(self._folder) if nsys else None
        return result

    def _run_again(
        self, request: AttemptRequest, why: str, lock: DeviceLock, seconds: Mapping[str, float]
    ) -> AttemptResult | None:
        """What a child answers that measures once more; none if there is no time for it, or it fails.

        What was measured before stands then: no attempt fails for wanting better figures.
        """
        left_s = min(self._remaining_s(), self._phases.remaining_s(Phase.BENCHMARK))
        if left_s < _AGAIN_FACTOR * seconds.get(Phase.BENCHMARK.value, 0.0):
            _log.warning("not measured again, for want of time: %s", why)
            return None
        if self._should_stop():
            raise StoppedError
        self._journal.report(Phase.BENCHMARK, None, said := f"measuring again: {why}")
        with (self._folder / "log.txt").open("a") as log:
            log.write(f"[farm] {said}\n")
        child = self._toolchain_child(
            request.samples_path.stem if request.samples_path else "again", request, lock
        )
        with self._watch(child) as watch:
            outcome = self._ended(
                child.supervise(
                    deadline_s=left_s,
                    should_stop=self._should_stop,
                    # It is one phase of the attempt's, whatever phases that child has.
                    on_tick=lambda events: self._journal.tell_of_child(
                        [event for event in events if event.phase is Phase.BENCHMARK]
                    ),
                )
            )
        if failure := outcome.what_failed:
            _log.warning("measuring again failed, so what was measured before stands: %s", failure.message)
            return None
        return watch.judged(result_from_json(outcome.answer))

    def _times_again(self) -> int:
        wanted = self._place.farm.settings.remeasure
        return wanted if wanted is not None else TIMES_ON_CPU if self._is_cpu else TIMES_ON_GPU

    @property
    def _is_cpu(self) -> bool:
        return self._place.device.device_type.kind is not DeviceKind.GPU

    def _watch(self, child: ChildProcess) -> ConditionWatch:
        uuid = "" if self._is_cpu else self._place.device.uuid
        return ConditionWatch(uuid, child.pid, lambda: child.phase)

    def _toolchain_child(
        self, name: str, request: AttemptRequest, lock: DeviceLock, behind: Sequence[str] = ()
    ) -> ChildProcess:
        toolchain = self._job.target.toolchain
        return self._child(
            name,
            attempt_request_as_json(request),
            self._place.interpreters[toolchain],
            self._place.environment_for(toolchain),
            pass_fds=(lock.fileno(),),
            behind=behind,
        )

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
            folder=self._place.farm.settings.locks,
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
                    self.prepare(f"{WAITING}{told}")
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
        behind: Sequence[str] = (),
    ) -> ChildProcess:
        return ChildProcess(
            python,
            self._folder,
            name,
            request,
            code=self._place.code,
            environment=environment,
            limits=Limits.of(self._place.farm.settings, self._remaining_s()),
            pass_fds=pass_fds,
            behind=behind,
        )

    def _supervise(
        self, child: ChildProcess, deadline_s: float, allowed_s: float | None = None
    ) -> ChildOutcome:
        return self._ended(
            child.supervise(
                deadline_s=deadline_s,
                allowed_s=allowed_s,
                should_stop=self._should_stop,
                on_tick=self._journal.tell_of_child,
                phases=self._phases,
            )
        )

    def _ended(self, outcome: ChildOutcome) -> ChildOutcome:
        if outcome.was_stopped and self.presence.reason and not self._is_to_stop():
            raise ChildFailedError(device_lost(self._place.device, self.presence.reason, self._journal.phase))
        if outcome.was_stopped:
            raise StoppedError
        return outcome

    def _should_stop(self) -> bool:
        return bool(self.presence.reason) or self._is_to_stop()

    def _is_to_stop(self) -> bool:
        return self._lease.is_cancelled or self._lease.is_lost or self._place.stopping.is_set()

    def _remaining_s(self) -> float:
        return max(self._deadline - time.monotonic(), 0.0)
