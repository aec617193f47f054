"""State changes of runs, written as points."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store import StoredPoint, StoredRun, points, runs
from tinygrad_cnn.studio.store.tables import RunKind

__all__ = ["epochs_recorded", "queue", "record_state"]


def record_state(session: Session, run_id: int, step: int | None = None) -> None:
    """Add a point for a change of a run's state or requested state.

    Parameters
    ----------
    session : Session
    run_id : int
    step : int, optional
        Number of batches done; by default, that of the run's last point.
    """
    if step is None:
        recorded = select(func.max(StoredPoint.step)).where(StoredPoint.run_id == run_id)
        step = session.scalar(recorded) or 0
    run = runs.get(session, run_id)
    payload = {"state": run.state, "wanted": run.wanted}
    points.add_many(session, run_id, [("state", step, payload)])


def epochs_recorded(session: Session, run_id: int) -> set[int]:
    """Return the epochs of a run that have points."""
    recorded = select(StoredPoint.payload["epoch"].as_integer())
    return set(
        session.scalars(recorded.where(StoredPoint.run_id == run_id, StoredPoint.kind == "epoch"))
    )


def queue(session: Session, request: dict[str, Any], name: str) -> StoredRun:
    """Add a run for a request from `tinygrad_cnn.studio.training.requests`."""
    kind: RunKind = "fine-tune" if "model_id" in request else "train"
    run = runs.create(session, name=name, kind=kind, request=request, epochs=request["epochs"])
    record_state(session, run.id, 0)
    return run
