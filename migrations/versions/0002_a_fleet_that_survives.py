"""What a fleet needs: shares, priorities, drains, duties, signatures, pins.

Only adds, and everything has a default: workers of the release before go on while the farm is upgraded.

Revision: 0002, after 0001.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON_DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)

#: Of the new indexes over jobs: columns, and in which state.
JOB_INDEXES = {
    "ix_jobs_waiting": (
        ["device_type_id", "toolchain_id", "priority", "user_name", "created_at", "position"],
        "QUEUED",
    ),
    "ix_jobs_leases": (["lease_until"], "RUNNING"),
    "ix_jobs_queue_deadlines": (["queue_deadline_at"], "QUEUED"),
}
INDEXES = {
    "ix_workers_name": ("workers", "name"),
    "ix_attempts_failure_signature": ("attempts", "failure_signature"),
}


def upgrade() -> None:
    """Moves the schema up."""
    for table, columns in _new_columns().items():
        for column in columns:
            op.add_column(table, column)
    for name, (names, state) in JOB_INDEXES.items():
        condition = sa.text(f"state = '{state}'")
        op.create_index(name, "jobs", names, sqlite_where=condition, postgresql_where=condition)
    for name, (table, column_name) in INDEXES.items():
        op.create_index(name, table, [column_name])
    # What ended before there were shares is in nobody's.
    op.execute("UPDATE attempts SET is_charged = true WHERE finished_at IS NOT NULL")
    condition = sa.text("NOT is_charged")
    op.create_index(
        "ix_attempts_not_charged", "attempts", ["id"], sqlite_where=condition, postgresql_where=condition
    )
    _create_tables()
    compatibility = sa.table("schema_compatibility", sa.column("oldest"))
    op.execute(compatibility.insert().values(oldest="0001"))


def downgrade() -> None:
    """Moves the schema down."""
    for name in (
        "follow_ups",
        "schema_compatibility",
        "signing_keys",
        "user_usage",
        "duties",
        "worker_drains",
    ):
        op.drop_table(name)
    op.drop_index("ix_attempts_not_charged", "attempts")
    for name, (table, _) in INDEXES.items():
        op.drop_index(name, table)
    for name in JOB_INDEXES:
        op.drop_index(name, "jobs")
    for table, columns in _new_columns().items():
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(str(column.name))


def _new_columns() -> dict[str, list[sa.Column[Any]]]:
    """Of every table the new columns."""
    return {
        "artifacts": [sa.Column("deleted_at", TIME)],
        "workers": [sa.Column("name", sa.Text(), nullable=False, server_default="")],
        "jobs": [
            sa.Column("user_name", sa.Text(), nullable=False, server_default=""),
            sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("queue_deadline_at", TIME),
            sa.Column("avoid_device", sa.Text(), nullable=False, server_default=""),
            sa.Column("failure_signature", sa.String(length=16), nullable=False, server_default=""),
        ],
        "attempts": [
            sa.Column("failure_signature", sa.String(length=16), nullable=False, server_default=""),
            sa.Column("timing_cache", JSON_DOCUMENT),
            sa.Column("is_charged", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        ],
        "engines": [
            sa.Column("manifest", JSON_DOCUMENT),
            sa.Column("signature", sa.Text(), nullable=False, server_default=""),
            sa.Column("signing_key", sa.String(length=64), nullable=False, server_default=""),
            sa.Column("pinned_at", TIME),
            sa.Column("pin_reason", sa.Text(), nullable=False, server_default=""),
            sa.Column("retired_at", TIME),
        ],
        "timing_caches": [
            sa.Column("lent", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("merged", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("saved_s", sa.Float(), nullable=False, server_default="0"),
        ],
    }


def _create_tables() -> None:
    op.create_table(
        "worker_drains",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_drains")),
    )
    op.create_table(
        "duties",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("lease_until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
    )
    op.create_table(
        "user_usage",
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("device_s", sa.Float(), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("user_name", name=op.f("pk_user_usage")),
    )
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("revoked_at", TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
    )
    op.create_table(
        "schema_compatibility",
        sa.Column("oldest", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("oldest", name=op.f("pk_schema_compatibility")),
    )
    op.create_table(
        "follow_ups",
        sa.Column("submission_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("request", JSON_DOCUMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"], ["submissions.id"], name=op.f("fk_follow_ups_submission_id_submissions")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_follow_ups_job_id_jobs")),
        sa.PrimaryKeyConstraint("submission_id", "position", name=op.f("pk_follow_ups")),
    )
    op.create_index(op.f("ix_follow_ups_job_id"), "follow_ups", ["job_id"])
