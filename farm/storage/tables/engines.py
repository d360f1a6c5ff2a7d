"""What was made, and how fast it is."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from farm.storage.columns import AnyText, JsonDocument, UtcDateTime
from farm.storage.tables.columns_of_all import metadata

engines = Table(
    "engines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("spec_sha256", String(64), nullable=False, unique=True),
    Column("spec", JsonDocument, nullable=False),
    Column("model_sha256", ForeignKey("models.sha256"), nullable=False, index=True),
    Column("device_type_id", ForeignKey("device_types.id"), nullable=False),
    Column("toolchain_id", ForeignKey("toolchains.id"), nullable=False),
    Column("precision", String(32), nullable=False),
    Column("artifact_sha256", ForeignKey("artifacts.sha256"), nullable=False, index=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("attempt_id", ForeignKey("attempts.id"), nullable=False, unique=True),
    Column("build_s", Float, nullable=False),
    Column("precision_note", AnyText, nullable=False),
    Column("device_memory_bytes", BigInteger, nullable=False),
    Column("layers", Integer, nullable=False),
    Column("details", JsonDocument, nullable=False),
    Column("unverified_reason", AnyText, nullable=False, server_default=""),
    Column("created_at", UtcDateTime, nullable=False),
    # What the worker that built it signed: key, digests, toolchain, attempt.
    Column("manifest", JsonDocument),
    Column("signature", AnyText, nullable=False, server_default=""),
    Column("signing_key", String(64), nullable=False, server_default=""),
    # Kept by garbage collection, and why.
    Column("pinned_at", UtcDateTime),
    Column("pin_reason", AnyText, nullable=False, server_default=""),
    # Its bytes are gone; its measurements stay.
    Column("retired_at", UtcDateTime),
    # What the engine told of its layers, as its inspector gave it.
    Column("layers_sha256", ForeignKey("artifacts.sha256")),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("engine_id", ForeignKey("engines.id"), nullable=False, index=True),
    Column("attempt_id", ForeignKey("attempts.id"), nullable=False),
    # Of an attempt: a run that was disturbed is made again.
    Column("number", Integer, nullable=False, server_default="1"),
    Column("device_uuid", ForeignKey("devices.uuid"), nullable=False),
    Column("driver_version", AnyText, nullable=False),
    Column("host", AnyText, nullable=False),
    Column("started_at", UtcDateTime, nullable=False, index=True),
    Column("accuracy", JsonDocument),
    Column("samples_sha256", ForeignKey("artifacts.sha256")),
    Column("benchmark", JsonDocument, nullable=False),
    Column("environment", JsonDocument, nullable=False),
    # Reasons that keep the run out of history by default; an empty list for a clean one.
    Column("taints", JsonDocument, nullable=False),
    # Time by layer, where it was asked for.
    Column("profile_sha256", ForeignKey("artifacts.sha256")),
    # From the engine's file to its first answer, and the memory at each step.
    Column("startup", JsonDocument),
    # Held against another engine, block by block.
    Column("comparison", JsonDocument),
    # Why its device is not trusted; empty for one whose canaries are well.
    Column("suspect", AnyText, nullable=False, server_default=""),
    # How the errors of its outputs are spread.
    Column("histogram_sha256", ForeignKey("artifacts.sha256")),
    UniqueConstraint("attempt_id", "number"),
)

_FIGURES = ("median", "mean", "min", "max", "p90", "p95", "p99", "std")
#: There are none of too few samples.
_PERCENTILES = ("p90", "p95", "p99")


def _summary_columns(prefix: str, *, optional: bool) -> list[Column[float]]:
    return [
        Column(f"{prefix}_{figure}_ms", Float, nullable=optional or figure in _PERCENTILES)
        for figure in _FIGURES
    ]


measurements = Table(
    "measurements",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("batch", Integer, nullable=False),
    Column("shapes", JsonDocument, nullable=False),
    Column("shapes_sha256", String(64), nullable=False),
    # How it was launched and timed; new ways get a name of their own.
    Column("method", String(32), nullable=False),
    Column("iterations", Integer, nullable=False),
    *_summary_columns("compute", optional=False),
    *_summary_columns("latency", optional=False),
    *_summary_columns("h2d", optional=True),
    *_summary_columns("d2h", optional=True),
    Column("throughput_per_s", Float, nullable=False),
    # Of the median of compute, at 95 %.
    Column("interval_low_ms", Float),
    Column("interval_high_ms", Float),
    # Whether it settled, and the clocks, power and temperature behind it.
    Column("details", JsonDocument),
    # Reasons that keep the figure out of history by default, beside those of its run.
    Column("taints", JsonDocument, nullable=False, server_default="[]"),
    UniqueConstraint("run_id", "shapes_sha256", "method"),
    CheckConstraint("iterations >= 1", name="iterated"),
)

timing_caches = Table(
    "timing_caches",
    metadata,
    Column("device_type_id", ForeignKey("device_types.id"), primary_key=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), primary_key=True, index=True),
    Column("flags", AnyText, primary_key=True),
    Column("artifact_sha256", ForeignKey("artifacts.sha256"), nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # How often it was lent to a build and merged with what a build came back with, and what that saved.
    Column("lent", Integer, nullable=False, server_default="0"),
    Column("merged", Integer, nullable=False, server_default="0"),
    Column("saved_s", Float, nullable=False, server_default="0"),
)

calibration_caches = Table(
    "calibration_caches",
    metadata,
    Column("model_sha256", ForeignKey("models.sha256"), primary_key=True),
    # Of the canonical JSON of the samples, their number and their batch.
    Column("calibration_sha256", String(64), primary_key=True),
    Column("algorithm", String(32), primary_key=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), primary_key=True),
    Column("artifact_sha256", ForeignKey("artifacts.sha256"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("lent", Integer, nullable=False, server_default="0"),
)

#: A fixed engine of a device, timed now and then: a device that drifts is not trusted.
canaries = Table(
    "canaries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("device_uuid", ForeignKey("devices.uuid"), nullable=False, index=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), nullable=False),
    Column("artifact_sha256", ForeignKey("artifacts.sha256"), nullable=False),
    Column("host", AnyText, nullable=False),
    Column("driver_version", AnyText, nullable=False),
    Column("worker_id", AnyText, nullable=False),
    Column("measured_at", UtcDateTime, nullable=False),
    Column("median_ms", Float, nullable=False),
    Column("interval_low_ms", Float),
    Column("interval_high_ms", Float),
    Column("conditions", JsonDocument),
    Column("verdict", String(16), nullable=False),
    Column("reason", AnyText, nullable=False, server_default=""),
)

#: What models compute from some inputs, kept for all hosts.
stored_references = Table(
    "stored_references",
    metadata,
    Column("key_sha256", String(64), primary_key=True),
    Column("model_sha256", ForeignKey("models.sha256"), nullable=False, index=True),
    Column("artifact_sha256", ForeignKey("artifacts.sha256"), nullable=False),
    Column("name", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
