"""Supervises attempts: claim, child, heartbeat, deadline, outcome."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.errors import AttemptSupersededError, ConflictError, CorruptArtifactError, FarmError
from farm.domain.jobs import Phase
from farm.domain.work import AttemptOutcome
from farm.failpoints import reach
from farm.logs import fields
from farm.services.attempts import finish_attempt
from workers.attempt_files import keep_disturbed, keep_files
from workers.attempt_request import Prepared, compose_request
from workers.calibration import CalibrationStep, calibration_input
from workers.child.build_series import seconds_of_kept
from workers.confinement import make_private, own_file, state_of
from workers.conversion_step import Converted, convert
from workers.endings import Ending, failure_of
from workers.filed_engine import FiledEngine
from workers.journal import Journal
from workers.layerwise_step import mark_layers_of
from workers.materials import place_model
from workers.plugin_files import place_plugins
from workers.program_files import place_program
from workers.reference import ReferenceStep, can_run_engine
from workers.rival import comparison_document, place_rival
from workers.supervision import Supervision
from workers.timing_caches import CacheLoan
from workers.user_metrics import place_metrics, with_own_figures
from workers.vouching import sign_engine
from workers.workplace import ChildFailedError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from farm.domain.digests import Digest
    from farm.domain.jobs import Failure
    from farm.domain.manifests import SignedManifest
    from farm.domain.models import Model
    from farm.domain.work import Attempt, Job
    from workers.child.requests import AttemptRequest, AttemptResult
    from workers.lease import Lease
    from workers.rival import PlacedRival
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)


class AttemptRun:
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
        self._seconds: dict[str, float] = {}
        self.has_filed = False
        self.drain_reason = ""
        self._log_file = folder / "log.txt"
        self._journal = Journal(place.farm.database, attempt, lease, self._log_file)
        self._supervision = Supervision(place, job, folder, lease, self._journal)
        self._ending = Ending(place.farm, job, attempt, lease, self._journal, self._log_file)
        self._converted: Converted | None = None
        self._rival: PlacedRival | None = None
        self._filed = FiledEngine(place, job, folder, self._journal.insist)
        self._calibration = CalibrationStep(place, job, folder, self._journal)
        self.loan = CacheLoan(place, job, attempt, folder)

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
            seconds = {phase: round(took, 3) for phase, took in self._seconds.items()}
            _log.info(
                "job %s: engine %d filed",
                job.id,
                number,
                extra=fields("filed", engine=number, seconds=seconds),
            )
        except StoppedError as stopped:
            self.drain_reason = stopped.drain_reason
            self._ending.stop(stopped.drain_reason or "the worker was told to stop")
        except AttemptSupersededError:
            raise
        except (FarmError, OSError) as error:
            return self._fail(error)
        except Exception as error:  # noqa: BLE001 - the worker goes on; its streak says whether it trusts itself
            _log.exception("a bug of the farm ended attempt %d of job %s", attempt.number, job.id)
            return self._fail(error)
        return None

    def _work(self) -> AttemptOutcome:
        supervision = self._supervision
        self._journal.report(Phase.PREPARE, None, "fetching the model")
        begin = time.monotonic()
        model_path = place_model(self._farm.store, self._model, self._folder / "model", supervision.prepare)
        sealed = state_of(self._folder / "model")
        engine_path = self._folder / "engine"
        is_build = not self._filed.place_for_benchmark(engine_path)
        # Layers are compared by engines of their own, which are built as this one was.
        builds = is_build or self._job.request.verification.layerwise
        calibration_path = self._calibration.place_samples(supervision.prepare) if builds else None
        place_plugins(self._farm, self._job, self._folder, supervision.prepare, self._journal.insist)
        self._rival = place_rival(
            self._farm, self._job, self._folder, supervision.prepare, self._journal.insist
        )
        place_program(self._farm, self._job, self._folder, supervision.prepare, self._journal.insist)
        place_metrics(self._farm, self._job, self._folder, supervision.prepare, self._journal.insist)
        reference, unverified = ReferenceStep(
            self._place,
            self._job,
            self._model,
            self._folder,
            self._journal,
            prepare=supervision.prepare,
            run=supervision.run_without_device,
        ).obtain(model_path)
        if builds:
            self._converted = convert(
                self._place,
                self._job,
                self._model,
                self._folder,
                model_path=model_path,
                calibration=calibration_input(self._job.spec, calibration_path),
                is_compared=not can_run_engine(self._place, self._job),
                run=supervision.run_without_device,
            )
        source_path = self._converted.model_path if self._converted else model_path
        self._seconds["prepare"] = time.monotonic() - begin
        prepared = Prepared(
            folder=self._folder,
            engine_path=engine_path,
            is_build=is_build,
            model_path=source_path,
            conversion=self._converted.note if self._converted else "",
            calibration_path=calibration_path,
            timing_cache_out=self.loan.returned_path,
            reference=reference,
            filed=self._filed.place_for_choice() if is_build else None,
            refit_path=self._filed.place_for_refit(source_path, supervision.run_without_device),
            details=self._filed.details,
            rival=self._rival,
            layerwise=mark_layers_of(
                self._place,
                self._job,
                self._model,
                self._folder,
                model_path=model_path,
                built_path=source_path,
                reference=reference,
                run=supervision.run_without_device,
            ),
        )
        request = compose_request(self._place, self._job, self._model, prepared)
        result = supervision.run_toolchain(lambda: self._with_cache(request))
        if state_of(self._folder / "model") != sealed:
            raise CorruptArtifactError(
                "the toolchain changed the files of the model, so nobody knows what it built",
                hint="The log has what it did. Does the model, or a plugin, come from somebody you trust?",
            )
        if result.failure is not None:
            raise ChildFailedError(result.failure)
        self._seconds.update(result.seconds)
        result = with_own_figures(
            self._job, self._folder, request, result, supervision.prepare, supervision.run_without_device
        )
        return self._upload(request, result, unverified)

    def _with_cache(self, request: AttemptRequest) -> AttemptRequest:
        """The request with the caches of this moment: who held the device until now may have filed fuller ones."""
        request = self._calibration.with_cache(request)
        if request.build is None:
            return request
        lent = self._journal.insist(self.loan.lend)
        return replace(request, build=replace(request.build, timing_cache_in=lent))

    def _upload(self, request: AttemptRequest, result: AttemptResult, unverified: str) -> AttemptOutcome:
        self._journal.report(Phase.UPLOAD, None, "storing the engine")
        self._supervision.keep_time(Phase.UPLOAD)
        store, begin = self._farm.store, time.monotonic()
        build = result.build
        engine = store.put_file(own_file(request.engine_path)) if build else None
        kept_files = keep_files(store, request, self._supervision.nsys_report)
        build_s = seconds_of_kept(build, result.seconds.get(Phase.BUILD.value))
        timing_cache = self.loan.give_back(build, build_s, self._supervision.throttling) if build else None
        self._supervision.keep_time(Phase.UPLOAD)
        self._seconds["upload"] = time.monotonic() - begin
        reach("after-upload")
        return AttemptOutcome(
            engine=engine,
            build={
                **vars(build),
                "details": self._filed.noted_in(self._noted(build.details)),
                "build_s": build_s,
            }
            if build
            else {},
            accuracy=result.accuracy.as_json() if result.accuracy else None,
            unverified_reason=unverified,
            measurements=tuple(measurement.as_json() for measurement in result.measurements),
            **vars(kept_files),
            disturbed=keep_disturbed(store, self._supervision.disturbed),
            timing_cache=timing_cache,
            calibration_cache=self._calibration.give_back(build) if build else None,
            seconds=self._seconds,
            environment=result.environment,
            signed=self._sign(engine) if engine else None,
            measured=self._filed.measured,
            startup=result.startup,
            comparison=comparison_document(self._rival, self._job, engine or self._filed.measured, result),
        )

    def _noted(self, details: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a build told of itself, with what was done to the model before it."""
        done = self._converted.details if self._converted else {}
        return {**details, "conversion": dict(done)} if done else details

    def _sign(self, engine: Digest) -> SignedManifest:
        try:
            return sign_engine(
                self._farm, self._place.signer, self._job, self._attempt, engine, self._journal.insist
            )
        except ConflictError as error:
            # Revoked while it built: the fault of no job, so another worker has it now.
            raise StoppedError(error.message) from error

    def _fail(self, error: Exception) -> Failure:
        failure = self._supervision.presence.blamed(failure_of(error, self._journal.phase))
        self._ending.fail(failure, self._seconds)
        return failure
