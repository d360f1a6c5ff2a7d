"""The in-memory stand-in for `EngineFiles`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.accuracy import Accuracy
from farm.domain.benchmarks import Measurement
from farm.domain.errors import NotFoundError
from farm.domain.filing import Engine, HistoryEntry, Run
from farm.domain.jobs import AttemptState, JobState
from farm.domain.work import Finished
from tests.fakes.job_ledger import InMemoryJobLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from farm.domain.digests import Digest
    from farm.domain.specs import BuildSpec
    from farm.domain.work import Attempt, AttemptOutcome, Job
    from tests.fakes.tables import Tables


class InMemoryEngineFiles:
    """Implements `EngineFiles`."""

    def __init__(self, tables: Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def find(self, spec: BuildSpec) -> Engine | None:
        """The engine under a key."""
        found = self._of(spec)
        return None if found is None or found.retired_at else found

    def find_all(self, specs: Sequence[BuildSpec]) -> dict[str, Engine]:
        """The engines under some keys."""
        found = {spec.digest.sha256: self.find(spec) for spec in specs}
        return {key: engine for key, engine in found.items() if engine is not None}

    def _of(self, spec: BuildSpec) -> Engine | None:
        engines = self._tables.engines.values()
        return next((engine for engine in engines if engine.spec.digest == spec.digest), None)

    def get(self, engine_id: int) -> Engine:
        """By its number."""
        if engine_id not in self._tables.engines:
            raise NotFoundError(f"there is no engine {engine_id}")
        return self._tables.engines[engine_id]

    def engines(self, *, model_sha256: str | None = None, with_retired: bool = False) -> list[Engine]:
        """Oldest first."""
        engines = self._tables.engines.values()
        return [
            engine
            for engine in engines
            if model_sha256 in (None, engine.spec.model_sha256) and (with_retired or not engine.retired_at)
        ]

    def finish(self, job: Job, attempt: Attempt, outcome: AttemptOutcome, log: Digest) -> Finished:
        """Behind the fence, one after the other."""
        InMemoryJobLedger(self._tables, self._now).close(
            attempt,
            AttemptState.SUCCEEDED,
            JobState.SUCCEEDED,
            log=log,
            seconds=dict(outcome.seconds),
            environment=dict(outcome.environment),
        )
        has_follow_ups = any(wanted.job_id == job.id for wanted in self._tables.follow_ups)
        return Finished(self.file(job, attempt, outcome), has_follow_ups)

    def file(self, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """The first under a key keeps its bytes; every measured outcome adds a run."""
        engine = self.find(job.spec)
        if engine is None and outcome.engine is None:
            raise NotFoundError(f"job {job.id} measured an engine that is not filed")
        gives_way = engine is not None and _gives_way(engine, job, outcome)
        if engine is None or gives_way:
            engine = self._new_engine(job, outcome, outcome.engine)
            retired = self._of(job.spec)
            if retired is not None:
                told = outcome.layer_information
                if told is None and retired.digest == engine.digest:
                    told = retired.layer_information
                engine = replace(engine, id=retired.id, runs=retired.runs, pinned_at=retired.pinned_at)
                engine = replace(engine, layer_information=told)
        if outcome.engine is not None:
            self.add_artifact(outcome.engine, "engine")
        if outcome.layer_information is not None:
            self.add_artifact(outcome.layer_information, "layers")
        if outcome.accuracy is not None or outcome.measurements or outcome.comparison:
            engine = replace(engine, runs=(*engine.runs, self._new_run(engine, job, attempt, outcome)))
        self._tables.engines[engine.id] = engine
        return engine.id

    def history(self, *, name: str, since: datetime | None, include_tainted: bool) -> list[HistoryEntry]:
        """Newest last."""
        found = [
            HistoryEntry(name, version.version, engine, run, measurement)
            for version in self._tables.names
            if version.name == name
            for engine in self.engines(model_sha256=version.model_sha256, with_retired=True)
            for run in engine.runs
            if (since is None or run.started_at >= since) and (include_tainted or run.is_clean)
            for measurement in run.measurements
        ]
        return sorted(found, key=lambda entry: (entry.run.started_at, entry.run.id, entry.measurement.batch))

    def artifact(self, sha256: str) -> Digest:
        """The whole digest of an artifact that was noted."""
        if sha256 not in self._tables.artifacts:
            raise NotFoundError(f"no artifact {sha256[:12]} is filed")
        return self._tables.artifacts[sha256]

    def add_artifact(self, digest: Digest, kind: str) -> None:
        """Notes an artifact."""
        self._tables.artifacts.setdefault(digest.sha256, digest)

    def _new_engine(self, job: Job, outcome: AttemptOutcome, digest: Digest | None) -> Engine:
        assert digest is not None
        return Engine(
            id=len(self._tables.engines) + 1,
            spec=job.spec,
            digest=digest,
            build_s=outcome.build.get("build_s") or outcome.seconds.get("build", 0.0),
            precision_note=outcome.build.get("precision_note", ""),
            device_memory_bytes=outcome.build.get("device_memory_bytes", 0),
            layers=outcome.build.get("layers", 0),
            unverified_reason=outcome.unverified_reason,
            job_id=job.id,
            signed=outcome.signed,
            created_at=self._now(),
            details=outcome.build.get("details", {}),
            layer_information=outcome.layer_information,
        )

    def _new_run(self, engine: Engine, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> Run:
        for artifact in (outcome.samples, outcome.profile, outcome.nsys, outcome.histogram):
            if artifact is not None:
                self.add_artifact(artifact, "beside a run")
        suspicion = self._tables.suspects.get(attempt.device_uuid)
        return Run(
            id=sum(len(known.runs) for known in self._tables.engines.values()) + 1,
            engine_id=engine.id,
            device_uuid=attempt.device_uuid,
            driver_version=attempt.driver_version,
            host=attempt.host,
            started_at=self._now(),
            accuracy=Accuracy.from_json(outcome.accuracy) if outcome.accuracy else None,
            measurements=tuple(map(Measurement.from_json, outcome.measurements)),
            samples=outcome.samples,
            inputs_sha256=job.request.verification.inputs_sha256,
            engine_sha256=outcome.measured_sha256,
            verified_with=job.request.verification.beyond_inputs,
            histogram=outcome.histogram,
            taints=("Nsight Systems looked on",) if outcome.nsys else (),
            profile=outcome.profile,
            nsys_sha256=outcome.nsys.sha256 if outcome.nsys else "",
            comparison=outcome.comparison,
            suspect=suspicion.reason if suspicion else "",
            attempt_id=attempt.id,
        )


def _gives_way(engine: Engine, job: Job, outcome: AttemptOutcome) -> bool:
    """Whether another engine takes its place: one that counts for one that does not, or one that was asked for."""
    if outcome.engine is None:
        return False
    if not engine.is_signed and outcome.signed is not None:
        return True
    is_as_good = not outcome.unverified_reason or not engine.is_verified
    is_as_signed = outcome.signed is not None or engine.signed is None
    return job.request.is_rebuild and is_as_good and is_as_signed and engine.pinned_at is None
