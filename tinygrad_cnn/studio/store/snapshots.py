"""Repository of kernel snapshots: the latest of each run."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.tables import StoredSnapshot

__all__ = ["get", "put"]


def put(session: Session, run_id: int, step: int, payload: dict[str, Any]) -> None:
    """Store the kernels of a run, replacing earlier ones."""
    session.merge(StoredSnapshot(run_id=run_id, step=step, payload=payload))
    session.flush()


def get(session: Session, run_id: int) -> StoredSnapshot | None:
    """Return the latest kernels of a run; None if there are none."""
    return session.get(StoredSnapshot, run_id)
