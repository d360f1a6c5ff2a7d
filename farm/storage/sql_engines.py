"""Engines, runs and measurements in SQL."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, false, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from farm.domain.benchmarks import LatencySummary, Measurement
from farm.domain.digests import Digest, digest_of_json
from farm.domain.errors import NotFoundError
from farm.domain.filing import Engine, HistoryEntry, Run
from farm.storage.columns import DatabaseNow
from farm.storage.engine_rows import engine_from_row, measurement_from_row, run_from_row, signature_values
from farm.storage.rows import portions
from farm.storage.sql_artifacts import note_artifact, noted, noting
from farm.storage.tables import (
    artifacts,
    attempts,
    engines,
    jobs,
    measurements,
    model_names,
    runs,
    signing_keys,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from farm.domain.specs import BuildSpec
    from farm.domain.work import Attempt, AttemptOutcome, Job


class SqlEngineFiles:
    """Implements `EngineFiles`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, spec: BuildSpec) -> Engine | None:
        """The engine under a key."""
        found = self._engines(engines.c.spec_sha256 == spec.digest.sha256, engines.c.retired_at.is_(None))
        return found[0] if found else None

    def find_all(self, specs: Sequence[BuildSpec]) -> dict[str, Engine]:
        """The engines under some keys, by the digest of the spec."""
        found: dict[str, Engine] = {}
        for some in portions([spec.digest.sha256 for spec in specs]):
            engines_ = self._engines(engines.c.spec_sha256.in_(some), engines.c.retired_at.is_(None))
            found |= {engine.spec.digest.sha256: engine for engine in engines_}
        return found

    def get(self, engine_id: int) -> Engine:
        """An engine by its number.

        Raises:
            NotFoundError: there is none.
        """
        found = self._engines(engines.c.id == engine_id)
        if not found:
            raise NotFoundError(f"there is no engine {engine_id}")
        return found[0]

    def engines(self, *, model_sha256: str | None = None, with_retired: bool = False) -> list[Engine]:
        """Engines with their runs, oldest first; retired ones on request."""
        return self._engines(
            *([] if model_sha256 is None else [engines.c.model_sha256 == model_sha256]),
            *([] if with_retired else [engines.c.retired_at.is_(None)]),
        )

    def file(self, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> int:
        """Files what an attempt made; the engine's number.

        The unique key on the spec makes the first one the winner; an engine that is filed already
        keeps its bytes, and only the run is added. One without a signature that counts gives way to one with,
        and one that was retired to any.
        """
        filed: int | None = None
        if outcome.engine is not None:
            # What the key says, and what it does not.
            keyed: dict[str, Any] = {
                "spec_sha256": job.spec.digest.sha256,
                "spec": job.spec.as_json(),
                "model_sha256": job.spec.model_sha256,
                "precision": job.spec.precision,
            }
            made: dict[str, Any] = {
                "artifact_sha256": outcome.engine.sha256,
                "job_id": job.id,
                "attempt_id": attempt.id,
                "build_s": outcome.seconds.get("build", 0.0),
                "precision_note": outcome.build.get("precision_note", ""),
                "device_memory_bytes": outcome.build.get("device_memory_bytes", 0),
                "layers": outcome.build.get("layers", 0),
                "details": outcome.build.get("details", {}),
                "unverified_reason": outcome.unverified_reason,
                **signature_values(outcome.signed),
                "retired_at": None,
            }
            values = {**keyed, **made, "of_job": job.id}
            filed = self._file_once(outcome.engine, values)
            if filed is None:
                # One that nobody would hand out any more gives way; its runs stay.
                gives_way = or_(
                    engines.c.retired_at.is_not(None), _is_unsigned() if outcome.signed else false()
                )
                self._connection.execute(
                    update(engines)
                    .where(engines.c.spec_sha256 == job.spec.digest.sha256, gives_way)
                    .values(**made, created_at=DatabaseNow())
                )
        if filed is None:
            of_spec = {"of_spec": job.spec.digest.sha256}
            filed = self._connection.execute(_finding(), of_spec).scalar_one_or_none()
        if filed is None:
            raise NotFoundError(f"job {job.id} measured an engine that is not filed")
        if outcome.accuracy is not None or outcome.measurements:
            self._file_run(filed, job, attempt, outcome)
        return filed

    def history(self, *, name: str, since: datetime | None, include_tainted: bool) -> list[HistoryEntry]:
        """Measurements of every version of a name, newest last."""
        query = select(model_names).where(model_names.c.name == name).order_by(model_names.c.version)
        found: list[HistoryEntry] = []
        seen: set[str] = set()
        for version in self._connection.execute(query):
            # A name that returned to an earlier model has its measurements under the first version.
            if version.model_sha256 in seen:
                continue
            seen.add(version.model_sha256)
            for engine in self.engines(model_sha256=version.model_sha256, with_retired=True):
                found += [
                    HistoryEntry(name, version.version, engine, run, measurement)
                    for run in engine.runs
                    if (since is None or run.started_at >= since) and (include_tainted or not run.taints)
                    for measurement in run.measurements
                ]
        return sorted(found, key=lambda entry: (entry.run.started_at, entry.run.id, entry.measurement.batch))

    def artifact(self, sha256: str) -> Digest:
        """The whole digest of an artifact that was noted.

        Raises:
            NotFoundError: nobody noted it.
        """
        query = select(artifacts.c.size_bytes).where(artifacts.c.sha256 == sha256)
        size = self._connection.execute(query).scalar_one_or_none()
        if size is None:
            raise NotFoundError(f"no artifact {sha256[:12]} is filed")
        return Digest(sha256, size)

    def add_artifact(self, digest: Digest, kind: str) -> None:
        """Notes what an artifact of the store is."""
        note_artifact(self._connection, digest, kind)

    def _file_once(self, digest: Digest, values: dict[str, Any]) -> int | None:
        """Notes the artifact and files the engine, in one statement where the database knows such."""
        name = self._connection.dialect.name
        statement = _filing(name)
        if name == "postgresql":
            values = values | noted(digest, "engine")
        else:
            self.add_artifact(digest, "engine")
        return self._connection.execute(statement, values).scalar_one_or_none()

    def _file_run(self, engine_id: int, job: Job, attempt: Attempt, outcome: AttemptOutcome) -> None:
        if outcome.samples is not None:
            self.add_artifact(outcome.samples, "samples")
        run_id = self._connection.execute(
            insert(runs)
            .values(
                engine_id=engine_id,
                attempt_id=attempt.id,
                device_uuid=attempt.device_uuid,
                driver_version=attempt.driver_version,
                host=attempt.host,
                started_at=self._measuring_began(attempt),
                accuracy=outcome.accuracy,
                samples_sha256=outcome.samples.sha256 if outcome.samples else None,
                benchmark={
                    **job.request.benchmark.as_json(),
                    "inputs_sha256": job.request.verification.inputs_sha256,
                },
                environment=dict(outcome.environment),
                taints=[],
            )
            .returning(runs.c.id)
        ).scalar_one()
        rows = [_measurement_values(run_id, Measurement.from_json(value)) for value in outcome.measurements]
        if rows:
            self._connection.execute(insert(measurements), rows)

    def _measuring_began(self, attempt: Attempt) -> Any:
        """When the measuring began: the end of what came before it, as far as anybody reported it."""
        row = self._connection.execute(select(attempts).where(attempts.c.id == attempt.id)).one()
        return row.verified_at or row.built_at or row.started_at or row.claimed_at

    def _engines(self, *conditions: Any) -> list[Engine]:
        query = (
            select(engines, artifacts.c.size_bytes, signing_keys.c.revoked_at.label("key_revoked_at"))
            .join(artifacts, artifacts.c.sha256 == engines.c.artifact_sha256)
            .outerjoin(signing_keys, signing_keys.c.id == engines.c.signing_key)
            .where(*conditions)
            .order_by(engines.c.id)
        )
        rows = self._connection.execute(query).all()
        of_engine = self._runs([row.id for row in rows])
        return [engine_from_row(row, tuple(of_engine.get(row.id, ()))) for row in rows]

    def _runs(self, engine_ids: Sequence[int]) -> dict[int, list[Run]]:
        if not engine_ids:
            return {}
        query = (
            select(runs, artifacts.c.size_bytes.label("samples_size_bytes"))
            .outerjoin(artifacts, artifacts.c.sha256 == runs.c.samples_sha256)
            .where(runs.c.engine_id.in_(engine_ids))
            .order_by(runs.c.id)
        )
        rows = self._connection.execute(query).all()
        of_run: dict[int, list[Measurement]] = {}
        wanted = select(measurements).where(measurements.c.run_id.in_([row.id for row in rows]))
        for row in self._connection.execute(wanted.order_by(measurements.c.id)):
            of_run.setdefault(row.run_id, []).append(measurement_from_row(row))
        found: dict[int, list[Run]] = {}
        for row in rows:
            found.setdefault(row.engine_id, []).append(run_from_row(row, tuple(of_run.get(row.id, ()))))
        return found


@cache
def _filing(dialect_name: str) -> Any:
    """Files an engine for the target of its job, unless one is there under its key; answered by its number."""
    dialect: Any = postgresql if dialect_name == "postgresql" else sqlite
    of_job = {
        name: select(jobs.c[name]).where(jobs.c.id == bindparam("of_job")).scalar_subquery()
        for name in ("device_type_id", "toolchain_id")
    }
    statement = dialect.insert(engines).values(**of_job, created_at=DatabaseNow())
    filing = statement.on_conflict_do_nothing().returning(engines.c.id)
    return filing.add_cte(noting(dialect_name).cte("noted")) if dialect_name == "postgresql" else filing


@cache
def _finding() -> Select[Any]:
    """The number of the engine that is handed out under a key."""
    return select(engines.c.id).where(
        engines.c.spec_sha256 == bindparam("of_spec"), engines.c.retired_at.is_(None)
    )


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
        "method": "cuda-graph" if measurement.graph else "plain",
        "iterations": measurement.compute.count,
        **figures("compute", measurement.compute),
        **figures("latency", measurement.latency),
        **figures("h2d", measurement.h2d),
        **figures("d2h", measurement.d2h),
        "throughput_per_s": measurement.throughput_per_s,
    }
