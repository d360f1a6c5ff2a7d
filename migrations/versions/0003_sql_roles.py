"""SQL roles for submitters, workers and readers; an index over what the store holds.

The roles are PostgreSQL's; SQLite has none. What they may do is in `farm.storage.grants`, and is brought in
line after every upgrade.

Revision: 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from farm.storage.grants import create_roles

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Moves the schema up."""
    condition = sa.text("deleted_at IS NULL")
    op.create_index(
        "ix_artifacts_stored",
        "artifacts",
        ["kind", "size_bytes"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
    create_roles(op.get_bind())


def downgrade() -> None:
    """Moves the schema down; the roles stay, for other databases of the cluster may use them."""
    op.drop_index("ix_artifacts_stored", "artifacts")
