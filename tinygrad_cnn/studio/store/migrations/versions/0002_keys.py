"""Migration: idempotency keys of the rows that clients create."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    for table in ("drawings", "models", "runs"):
        op.add_column(table, sa.Column("key", sa.String()))
        op.create_index(op.f(f"ix_{table}_key"), table, ["key"], unique=True)
