"""The tables; private to storage and migrations.

The schema refuses what the code must never write: one live job per key, one engine per key, one
attempt per number, states that do not exist.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

from farm.domain.jobs import AttemptState, FailureClass, JobKind, JobState
from farm.domain.targets import DeviceKind
from farm.domain.work import Disposition
from farm.storage.columns import AnyText, JsonDocument, UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: type, *, optional: bool = False) -> CheckConstraint:
    names = ", ".join(f"'{member.value}'" for member in values)  # type: ignore[attr-defined]
    extra = f" OR {column} = ''" if optional else ""
    return CheckConstraint(f"{column} IN ({names}){extra}", name=f"{column}_known")


def _failure_columns() -> list[Column[str]]:
    return [
        Column("failure_class", String(16), nullable=False, server_default=""),
        Column("failure_code", AnyText, nullable=False, server_default=""),
        Column("failure_message", AnyText, nullable=False, server_default=""),
        Column("failure_hint", AnyText, nullable=False, server_default=""),
        Column("failure_phase", String(16), nullable=False, server_default=""),
    ]


artifacts = Table(
    "artifacts",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("size_bytes >= 0", name="size_not_negative"),
)

models = Table(
    "models",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("files", JsonDocument, nullable=False),
    Column("inputs", JsonDocument, nullable=False),
    Column("outputs", JsonDocument, nullable=False),
    Column("operators", JsonDocument, nullable=False),
    Column("opset", Integer, nullable=False),
    Column("ir_version", Integer, nullable=False),
    Column("producer", AnyText, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

model_names = Table(
    "model_names",
    metadata,
    Column("name", AnyText, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("model_sha256", ForeignKey("models.sha256"), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    CheckConstraint("version >= 1", name="version_from_one"),
)

device_types = Table(
    "device_types",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("slug", AnyText, nullable=False, unique=True),
    # Of the canonical JSON: two products under one slug stay apart.
    Column("identity_sha256", String(64), nullable=False, unique=True),
    Column("kind", String(24), nullable=False),
    Column("product_name", AnyText, nullable=False),
    Column("compute_capability", AnyText, nullable=False),
    Column("units", Integer, nullable=False),
    Column("memory_gib", Integer, nullable=False),
    Column("variant", AnyText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    _one_of("kind", DeviceKind),
)

devices = Table(
    "devices",
    metadata,
    Column("uuid", AnyText, primary_key=True),
    Column("device_type_id", ForeignKey("device_types.id"), nullable=False, index=True),
    Column("host", AnyText, nullable=False),
    Column("position", Integer, nullable=False),
    Column("memory_mib", Integer, nullable=False),
    Column("driver_version", AnyText, nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
)

toolchains = Table(
    "toolchains",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("version", AnyText, nullable=False),
    Column("variant", AnyText, nullable=False),
    Column("description", JsonDocument, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("name", "version", "variant"),
)

#: Every pair that some machine has been able to serve.
targets = Table(
    "targets",
    metadata,
    Column("device_type_id", ForeignKey("device_types.id"), primary_key=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), primary_key=True, index=True),
)

workers = Table(
    "workers",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("host", AnyText, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", AnyText, nullable=False),
    Column("device_uuid", ForeignKey("devices.uuid"), nullable=False, index=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("heartbeat_at", UtcDateTime, nullable=False),
    Column("stopped_at", UtcDateTime),
)

worker_targets = Table(
    "worker_targets",
    metadata,
    Column("worker_id", ForeignKey("workers.id"), primary_key=True),
    Column("device_type_id", ForeignKey("device_types.id"), primary_key=True, index=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), primary_key=True, index=True),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("model_name", AnyText, nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("model_sha256", ForeignKey("models.sha256"), nullable=False, index=True),
    Column("user_name", AnyText, nullable=False),
    Column("tags", JsonDocument, nullable=False),
    Column("request", JsonDocument, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
    # When its user cancelled it: what it shares then goes on for the others alone.
    Column("withdrawn_at", UtcDateTime),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("spec_sha256", String(64), nullable=False, index=True),
    # Of kind, spec and (for a benchmark) its shapes: what two users' requests must share to be one job.
    Column("dedup_sha256", String(64), nullable=False),
    Column("spec", JsonDocument, nullable=False),
    Column("request", JsonDocument, nullable=False),
    Column("model_sha256", ForeignKey("models.sha256"), nullable=False, index=True),
    Column("device_type_id", ForeignKey("device_types.id"), nullable=False, index=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), nullable=False, index=True),
    # Of the cell that first asked for it: jobs of one submission are taken in its order.
    Column("position", Integer, nullable=False, server_default="0"),
    # The fencing token: the number of the newest attempt.
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("worker_id", AnyText, nullable=False, server_default=""),
    Column("lease_until", UtcDateTime),
    Column("not_before", UtcDateTime, nullable=False),
    Column("announced_at", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    *_failure_columns(),
    _one_of("kind", JobKind),
    _one_of("state", JobState),
    _one_of("failure_class", FailureClass, optional=True),
    CheckConstraint("(state = 'RUNNING') = (lease_until IS NOT NULL)", name="lease_while_running"),
    CheckConstraint(
        "(state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')) = (finished_at IS NOT NULL)",
        name="finished_when_terminal",
    ),
)
Index(
    "uq_jobs_one_live_job_per_key",
    jobs.c.dedup_sha256,
    unique=True,
    sqlite_where=text("state IN ('QUEUED', 'RUNNING')"),
    postgresql_where=text("state IN ('QUEUED', 'RUNNING')"),
)
Index("ix_jobs_state_not_before", jobs.c.state, jobs.c.not_before)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("worker_id", AnyText, nullable=False, index=True),
    Column("host", AnyText, nullable=False),
    Column("device_uuid", ForeignKey("devices.uuid"), nullable=False),
    Column("driver_version", AnyText, nullable=False),
    Column("phase", String(16), nullable=False, server_default=""),
    Column("phase_fraction", Float),
    Column("phase_message", AnyText, nullable=False, server_default=""),
    Column("queued_at", UtcDateTime, nullable=False),
    Column("claimed_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("built_at", UtcDateTime),
    Column("verified_at", UtcDateTime),
    Column("measured_at", UtcDateTime),
    Column("uploaded_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("is_crash", Boolean, nullable=False, server_default=text("false")),
    Column("log_sha256", ForeignKey("artifacts.sha256"), index=True),
    Column("seconds", JsonDocument, nullable=False),
    Column("environment", JsonDocument, nullable=False),
    *_failure_columns(),
    UniqueConstraint("job_id", "number"),
    _one_of("state", AttemptState),
    _one_of("failure_class", FailureClass, optional=True),
    CheckConstraint("(state = 'RUNNING') = (finished_at IS NULL)", name="finished_when_terminal"),
    CheckConstraint("number >= 1", name="number_from_one"),
)

#: The log of a running attempt, until the whole is kept as an artifact.
log_chunks = Table(
    "log_chunks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("attempt_id", ForeignKey("attempts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("text", AnyText, nullable=False),
)

engines = Table(
    "engines",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("spec_sha256", String(64), nullable=False, unique=True),
    Column("spec", JsonDocument, nullable=False),
    Column("model_sha256", ForeignKey("models.sha256"), nullable=False, index=True),
    Column("device_type_id", ForeignKey("device_types.id"), nullable=False, index=True),
    Column("toolchain_id", ForeignKey("toolchains.id"), nullable=False, index=True),
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
)

#: Cells of a submission: the matrix that it asked for.
cells = Table(
    "cells",
    metadata,
    Column("submission_id", ForeignKey("submissions.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("spec_sha256", String(64), nullable=False, index=True),
    Column("spec", JsonDocument, nullable=False),
    Column("disposition", String(16), nullable=False),
    Column("job_id", ForeignKey("jobs.id"), index=True),
    Column("engine_id", ForeignKey("engines.id")),
    _one_of("disposition", Disposition),
    CheckConstraint("job_id IS NOT NULL OR engine_id IS NOT NULL", name="answered"),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("engine_id", ForeignKey("engines.id"), nullable=False, index=True),
    Column("attempt_id", ForeignKey("attempts.id"), nullable=False, unique=True),
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
)


def _summary_columns(prefix: str, *, optional: bool) -> list[Column[float]]:
    figures = ("median", "mean", "min", "max", "p90", "p95", "p99", "std")
    return [Column(f"{prefix}_{figure}_ms", Float, nullable=optional) for figure in figures]


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
)
