"""Migration: the results of runs, taken from their points as far as they are known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column, and fill it."""
    op.add_column("runs", sa.Column("result", sa.JSON()))
    op.execute("""
        WITH epochs AS (
          SELECT run_id, max(id) AS last, sum(json_extract(payload, '$.seconds')) AS seconds
          FROM points WHERE kind = 'epoch' GROUP BY run_id
        )
        UPDATE runs SET result = (
          SELECT json_object(
            'loss', json_extract(payload, '$.loss'),
            'accuracy', json_extract(payload, '$.accuracy'),
            'test_loss', json_extract(payload, '$.validation_loss'),
            'test_accuracy', json_extract(payload, '$.validation_accuracy'),
            'seconds', seconds,
            'parameters', (SELECT parameters FROM models WHERE models.id = runs.model_id)
          )
          FROM points JOIN epochs ON points.id = epochs.last WHERE points.run_id = runs.id
        )
        WHERE id IN (SELECT run_id FROM epochs)
    """)
