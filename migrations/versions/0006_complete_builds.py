"""Calibration caches, models that are no ONNX, and what an engine tells about its layers.

Adds a table, and columns that are empty or have a default: workers of the release before go on while the farm is
upgraded.

Revision: 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Moves the schema up."""
    op.create_table(
        "calibration_caches",
        sa.Column("model_sha256", sa.String(length=64), nullable=False),
        sa.Column("calibration_sha256", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=32), nullable=False),
        sa.Column("toolchain_id", sa.Integer(), nullable=False),
        sa.Column("artifact_sha256", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lent", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_sha256"],
            ["artifacts.sha256"],
            name=op.f("fk_calibration_caches_artifact_sha256_artifacts"),
        ),
        sa.ForeignKeyConstraint(
            ["model_sha256"], ["models.sha256"], name=op.f("fk_calibration_caches_model_sha256_models")
        ),
        sa.ForeignKeyConstraint(
            ["toolchain_id"], ["toolchains.id"], name=op.f("fk_calibration_caches_toolchain_id_toolchains")
        ),
        sa.PrimaryKeyConstraint(
            "model_sha256",
            "calibration_sha256",
            "algorithm",
            "toolchain_id",
            name=op.f("pk_calibration_caches"),
        ),
    )
    op.add_column("models", sa.Column("format", sa.String(length=16), nullable=False, server_default="onnx"))
    op.add_column(
        "models", sa.Column("structure_sha256", sa.String(length=64), nullable=False, server_default="")
    )
    op.create_index("ix_models_structure_sha256", "models", ["structure_sha256"])
    for table, name in (("engines", "layers_sha256"), ("runs", "profile_sha256")):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column(name, sa.String(length=64), nullable=True))
            batch.create_foreign_key(op.f(f"fk_{table}_{name}_artifacts"), "artifacts", [name], ["sha256"])


def downgrade() -> None:
    """Moves the schema down."""
    for table, name in (("engines", "layers_sha256"), ("runs", "profile_sha256")):
        with op.batch_alter_table(table) as batch:
            batch.drop_constraint(op.f(f"fk_{table}_{name}_artifacts"), type_="foreignkey")
            batch.drop_column(name)
    op.drop_index("ix_models_structure_sha256", "models")
    with op.batch_alter_table("models") as batch:
        batch.drop_column("structure_sha256")
        batch.drop_column("format")
    op.drop_table("calibration_caches")
