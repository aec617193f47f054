"""The latest kernels of each run."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.tables import Snapshot

__all__ = ["get", "put"]


def put(session: Session, run_id: int, step: int, payload: dict[str, Any]) -> None:
    """Keep the kernels of a run in place of its earlier ones."""
    session.merge(Snapshot(run_id=run_id, step=step, payload=payload))
    session.flush()


def get(session: Session, run_id: int) -> Snapshot | None:
    """Return the latest kernels of a run; None if there are none yet."""
    return session.get(Snapshot, run_id)
