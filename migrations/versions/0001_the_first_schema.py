"""The first schema.

Revision: 0001, the first one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JSON_DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Moves the schema up."""
    op.create_table(
        "artifacts",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("ck_artifacts_size_not_negative")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_artifacts")),
    )
    op.create_table(
        "device_types",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("identity_sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("product_name", sa.Text(), nullable=False),
        sa.Column("compute_capability", sa.Text(), nullable=False),
        sa.Column("units", sa.Integer(), nullable=False),
        sa.Column("memory_gib", sa.Integer(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('gpu', 'cpu', 'compute-capability')", name=op.f("ck_device_types_kind_known")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_types")),
        sa.UniqueConstraint("identity_sha256", name=op.f("uq_device_types_identity_sha256")),
        sa.UniqueConstraint("slug", name=op.f("uq_device_types_slug")),
    )
    op.create_table(
        "models",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", JSON_DOCUMENT, nullable=False),
        sa.Column("inputs", JSON_DOCUMENT, nullable=False),
        sa.Column("outputs", JSON_DOCUMENT, nullable=False),
        sa.Column("operators", JSON_DOCUMENT, nullable=False),
        sa.Column("opset", sa.Integer(), nullable=False),
        sa.Column("ir_version", sa.Integer(), nullable=False),
        sa.Column("producer", sa.Text(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_models")),
    )
    op.create_table(
        "toolchains",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("description", JSON_DOCUMENT, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_toolchains")),
        sa.UniqueConstraint("name", "version", "variant", name=op.f("uq_toolchains_name_version_variant")),
    )
    op.create_table(
        "devices",
        sa.Column("uuid", sa.Text(), nullable=False),
        sa.Column("device_type_id", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("driver_version", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_type_id"], ["device_types.id"], name=op.f("fk_devices_device_type_id_device_types")
        ),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_devices")),
    )
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_devices_device_type_id"), ["device_type_id"], unique=False)

    op.create_table(
        "jobs",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("spec_sha256", sa.String(length=64), nullable=False),
        sa.Column("dedup_sha256", sa.String(length=64), nullable=False),
        sa.Column("spec", JSON_DOCUMENT, nullable=False),
        sa.Column("request", JSON_DOCUMENT, nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("device_type_id", sa.Integer(), nullable=False),
        sa.Column("toolchain_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker_id", sa.Text(), server_default="", nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure_class", sa.String(length=16), server_default="", nullable=False),
        sa.Column("failure_code", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_message", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_hint", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_phase", sa.String(length=16), server_default="", nullable=False),
        sa.CheckConstraint(
            "(state = 'RUNNING') = (lease_until IS NOT NULL)", name=op.f("ck_jobs_lease_while_running")
        ),
        sa.CheckConstraint(
            "(state IN ('SUCCEEDED', 'FAILED', 'CANCELLED')) = (finished_at IS NOT NULL)",
            name=op.f("ck_jobs_finished_when_terminal"),
        ),
        sa.CheckConstraint(
            "failure_class IN ('request', 'refused', 'transient', 'poison', 'corrupt') OR failure_class = ''",
            name=op.f("ck_jobs_failure_class_known"),
        ),
        sa.CheckConstraint("kind IN ('build', 'benchmark')", name=op.f("ck_jobs_kind_known")),
        sa.CheckConstraint(
            "state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')",
            name=op.f("ck_jobs_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["device_type_id"], ["device_types.id"], name=op.f("fk_jobs_device_type_id_device_types")
        ),
        sa.ForeignKeyConstraint(
            ["model_sha256"], ["models.sha256"], name=op.f("fk_jobs_model_sha256_models")
        ),
        sa.ForeignKeyConstraint(
            ["toolchain_id"], ["toolchains.id"], name=op.f("fk_jobs_toolchain_id_toolchains")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_jobs_device_type_id"), ["device_type_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_model_sha256"), ["model_sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_spec_sha256"), ["spec_sha256"], unique=False)
        batch_op.create_index("ix_jobs_state_not_before", ["state", "not_before"], unique=False)
        batch_op.create_index(batch_op.f("ix_jobs_toolchain_id"), ["toolchain_id"], unique=False)
        batch_op.create_index(
            "uq_jobs_one_live_job_per_key",
            ["dedup_sha256"],
            unique=True,
            sqlite_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
            postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
        )

    op.create_table(
        "model_names",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_model_names_version_from_one")),
        sa.ForeignKeyConstraint(
            ["model_sha256"], ["models.sha256"], name=op.f("fk_model_names_model_sha256_models")
        ),
        sa.PrimaryKeyConstraint("name", "version", name=op.f("pk_model_names")),
    )
    with op.batch_alter_table("model_names", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_names_model_sha256"), ["model_sha256"], unique=False)

    op.create_table(
        "submissions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("tags", JSON_DOCUMENT, nullable=False),
        sa.Column("request", JSON_DOCUMENT, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["model_sha256"], ["models.sha256"], name=op.f("fk_submissions_model_sha256_models")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
    )
    with op.batch_alter_table("submissions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_submissions_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_submissions_model_sha256"), ["model_sha256"], unique=False)

    op.create_table(
        "targets",
        sa.Column("device_type_id", sa.Integer(), nullable=False),
        sa.Column("toolchain_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_type_id"], ["device_types.id"], name=op.f("fk_targets_device_type_id_device_types")
        ),
        sa.ForeignKeyConstraint(
            ["toolchain_id"], ["toolchains.id"], name=op.f("fk_targets_toolchain_id_toolchains")
        ),
        sa.PrimaryKeyConstraint("device_type_id", "toolchain_id", name=op.f("pk_targets")),
    )
    with op.batch_alter_table("targets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_targets_toolchain_id"), ["toolchain_id"], unique=False)

    op.create_table(
        "timing_caches",
        sa.Column("device_type_id", sa.Integer(), nullable=False),
        sa.Column("toolchain_id", sa.Integer(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_sha256"], ["artifacts.sha256"], name=op.f("fk_timing_caches_artifact_sha256_artifacts")
        ),
        sa.ForeignKeyConstraint(
            ["device_type_id"], ["device_types.id"], name=op.f("fk_timing_caches_device_type_id_device_types")
        ),
        sa.ForeignKeyConstraint(
            ["toolchain_id"], ["toolchains.id"], name=op.f("fk_timing_caches_toolchain_id_toolchains")
        ),
        sa.PrimaryKeyConstraint("device_type_id", "toolchain_id", "flags", name=op.f("pk_timing_caches")),
    )
    with op.batch_alter_table("timing_caches", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_timing_caches_toolchain_id"), ["toolchain_id"], unique=False)

    op.create_table(
        "attempts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("device_uuid", sa.Text(), nullable=False),
        sa.Column("driver_version", sa.Text(), nullable=False),
        sa.Column("phase", sa.String(length=16), server_default="", nullable=False),
        sa.Column("phase_fraction", sa.Float(), nullable=True),
        sa.Column("phase_message", sa.Text(), server_default="", nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("built_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_crash", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("log_sha256", sa.String(length=64), nullable=True),
        sa.Column("seconds", JSON_DOCUMENT, nullable=False),
        sa.Column("environment", JSON_DOCUMENT, nullable=False),
        sa.Column("failure_class", sa.String(length=16), server_default="", nullable=False),
        sa.Column("failure_code", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_message", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_hint", sa.Text(), server_default="", nullable=False),
        sa.Column("failure_phase", sa.String(length=16), server_default="", nullable=False),
        sa.CheckConstraint(
            "(state = 'RUNNING') = (finished_at IS NULL)", name=op.f("ck_attempts_finished_when_terminal")
        ),
        sa.CheckConstraint(
            "failure_class IN ('request', 'refused', 'transient', 'poison', 'corrupt') OR failure_class = ''",
            name=op.f("ck_attempts_failure_class_known"),
        ),
        sa.CheckConstraint(
            "state IN ('RUNNING', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'LOST', 'CANCELLED')",
            name=op.f("ck_attempts_state_known"),
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_attempts_number_from_one")),
        sa.ForeignKeyConstraint(
            ["device_uuid"], ["devices.uuid"], name=op.f("fk_attempts_device_uuid_devices")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id_jobs")),
        sa.ForeignKeyConstraint(
            ["log_sha256"], ["artifacts.sha256"], name=op.f("fk_attempts_log_sha256_artifacts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_attempts_job_id_number")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_attempts_log_sha256"), ["log_sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_attempts_worker_id"), ["worker_id"], unique=False)

    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("device_uuid", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["device_uuid"], ["devices.uuid"], name=op.f("fk_workers_device_uuid_devices")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_workers_device_uuid"), ["device_uuid"], unique=False)

    op.create_table(
        "engines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("spec_sha256", sa.String(length=64), nullable=False),
        sa.Column("spec", JSON_DOCUMENT, nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("device_type_id", sa.Integer(), nullable=False),
        sa.Column("toolchain_id", sa.Integer(), nullable=False),
        sa.Column("precision", sa.String(length=32), nullable=False),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("build_s", sa.Float(), nullable=False),
        sa.Column("precision_note", sa.Text(), nullable=False),
        sa.Column("device_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("layers", sa.Integer(), nullable=False),
        sa.Column("details", JSON_DOCUMENT, nullable=False),
        sa.Column("unverified_reason", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_sha256"], ["artifacts.sha256"], name=op.f("fk_engines_artifact_sha256_artifacts")
        ),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_engines_attempt_id_attempts")),
        sa.ForeignKeyConstraint(
            ["device_type_id"], ["device_types.id"], name=op.f("fk_engines_device_type_id_device_types")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_engines_job_id_jobs")),
        sa.ForeignKeyConstraint(
            ["model_sha256"], ["models.sha256"], name=op.f("fk_engines_model_sha256_models")
        ),
        sa.ForeignKeyConstraint(
            ["toolchain_id"], ["toolchains.id"], name=op.f("fk_engines_toolchain_id_toolchains")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engines")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_engines_attempt_id")),
        sa.UniqueConstraint("spec_sha256", name=op.f("uq_engines_spec_sha256")),
    )
    with op.batch_alter_table("engines", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_engines_artifact_sha256"), ["artifact_sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_engines_device_type_id"), ["device_type_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_engines_model_sha256"), ["model_sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_engines_toolchain_id"), ["toolchain_id"], unique=False)

    op.create_table(
        "log_chunks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"],
            ["attempts.id"],
            name=op.f("fk_log_chunks_attempt_id_attempts"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_chunks")),
    )
    with op.batch_alter_table("log_chunks", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_log_chunks_attempt_id"), ["attempt_id"], unique=False)

    op.create_table(
        "worker_targets",
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("device_type_id", sa.Integer(), nullable=False),
        sa.Column("toolchain_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device_type_id"],
            ["device_types.id"],
            name=op.f("fk_worker_targets_device_type_id_device_types"),
        ),
        sa.ForeignKeyConstraint(
            ["toolchain_id"], ["toolchains.id"], name=op.f("fk_worker_targets_toolchain_id_toolchains")
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"], ["workers.id"], name=op.f("fk_worker_targets_worker_id_workers")
        ),
        sa.PrimaryKeyConstraint(
            "worker_id", "device_type_id", "toolchain_id", name=op.f("pk_worker_targets")
        ),
    )
    with op.batch_alter_table("worker_targets", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_worker_targets_device_type_id"), ["device_type_id"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_worker_targets_toolchain_id"), ["toolchain_id"], unique=False)

    op.create_table(
        "cells",
        sa.Column("submission_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("spec_sha256", sa.String(length=64), nullable=False),
        sa.Column("spec", JSON_DOCUMENT, nullable=False),
        sa.Column("disposition", sa.String(length=16), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=True),
        sa.Column("engine_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "disposition IN ('built', 'shared', 'queued')", name=op.f("ck_cells_disposition_known")
        ),
        sa.CheckConstraint("job_id IS NOT NULL OR engine_id IS NOT NULL", name=op.f("ck_cells_answered")),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_cells_engine_id_engines")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_cells_job_id_jobs")),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_cells_submission_id_submissions")
        ),
        sa.PrimaryKeyConstraint("submission_id", "position", name=op.f("pk_cells")),
    )
    with op.batch_alter_table("cells", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cells_job_id"), ["job_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_cells_spec_sha256"), ["spec_sha256"], unique=False)

    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("engine_id", sa.Integer(), nullable=False),
        sa.Column("attempt_id", sa.Integer(), nullable=False),
        sa.Column("device_uuid", sa.Text(), nullable=False),
        sa.Column("driver_version", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accuracy", JSON_DOCUMENT, nullable=True),
        sa.Column("samples_sha256", sa.String(length=64), nullable=True),
        sa.Column("benchmark", JSON_DOCUMENT, nullable=False),
        sa.Column("environment", JSON_DOCUMENT, nullable=False),
        sa.Column("taints", JSON_DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_runs_attempt_id_attempts")),
        sa.ForeignKeyConstraint(["device_uuid"], ["devices.uuid"], name=op.f("fk_runs_device_uuid_devices")),
        sa.ForeignKeyConstraint(["engine_id"], ["engines.id"], name=op.f("fk_runs_engine_id_engines")),
        sa.ForeignKeyConstraint(
            ["samples_sha256"], ["artifacts.sha256"], name=op.f("fk_runs_samples_sha256_artifacts")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_runs_attempt_id")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_runs_engine_id"), ["engine_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_started_at"), ["started_at"], unique=False)

    op.create_table(
        "measurements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("shapes", JSON_DOCUMENT, nullable=False),
        sa.Column("shapes_sha256", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=32), nullable=False),
        sa.Column("iterations", sa.Integer(), nullable=False),
        sa.Column("compute_median_ms", sa.Float(), nullable=False),
        sa.Column("compute_mean_ms", sa.Float(), nullable=False),
        sa.Column("compute_min_ms", sa.Float(), nullable=False),
        sa.Column("compute_max_ms", sa.Float(), nullable=False),
        sa.Column("compute_p90_ms", sa.Float(), nullable=False),
        sa.Column("compute_p95_ms", sa.Float(), nullable=False),
        sa.Column("compute_p99_ms", sa.Float(), nullable=False),
        sa.Column("compute_std_ms", sa.Float(), nullable=False),
        sa.Column("latency_median_ms", sa.Float(), nullable=False),
        sa.Column("latency_mean_ms", sa.Float(), nullable=False),
        sa.Column("latency_min_ms", sa.Float(), nullable=False),
        sa.Column("latency_max_ms", sa.Float(), nullable=False),
        sa.Column("latency_p90_ms", sa.Float(), nullable=False),
        sa.Column("latency_p95_ms", sa.Float(), nullable=False),
        sa.Column("latency_p99_ms", sa.Float(), nullable=False),
        sa.Column("latency_std_ms", sa.Float(), nullable=False),
        sa.Column("h2d_median_ms", sa.Float(), nullable=True),
        sa.Column("h2d_mean_ms", sa.Float(), nullable=True),
        sa.Column("h2d_min_ms", sa.Float(), nullable=True),
        sa.Column("h2d_max_ms", sa.Float(), nullable=True),
        sa.Column("h2d_p90_ms", sa.Float(), nullable=True),
        sa.Column("h2d_p95_ms", sa.Float(), nullable=True),
        sa.Column("h2d_p99_ms", sa.Float(), nullable=True),
        sa.Column("h2d_std_ms", sa.Float(), nullable=True),
        sa.Column("d2h_median_ms", sa.Float(), nullable=True),
        sa.Column("d2h_mean_ms", sa.Float(), nullable=True),
        sa.Column("d2h_min_ms", sa.Float(), nullable=True),
        sa.Column("d2h_max_ms", sa.Float(), nullable=True),
        sa.Column("d2h_p90_ms", sa.Float(), nullable=True),
        sa.Column("d2h_p95_ms", sa.Float(), nullable=True),
        sa.Column("d2h_p99_ms", sa.Float(), nullable=True),
        sa.Column("d2h_std_ms", sa.Float(), nullable=True),
        sa.Column("throughput_per_s", sa.Float(), nullable=False),
        sa.CheckConstraint("iterations >= 1", name=op.f("ck_measurements_iterated")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_measurements_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measurements")),
        sa.UniqueConstraint(
            "run_id", "shapes_sha256", "method", name=op.f("uq_measurements_run_id_shapes_sha256_method")
        ),
    )


def downgrade() -> None:
    """Moves it back."""
    op.drop_table("measurements")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_runs_started_at"))
        batch_op.drop_index(batch_op.f("ix_runs_engine_id"))

    op.drop_table("runs")
    with op.batch_alter_table("cells", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cells_spec_sha256"))
        batch_op.drop_index(batch_op.f("ix_cells_job_id"))

    op.drop_table("cells")
    with op.batch_alter_table("worker_targets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_worker_targets_toolchain_id"))
        batch_op.drop_index(batch_op.f("ix_worker_targets_device_type_id"))

    op.drop_table("worker_targets")
    with op.batch_alter_table("log_chunks", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_log_chunks_attempt_id"))

    op.drop_table("log_chunks")
    with op.batch_alter_table("engines", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_engines_toolchain_id"))
        batch_op.drop_index(batch_op.f("ix_engines_model_sha256"))
        batch_op.drop_index(batch_op.f("ix_engines_device_type_id"))
        batch_op.drop_index(batch_op.f("ix_engines_artifact_sha256"))

    op.drop_table("engines")
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_workers_device_uuid"))

    op.drop_table("workers")
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_attempts_worker_id"))
        batch_op.drop_index(batch_op.f("ix_attempts_log_sha256"))

    op.drop_table("attempts")
    with op.batch_alter_table("timing_caches", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_timing_caches_toolchain_id"))

    op.drop_table("timing_caches")
    with op.batch_alter_table("targets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_targets_toolchain_id"))

    op.drop_table("targets")
    with op.batch_alter_table("submissions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_submissions_model_sha256"))
        batch_op.drop_index(batch_op.f("ix_submissions_created_at"))

    op.drop_table("submissions")
    with op.batch_alter_table("model_names", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_model_names_model_sha256"))

    op.drop_table("model_names")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_jobs_one_live_job_per_key",
            sqlite_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
            postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
        )
        batch_op.drop_index(batch_op.f("ix_jobs_toolchain_id"))
        batch_op.drop_index("ix_jobs_state_not_before")
        batch_op.drop_index(batch_op.f("ix_jobs_spec_sha256"))
        batch_op.drop_index(batch_op.f("ix_jobs_model_sha256"))
        batch_op.drop_index(batch_op.f("ix_jobs_device_type_id"))

    op.drop_table("jobs")
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_devices_device_type_id"))

    op.drop_table("devices")
    op.drop_table("toolchains")
    op.drop_table("models")
    op.drop_table("device_types")
    op.drop_table("artifacts")
