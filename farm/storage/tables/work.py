"""What was asked for, and what became of it."""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
    text,
)

from farm.domain.jobs import AttemptState, FailureClass, JobKind, JobState
from farm.domain.work import Disposition
from farm.storage.columns import AnyText, JsonDocument, UtcDateTime
from farm.storage.tables.columns_of_all import failure_columns, metadata, one_of

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
    Column("device_type_id", ForeignKey("device_types.id"), nullable=False),
    Column("toolchain_id", ForeignKey("toolchains.id"), nullable=False),
    # Of the cell that first asked for it: jobs of one submission are taken in its order.
    Column("position", Integer, nullable=False, server_default="0"),
    # The fencing token: the number of the newest attempt.
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("worker_id", AnyText, nullable=False, server_default=""),
    Column("lease_until", UtcDateTime),
    Column("not_before", UtcDateTime, nullable=False),
    # Who pays for it with a share of the fleet: of those who want it, whoever had least of late.
    Column("user_name", AnyText, nullable=False, server_default=""),
    # Higher goes first.
    Column("priority", Integer, nullable=False, server_default="0"),
    # A job that still waits then has failed; none waits for ever.
    Column("queue_deadline_at", UtcDateTime),
    # UUID of the device where its last try failed: another one goes first, if there is one.
    Column("avoid_device", AnyText, nullable=False, server_default=""),
    # Whether cells want something beyond it: so its end need not look for them.
    Column("has_follow_ups", Boolean, nullable=False, server_default=text("false")),
    # Of releases before 0.2, which announced every job by itself.
    Column("announced_at", UtcDateTime),
    Column("cancel_requested_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    *failure_columns(),
    # What failures of one cause have in common.
    Column("failure_signature", String(16), nullable=False, server_default=""),
    one_of("kind", JobKind),
    one_of("state", JobState),
    one_of("failure_class", FailureClass, optional=True),
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
#: What a worker looks through for its next job.
Index(
    "ix_jobs_waiting",
    jobs.c.device_type_id,
    jobs.c.toolchain_id,
    jobs.c.priority,
    jobs.c.user_name,
    jobs.c.created_at,
    jobs.c.position,
    sqlite_where=text("state = 'QUEUED'"),
    postgresql_where=text("state = 'QUEUED'"),
)
#: What runs, and on which worker. Not by its lease: a heartbeat must touch no index.
Index(
    "ix_jobs_running",
    jobs.c.worker_id,
    sqlite_where=text("state = 'RUNNING'"),
    postgresql_where=text("state = 'RUNNING'"),
)
#: What waits for another device than the one that failed it.
Index(
    "ix_jobs_avoiding",
    jobs.c.not_before,
    sqlite_where=text("state = 'QUEUED' AND avoid_device <> ''"),
    postgresql_where=text("state = 'QUEUED' AND avoid_device <> ''"),
)
Index(
    "ix_jobs_queue_deadlines",
    jobs.c.queue_deadline_at,
    sqlite_where=text("state = 'QUEUED'"),
    postgresql_where=text("state = 'QUEUED'"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("worker_id", AnyText, nullable=False),
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
    # Whether its time is in its user's share.
    Column("is_charged", Boolean, nullable=False, server_default=text("false")),
    Column("log_sha256", ForeignKey("artifacts.sha256"), index=True),
    Column("seconds", JsonDocument, nullable=False),
    Column("environment", JsonDocument, nullable=False),
    *failure_columns(),
    Column("failure_signature", String(16), nullable=False, server_default=""),
    # What the timing cache lent to the build did for it; none where there is no such thing.
    Column("timing_cache", JsonDocument),
    UniqueConstraint("job_id", "number"),
    one_of("state", AttemptState),
    one_of("failure_class", FailureClass, optional=True),
    CheckConstraint("(state = 'RUNNING') = (finished_at IS NULL)", name="finished_when_terminal"),
    CheckConstraint("number >= 1", name="number_from_one"),
)

Index(
    "ix_attempts_not_charged",
    attempts.c.id,
    sqlite_where=text("NOT is_charged"),
    postgresql_where=text("NOT is_charged"),
)

Index(
    "ix_attempts_failed",
    attempts.c.failure_signature,
    sqlite_where=text("failure_signature <> ''"),
    postgresql_where=text("failure_signature <> ''"),
)

#: The log of a running attempt, until the whole is kept as an artifact.
log_chunks = Table(
    "log_chunks",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("attempt_id", ForeignKey("attempts.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("text", AnyText, nullable=False),
)

#: Cells of a submission: the matrix that it asked for.
cells = Table(
    "cells",
    metadata,
    Column("submission_id", ForeignKey("submissions.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("spec_sha256", String(64), nullable=False),
    Column("spec", JsonDocument, nullable=False),
    Column("disposition", String(16), nullable=False),
    Column("job_id", ForeignKey("jobs.id"), index=True),
    Column("engine_id", ForeignKey("engines.id")),
    one_of("disposition", Disposition),
    CheckConstraint("job_id IS NOT NULL OR engine_id IS NOT NULL", name="answered"),
)

#: What a cell wants beyond the running job that it shares: measured when that job has filed its engine.
follow_ups = Table(
    "follow_ups",
    metadata,
    Column("submission_id", ForeignKey("submissions.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False, index=True),
    Column("request", JsonDocument, nullable=False),
)
