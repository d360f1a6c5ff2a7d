"""Rows of engines, runs and measurements as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.accuracy import Accuracy
from farm.domain.benchmarks import Measurement
from farm.domain.digests import Digest
from farm.domain.filing import Engine, Run
from farm.domain.latencies import LatencySummary
from farm.domain.manifests import SignedManifest
from farm.domain.methods import Method
from farm.domain.specs import BuildSpec

if TYPE_CHECKING:
    from sqlalchemy import Row

#: What a measurement keeps in its document.
DETAILS = ("settled", "drift_percent", "warmup_s", "blocks", "conditions")


def engine_from_row(row: Row[Any], runs: tuple[Run, ...]) -> Engine:
    """A row of `engines` with the sizes of its artifacts, and the end of its key, beside it."""
    return Engine(
        id=row.id,
        spec=BuildSpec.from_json(row.spec),
        digest=Digest(row.artifact_sha256, row.size_bytes),
        build_s=row.build_s,
        precision_note=row.precision_note,
        device_memory_bytes=row.device_memory_bytes,
        layers=row.layers,
        unverified_reason=row.unverified_reason,
        job_id=row.job_id,
        created_at=row.created_at,
        runs=runs,
        signed=_signed(row),
        is_key_revoked=row.key_revoked_at is not None,
        pinned_at=row.pinned_at,
        pin_reason=row.pin_reason,
        retired_at=row.retired_at,
        details=row.details,
        layer_information=Digest(row.layers_sha256, row.layers_size_bytes) if row.layers_sha256 else None,
    )


def _signed(row: Row[Any]) -> SignedManifest | None:
    if not row.signature:
        return None
    # What is no document at all is an empty one: no signature holds for it.
    manifest = row.manifest if isinstance(row.manifest, dict) else {}
    return SignedManifest(manifest, row.signature, row.signing_key)


def signature_values(signed: SignedManifest | None) -> dict[str, Any]:
    """The columns of a signed manifest; empty ones for none."""
    return {
        "manifest": dict(signed.manifest) if signed else None,
        "signature": signed.signature if signed else "",
        "signing_key": signed.signing_key if signed else "",
    }


def run_from_row(row: Row[Any], measurements: tuple[Measurement, ...]) -> Run:
    """A row of `runs` with the sizes of its samples and its profile beside it."""
    return Run(
        id=row.id,
        engine_id=row.engine_id,
        device_uuid=row.device_uuid,
        driver_version=row.driver_version,
        host=row.host,
        started_at=row.started_at,
        accuracy=Accuracy.from_json(row.accuracy) if row.accuracy else None,
        measurements=measurements,
        samples=Digest(row.samples_sha256, row.samples_size_bytes) if row.samples_sha256 else None,
        inputs_sha256=row.benchmark.get("inputs_sha256", ""),
        taints=tuple(row.taints),
        profile=Digest(row.profile_sha256, row.profile_size_bytes) if row.profile_sha256 else None,
        nsys_sha256=row.benchmark.get("nsys_sha256", ""),
        engine_sha256=row.benchmark.get("engine_sha256", ""),
        verified_with=row.benchmark.get("verified_with", {}),
        startup=row.startup or {},
        comparison=row.comparison or {},
        suspect=row.suspect,
        attempt_id=row.attempt_id,
        histogram=Digest(row.histogram_sha256, row.histogram_size_bytes) if row.histogram_sha256 else None,
    )


def measurement_from_row(row: Row[Any]) -> Measurement:
    """A row of `measurements`."""

    def summary(prefix: str) -> LatencySummary | None:
        if getattr(row, f"{prefix}_median_ms") is None:
            return None
        names = ("median", "mean", "min", "max", "p90", "p95", "p99", "std")
        figures = {f"{name}_ms": getattr(row, f"{prefix}_{name}_ms") for name in names}
        return LatencySummary(**figures, count=row.iterations)

    compute, latency = summary("compute"), summary("latency")
    assert compute is not None  # noqa: S101 - the columns are not nullable
    assert latency is not None  # noqa: S101
    return Measurement(
        batch=row.batch,
        shapes={name: tuple(shape) for name, shape in row.shapes.items()},
        compute=compute,
        latency=latency,
        throughput_per_s=row.throughput_per_s,
        h2d=summary("h2d"),
        d2h=summary("d2h"),
        interval_ms=(row.interval_low_ms, row.interval_high_ms) if row.interval_low_ms is not None else None,
        taints=tuple(row.taints),
        **vars(Method.from_name(row.method)),
        **{name: value for name, value in (row.details or {}).items() if name in DETAILS},
    )
