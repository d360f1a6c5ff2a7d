"""Engines, runs and measurements in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from farm.domain.digests import Digest
from farm.domain.errors import NotFoundError
from farm.domain.filing import Engine, HistoryEntry, Run
from farm.storage.engine_rows import engine_from_row, measurement_from_row, run_from_row
from farm.storage.rows import portions
from farm.storage.sql_artifacts import note_artifact
from farm.storage.sql_filing import SqlFiling
from farm.storage.tables import artifacts, engines, measurements, model_names, runs, signing_keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from farm.domain.benchmarks import Measurement
    from farm.domain.specs import BuildSpec

_OF_LAYERS, _OF_PROFILE = artifacts.alias("of_layers"), artifacts.alias("of_profile")
_OF_HISTOGRAM = artifacts.alias("of_histogram")


class SqlEngineFiles(SqlFiling):
    """Implements `EngineFiles`."""

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
                    if (since is None or run.started_at >= since) and (include_tainted or run.is_clean)
                    for measurement in run.measurements
                    if include_tainted or not measurement.taints
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

    def _engines(self, *conditions: Any) -> list[Engine]:
        query = (
            select(
                engines,
                artifacts.c.size_bytes,
                signing_keys.c.revoked_at.label("key_revoked_at"),
                _OF_LAYERS.c.size_bytes.label("layers_size_bytes"),
            )
            .join(artifacts, artifacts.c.sha256 == engines.c.artifact_sha256)
            .outerjoin(_OF_LAYERS, _OF_LAYERS.c.sha256 == engines.c.layers_sha256)
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
            select(
                runs,
                artifacts.c.size_bytes.label("samples_size_bytes"),
                _OF_PROFILE.c.size_bytes.label("profile_size_bytes"),
                _OF_HISTOGRAM.c.size_bytes.label("histogram_size_bytes"),
            )
            .outerjoin(artifacts, artifacts.c.sha256 == runs.c.samples_sha256)
            .outerjoin(_OF_PROFILE, _OF_PROFILE.c.sha256 == runs.c.profile_sha256)
            .outerjoin(_OF_HISTOGRAM, _OF_HISTOGRAM.c.sha256 == runs.c.histogram_sha256)
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
