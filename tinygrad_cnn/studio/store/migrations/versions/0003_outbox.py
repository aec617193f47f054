"""Migration: the outbox, written by triggers, in place of states among the points.

Fine-tuning requests keep how many drawings there were and the last one, not the id of each.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

KEPT = 5000
"""Changes kept: a client that has missed more loads everything again, which is faster."""

SOURCES = {
    "INSERT ON models": ("model", "NEW.id"),
    "UPDATE ON models": ("model", "NEW.id"),
    "DELETE ON models": ("model", "OLD.id"),
    "INSERT ON promotions": ("model", "NEW.model_id"),
    "INSERT ON drawings": ("drawing", "NEW.id"),
    "UPDATE ON drawings": ("drawing", "NEW.id"),
    "DELETE ON drawings": ("drawing", "OLD.id"),
    "INSERT ON runs": ("run", "NEW.id"),
    "UPDATE ON runs": ("run", "NEW.id"),
    "DELETE ON runs": ("run", "OLD.id"),
    "INSERT ON points": ("point", "NEW.id"),
    "INSERT ON snapshots": ("snapshot", "NEW.run_id"),
    "UPDATE ON snapshots": ("snapshot", "NEW.run_id"),
}
"""Statements that are announced, with the kind of the row and its id."""


def upgrade() -> None:
    """Create the outbox and its triggers; the points lose the kind "state"."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("row_id", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    _shorten_requests()
    _points_without_states()
    for statement, (kind, row_id) in SOURCES.items():
        op.execute(
            f"CREATE TRIGGER {statement.replace(' ON ', '_').lower()} AFTER {statement} BEGIN "
            f"INSERT INTO outbox (kind, row_id) VALUES ('{kind}', {row_id}); END"
        )
    op.execute(
        "CREATE TRIGGER trim_outbox AFTER INSERT ON outbox BEGIN "
        f"DELETE FROM outbox WHERE id <= NEW.id - {KEPT}; END"
    )


def _shorten_requests() -> None:
    ids = " UNION ALL ".join(
        f"SELECT value FROM json_each(request, '$.{name}')" for name in ("drawings", "held_back")
    )
    op.execute(
        "UPDATE runs SET request = json_set(request, "
        f"'$.last_drawing', (SELECT max(value) FROM ({ids})), "
        "'$.drawings', json_array_length(request, '$.drawings'), "
        "'$.held_back', json_array_length(request, '$.held_back')) WHERE kind = 'fine-tune'"
    )


def _points_without_states() -> None:
    kinds = ("point", "epoch", "restarted")
    kind = sa.Enum(
        *kinds, name=op.f("ck_points_kind"), native_enum=False, create_constraint=True, length=16
    )
    run = sa.ForeignKey("runs.id", name=op.f("fk_points_run_id"), ondelete="CASCADE")
    op.execute("ALTER TABLE points RENAME TO earlier_points")
    op.drop_index(op.f("ix_points_run_id"), "earlier_points")
    op.create_table(
        "points",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), run, nullable=False),
        sa.Column("kind", kind, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_points")),
        sqlite_autoincrement=True,
    )
    op.execute("INSERT INTO points SELECT * FROM earlier_points WHERE kind <> 'state'")
    op.drop_table("earlier_points")
    op.create_index(op.f("ix_points_run_id"), "points", ["run_id", "id"])
