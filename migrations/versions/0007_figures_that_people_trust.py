"""How sure a figure is, what disturbed it, canaries, and references that are kept.

Adds tables, and columns that are empty or have a default; percentiles may be missing, and an attempt may measure more than once.
Workers of the release before go on while the farm is upgraded.

Revision: 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON_DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_PERCENTILES = [f"{kind}_p{percent}_ms" for kind in ("compute", "latency") for percent in (90, 95, 99)]


def upgrade() -> None:
    """Moves the schema up."""
    with op.batch_alter_table("measurements") as batch:
        for name in _PERCENTILES:
            batch.alter_column(name, existing_type=sa.Float(), nullable=True)
        batch.add_column(sa.Column("interval_low_ms", sa.Float(), nullable=True))
        batch.add_column(sa.Column("interval_high_ms", sa.Float(), nullable=True))
        batch.add_column(sa.Column("details", JSON_DOCUMENT, nullable=True))
        batch.add_column(sa.Column("taints", JSON_DOCUMENT, nullable=False, server_default="[]"))
    with op.batch_alter_table("runs") as batch:
        batch.drop_constraint(op.f("uq_runs_attempt_id"), type_="unique")
        batch.add_column(sa.Column("number", sa.Integer(), nullable=False, server_default="1"))
        batch.create_unique_constraint(op.f("uq_runs_attempt_id_number"), ["attempt_id", "number"])
        batch.add_column(sa.Column("startup", JSON_DOCUMENT, nullable=True))
        batch.add_column(sa.Column("comparison", JSON_DOCUMENT, nullable=True))
        batch.add_column(sa.Column("suspect", sa.Text(), nullable=False, server_default=""))
        batch.add_column(sa.Column("histogram_sha256", sa.String(length=64), nullable=True))
        batch.create_foreign_key(
            op.f("fk_runs_histogram_sha256_artifacts"), "artifacts", ["histogram_sha256"], ["sha256"]
        )
    with op.batch_alter_table("devices") as batch:
        batch.add_column(sa.Column("suspect_since", sa.DateTime(timezone=True), nullable=True))
        batch.add_column(sa.Column("suspect_reason", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "canaries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_uuid", sa.Text(), nullable=False),
        sa.Column("toolchain_id", sa.Integer(), nullable=False),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("driver_version", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("median_ms", sa.Float(), nullable=False),
        sa.Column("interval_low_ms", sa.Float(), nullable=True),
        sa.Column("interval_high_ms", sa.Float(), nullable=True),
        sa.Column("conditions", JSON_DOCUMENT, nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.ForeignKeyConstraint(
            ["artifact_sha256"], ["artifacts.sha256"], name=op.f("fk_canaries_artifact_sha256_artifacts")
        ),
        sa.ForeignKeyConstraint(
            ["device_uuid"], ["devices.uuid"], name=op.f("fk_canaries_device_uuid_devices")
        ),
        sa.ForeignKeyConstraint(
            ["toolchain_id"], ["toolchains.id"], name=op.f("fk_canaries_toolchain_id_toolchains")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canaries")),
    )
    op.create_index("ix_canaries_device_uuid", "canaries", ["device_uuid"])
    op.create_table(
        "stored_references",
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_sha256"],
            ["artifacts.sha256"],
            name=op.f("fk_stored_references_artifact_sha256_artifacts"),
        ),
        sa.ForeignKeyConstraint(
            ["model_sha256"], ["models.sha256"], name=op.f("fk_stored_references_model_sha256_models")
        ),
        sa.PrimaryKeyConstraint("key_sha256", name=op.f("pk_stored_references")),
    )
    op.create_index("ix_stored_references_model_sha256", "stored_references", ["model_sha256"])


def downgrade() -> None:
    """Moves the schema down; runs beyond an attempt's first are lost, and figures without percentiles."""
    op.drop_index("ix_stored_references_model_sha256", "stored_references")
    op.drop_table("stored_references")
    op.drop_index("ix_canaries_device_uuid", "canaries")
    op.drop_table("canaries")
    with op.batch_alter_table("devices") as batch:
        batch.drop_column("suspect_reason")
        batch.drop_column("suspect_since")
    op.execute(
        "DELETE FROM measurements WHERE compute_p99_ms IS NULL OR compute_p95_ms IS NULL OR compute_p90_ms IS NULL"
        " OR latency_p99_ms IS NULL OR latency_p95_ms IS NULL OR latency_p90_ms IS NULL"
        " OR run_id IN (SELECT id FROM runs WHERE number > 1)"
    )
    op.execute("DELETE FROM runs WHERE number > 1")
    with op.batch_alter_table("runs") as batch:
        batch.drop_constraint(op.f("fk_runs_histogram_sha256_artifacts"), type_="foreignkey")
        batch.drop_column("histogram_sha256")
        batch.drop_column("suspect")
        batch.drop_column("comparison")
        batch.drop_column("startup")
        batch.drop_constraint(op.f("uq_runs_attempt_id_number"), type_="unique")
        batch.drop_column("number")
        batch.create_unique_constraint(op.f("uq_runs_attempt_id"), ["attempt_id"])
    with op.batch_alter_table("measurements") as batch:
        batch.drop_column("taints")
        batch.drop_column("details")
        batch.drop_column("interval_high_ms")
        batch.drop_column("interval_low_ms")
        for name in _PERCENTILES:
            batch.alter_column(name, existing_type=sa.Float(), nullable=False)
