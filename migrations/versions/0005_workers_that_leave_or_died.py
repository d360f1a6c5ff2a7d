"""A worker that was told to stop, and one that is known to be dead, are told from one that takes jobs.

Adds two columns that may be empty: workers of the release before go on while the farm is upgraded.

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Moves the schema up."""
    for name in ("leaving_at", "died_at"):
        op.add_column("workers", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Moves the schema down."""
    with op.batch_alter_table("workers") as batch:
        batch.drop_column("died_at")
        batch.drop_column("leaving_at")
