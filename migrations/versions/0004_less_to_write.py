"""Less to write for every job: fewer indexes, and an end that knows by itself whether more is wanted.

A heartbeat changes `lease_until` alone. With no index over it PostgreSQL writes the row in place (HOT), and room
in every page of `jobs` lets it. Adds a column with a default and indexes, and drops indexes that no statement
needs: workers of the release before go on while the farm is upgraded.

Revision: 0004, after 0003.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

if TYPE_CHECKING:
    from collections.abc import Mapping

    #: By name: table, columns, and of which rows; none for all.
    Indexes = Mapping[str, tuple[str, list[str], str | None]]

ADDED: Indexes = {
    "ix_jobs_running": ("jobs", ["worker_id"], "state = 'RUNNING'"),
    "ix_jobs_avoiding": ("jobs", ["not_before"], "state = 'QUEUED' AND avoid_device <> ''"),
    "ix_attempts_failed": ("attempts", ["failure_signature"], "failure_signature <> ''"),
}
#: The first two give way to those above. The others are looked up by nothing: `ix_jobs_waiting` does what those of
#: a target were for, and the rows that foreign keys refer to are never removed.
DROPPED: Indexes = {
    "ix_jobs_leases": ("jobs", ["lease_until"], "state = 'RUNNING'"),
    "ix_attempts_failure_signature": ("attempts", ["failure_signature"], None),
    "ix_jobs_device_type_id": ("jobs", ["device_type_id"], None),
    "ix_jobs_toolchain_id": ("jobs", ["toolchain_id"], None),
    "ix_engines_device_type_id": ("engines", ["device_type_id"], None),
    "ix_engines_toolchain_id": ("engines", ["toolchain_id"], None),
    "ix_cells_spec_sha256": ("cells", ["spec_sha256"], None),
    "ix_attempts_worker_id": ("attempts", ["worker_id"], None),
}


def upgrade() -> None:
    """Moves the schema up."""
    op.add_column(
        "jobs", sa.Column("has_follow_ups", sa.Boolean(), nullable=False, server_default=sa.text("false"))
    )
    op.execute("UPDATE jobs SET has_follow_ups = true WHERE id IN (SELECT job_id FROM follow_ups)")
    _exchange(DROPPED, ADDED)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE jobs SET (fillfactor = 70)")


def downgrade() -> None:
    """Moves the schema down."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE jobs RESET (fillfactor)")
    _exchange(ADDED, DROPPED)
    with op.batch_alter_table("jobs") as batch:
        batch.drop_column("has_follow_ups")


def _exchange(old: Indexes, new: Indexes) -> None:
    for name, (table, _, _) in old.items():
        op.drop_index(name, table)
    for name, (table, columns, rows) in new.items():
        condition = None if rows is None else sa.text(rows)
        op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
