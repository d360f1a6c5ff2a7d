"""What attempts made, filed in SQL: an engine under its key, a run, its measurements."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, false, insert, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from farm.domain.benchmarks import Measurement
from farm.domain.digests import digest_of_json
from farm.domain.errors import NotFoundError
from farm.domain.jobs import AttemptState, JobState
from farm.domain.work import Finished
from farm.storage.columns import DatabaseNow
from farm.storage.end_statements import stamps_of, succeeding
from farm.storage.engine_rows import DETAILS, signature_values
from farm.storage.fence import check_fence, fence_of
from farm.storage.sql_artifacts import note_artifact, noted
from farm.storage.sql_attempts import SqlAttempts
from farm.storage.tables import attempts, devices, engines, jobs, measurements, runs, signing_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from farm.domain.digests import Digest
    from farm.domain.latencies import LatencySummary
    from farm.domain.work import Attempt, AttemptOutcome, Job


class SqlFiling:
    """The part of `EngineFiles` that takes what attempts made.

    The unique key on the spec makes the first engine the winner; one that is filed already keeps its bytes, and
    only the run is added. One without a signature that counts gives way to one with, and one that was retired to
    any. A job that was told to rebuild puts its engine in the filed one's place.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def finish(self, job: Job, attempt: Attempt, outcome: AttemptOutcome, log: Digest) -> Finished:
        """Ends an attempt that succeeded and files what it made.

        Raises:
            AttemptSupersededError: the job went on without this attempt.
        """
        engine = outcome.engine
        if self._connection.dialect.name != "postgresql" or engine is None or engine == log:
            SqlAttempts(self._connection).close(
                attempt,
                AttemptState.SUCCEEDED,
                JobState.SUCCEEDED,
                log=log,
                seconds=dict(outcome.seconds),
                environment=dict(outcome.environment),
            )
            wanted = select(jobs.c.has_follow_ups).where(jobs.c.id == job.id)
            has_follow_ups = self._connection.execute(wanted).scalar_one()
            return Finished(self.file(job, attempt, outcome), has_follow_ups)
        made = _made(job, attempt, engine, outcome)
        self._note_layers(outcome)
        ended = self._connection.execute(
            succeeding(stamps_of(outcome.seconds), frozenset(made)),
            {
                **fence_of(attempt),
                "of_attempt": attempt.id,
                "ended_seconds": dict(outcome.seconds),
                "ended_environment": dict(outcome.environment),
                **{f"made_{name}": value for name, value in made.items()},
                **noted(log, "log"),
                **noted(engine, "engine", "engine"),
            },
        ).all()
        check_fence(attempt, len(ended))
        filed, has_follow_ups = ended[0]
        return Finished(self._file_rest(filed, job, attempt, outcome), has_follow_ups)

    def file(self, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """Files what an attempt made; the engine's number.

        Raises:
            NotFoundError: it measured an engine that is not filed.
        """
        filed: int | None = None
        if outcome.engine is not None:
            note_artifact(self._connection, outcome.engine, "engine")
            self._note_layers(outcome)
            keyed = {
                "spec_sha256": job.spec.digest.sha256,
                "spec": job.spec.as_json(),
                "model_sha256": job.spec.model_sha256,
                "of_job": job.id,
            }
            values = keyed | _made(job, attempt, outcome.engine, outcome) | {"job_id": job.id}
            statement = _filing(self._connection.dialect.name)
            filed = self._connection.execute(statement, values).scalar_one_or_none()
        return self._file_rest(filed, job, attempt, outcome)

    def _file_rest(self, filed: int | None, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """Files what comes beside an engine that is filed by now, or was there before."""
        if filed is None:
            filed = self._give_way(job, attempt, outcome)
        if outcome.accuracy is not None or outcome.measurements or outcome.comparison:
            self._file_run(filed, job, attempt, outcome)
        return filed

    def _note_layers(self, outcome: AttemptOutcome) -> None:
        """Before the row of an engine refers to it."""
        if outcome.layer_information is not None:
            note_artifact(self._connection, outcome.layer_information, "layers")

    def _give_way(self, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """The number of the engine under a key; one that nobody would hand out any more gives way, its runs stay."""
        if outcome.engine is not None:
            gives_way = or_(
                engines.c.retired_at.is_not(None),
                _is_unsigned() if outcome.signed else false(),
                _is_rebuilt(outcome) if job.request.is_rebuild else false(),
            )
            made = _made(job, attempt, outcome.engine, outcome)
            # Of one key it is one, and no worker may change it.
            del made["precision"]
            if outcome.layer_information is None:
                # The filed engine may have won against its rebuilds: it goes on with what it told of its layers.
                has_same_bytes = engines.c.artifact_sha256 == outcome.engine.sha256
                made["layers_sha256"] = case((has_same_bytes, engines.c.layers_sha256))
            self._connection.execute(
                update(engines)
                .where(engines.c.spec_sha256 == job.spec.digest.sha256, gives_way)
                .values(**made, job_id=job.id, retired_at=None, created_at=DatabaseNow())
            )
        of_spec = {"of_spec": job.spec.digest.sha256}
        filed = self._connection.execute(_finding(), of_spec).scalar_one_or_none()
        if filed is None:
            raise NotFoundError(f"job {job.id} measured an engine that is not filed")
        return int(filed)

    def _file_run(self, engine_id: int, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> None:
        for artifact, kind in (
            (outcome.profile, "profile"),
            (outcome.nsys, "nsys-report"),
            (outcome.histogram, "histogram"),
        ):
            if artifact is not None:
                note_artifact(self._connection, artifact, kind)
        common = {
            "engine_id": engine_id,
            "attempt_id": attempt.id,
            "device_uuid": attempt.device_uuid,
            "driver_version": attempt.driver_version,
            "host": attempt.host,
            "started_at": self._measuring_began(attempt),
            "accuracy": outcome.accuracy,
            "histogram_sha256": outcome.histogram.sha256 if outcome.histogram else None,
            "environment": dict(outcome.environment),
            "startup": dict(outcome.startup) or None,
            "suspect": self._suspect(attempt.device_uuid),
        }
        beyond = job.request.verification.beyond_inputs
        benchmark = {
            **job.request.benchmark.as_json(),
            "inputs_sha256": job.request.verification.inputs_sha256,
            "engine_sha256": outcome.measured_sha256,
            **({"verified_with": beyond} if beyond else {}),
        }
        for number, disturbed in enumerate(outcome.disturbed, 1):
            values = {**common, "number": number, "benchmark": benchmark, "taints": []}
            self._add_run(values, disturbed.samples, disturbed.measurements)
        values = {
            **common,
            "number": len(outcome.disturbed) + 1,
            "profile_sha256": outcome.profile.sha256 if outcome.profile else None,
            "benchmark": {**benchmark, **({"nsys_sha256": outcome.nsys.sha256} if outcome.nsys else {})},
            # Whoever looks on takes time of its own.
            "taints": ["Nsight Systems looked on"] if outcome.nsys else [],
            "comparison": dict(outcome.comparison) or None,
        }
        self._add_run(values, outcome.samples, outcome.measurements)

    def _add_run(
        self, values: dict[str, Any], samples: Digest | None, found: Sequence[Mapping[str, Any]]
    ) -> None:
        if samples is not None:
            note_artifact(self._connection, samples, "samples")
            values = {**values, "samples_sha256": samples.sha256}
        run_id = self._connection.execute(insert(runs).values(values).returning(runs.c.id)).scalar_one()
        rows = [_measurement_values(run_id, Measurement.from_json(value)) for value in found]
        if rows:
            self._connection.execute(insert(measurements), rows)

    def _suspect(self, device_uuid: str) -> str:
        """Why the device is not trusted at the moment; empty if it is."""
        query = select(devices.c.suspect_reason).where(
            devices.c.uuid == device_uuid, devices.c.suspect_since.is_not(None)
        )
        return self._connection.execute(query).scalar_one_or_none() or ""

    def _measuring_began(self, attempt: Attempt) -> Any:
        """When the measuring began: the end of what came before it, as far as anybody reported it."""
        row = self._connection.execute(select(attempts).where(attempts.c.id == attempt.id)).one()
        return row.verified_at or row.built_at or row.started_at or row.claimed_at


def _made(job: Job, attempt: Attempt, engine: Digest, outcome: AttemptOutcome) -> dict[str, Any]:
    """The columns of an engine that neither its key nor its job says."""
    return {
        "precision": job.spec.precision,
        "artifact_sha256": engine.sha256,
        "attempt_id": attempt.id,
        # Of several builds it is the kept one's.
        "build_s": outcome.build.get("build_s") or outcome.seconds.get("build", 0.0),
        "precision_note": outcome.build.get("precision_note", ""),
        "device_memory_bytes": outcome.build.get("device_memory_bytes", 0),
        "layers": outcome.build.get("layers", 0),
        "details": outcome.build.get("details", {}),
        "layers_sha256": outcome.layer_information.sha256 if outcome.layer_information else None,
        "unverified_reason": outcome.unverified_reason,
        **signature_values(outcome.signed),
    }


@cache
def _filing(dialect_name: str) -> Any:
    """Files an engine for the target of its job, unless one is there under its key; answered by its number."""
    dialect: Any = postgresql if dialect_name == "postgresql" else sqlite
    of_job = {
        name: select(jobs.c[name]).where(jobs.c.id == bindparam("of_job")).scalar_subquery()
        for name in ("device_type_id", "toolchain_id")
    }
    statement = dialect.insert(engines).values(**of_job, created_at=DatabaseNow())
    return statement.on_conflict_do_nothing().returning(engines.c.id)


@cache
def _finding() -> Select[Any]:
    """The number of the engine that is handed out under a key."""
    return select(engines.c.id).where(
        engines.c.spec_sha256 == bindparam("of_spec"), engines.c.retired_at.is_(None)
    )


def _is_rebuilt(outcome: AttemptOutcome) -> ColumnElement[bool]:
    """What a rebuild takes the place of: never one that was verified if it is not, nor one that somebody pinned."""
    is_as_good = or_(literal(not outcome.unverified_reason), engines.c.unverified_reason != "")
    is_signed = or_(literal(outcome.signed is not None), engines.c.signature == "")
    return and_(is_as_good, is_signed, engines.c.pinned_at.is_(None))


def _is_unsigned() -> ColumnElement[bool]:
    revoked = select(signing_keys.c.id).where(signing_keys.c.revoked_at.is_not(None))
    return or_(engines.c.signature == "", engines.c.signing_key.in_(revoked))


def _measurement_values(run_id: int, measurement: Measurement) -> dict[str, Any]:
    def figures(prefix: str, summary: LatencySummary | None) -> dict[str, float | None]:
        names = ("median", "mean", "min", "max", "p90", "p95", "p99", "std")
        return {f"{prefix}_{name}_ms": getattr(summary, f"{name}_ms", None) for name in names}

    shapes = {name: list(shape) for name, shape in measurement.shapes.items()}
    return {
        "run_id": run_id,
        "batch": measurement.batch,
        "shapes": shapes,
        "shapes_sha256": digest_of_json(shapes).sha256,
        "method": str(measurement.method),
        "iterations": measurement.compute.count,
        **figures("compute", measurement.compute),
        **figures("latency", measurement.latency),
        **figures("h2d", measurement.h2d),
        **figures("d2h", measurement.d2h),
        "throughput_per_s": measurement.throughput_per_s,
        "interval_low_ms": measurement.interval_ms[0] if measurement.interval_ms else None,
        "interval_high_ms": measurement.interval_ms[1] if measurement.interval_ms else None,
        "details": {
            name: value for name in DETAILS if (value := getattr(measurement, name)) not in (None, {})
        },
        "taints": list(measurement.taints),
    }
