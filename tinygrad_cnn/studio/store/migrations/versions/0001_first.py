"""Migration: the initial tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "drawings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("label", sa.Integer()),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("picture", sa.LargeBinary(), nullable=False),
        sa.Column("input", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("label BETWEEN 0 AND 9", name=op.f("ck_drawings_label")),
        sa.CheckConstraint("length(input) = 784", name=op.f("ck_drawings_input")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drawings")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_drawings_label"), "drawings", ["label"])
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("weights", sa.LargeBinary(), nullable=False),
        sa.Column("parameters", sa.Integer(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        _reference("models", "run_id", "runs.id", "SET NULL"),
        _reference("models", "parent_id", "models.id", "SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        _one_of("runs", "kind", "train", "fine-tune"),
        _one_of("runs", "state", "queued", "running", "paused", "done", "cancelled", "failed"),
        _one_of("runs", "wanted", "run", "pause", "cancel"),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("started", sa.DateTime()),
        sa.Column("ended", sa.DateTime()),
        _reference("runs", "model_id", "models.id", "SET NULL"),
        sa.Column("before", sa.JSON()),
        sa.Column("after", sa.JSON()),
        sa.Column("error", sa.String()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_runs_state"), "runs", ["state"])
    op.create_table(
        "points",
        sa.Column("id", sa.Integer(), nullable=False),
        _reference("points", "run_id", "runs.id", "CASCADE", nullable=False),
        _one_of("points", "kind", "point", "epoch", "state", "restarted"),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_points")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_points_run_id"), "points", ["run_id", "id"])
    op.create_table(
        "snapshots",
        _reference("snapshots", "run_id", "runs.id", "CASCADE", nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_snapshots")),
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        _reference("promotions", "model_id", "models.id", "SET NULL"),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("insisted", sa.Boolean(), nullable=False),
        _reference("promotions", "restores", "promotions.id", None),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_promotions_model_id"), "promotions", ["model_id"])


def _one_of(table: str, column: str, *values: str) -> sa.Column[str]:
    name = op.f(f"ck_{table}_{column}")
    kind = sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=16)
    return sa.Column(column, kind, nullable=False)


def _reference(
    table: str, column: str, target: str, ondelete: str | None, nullable: bool = True
) -> sa.Column[int]:
    name = op.f(f"fk_{table}_{column}")
    target_key = sa.ForeignKey(target, name=name, ondelete=ondelete)
    return sa.Column(column, sa.Integer(), target_key, nullable=nullable)
