"""Repository of points: the metrics and events of runs, in order of arrival."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.tables import PointKind, StoredPoint

__all__ = ["NewPoint", "add_many", "after", "epochs", "forget_after", "thinned"]

NewPoint: TypeAlias = tuple[PointKind, int, dict[str, Any]]
"""Kind, step and payload: plain JSON without NaN."""


def add_many(session: Session, run_id: int, new: Iterable[NewPoint]) -> None:
    """Add points of a run, in order."""
    rows = [
        {"run_id": run_id, "kind": kind, "step": step, "payload": payload}
        for kind, step, payload in new
    ]
    if rows:
        session.execute(insert(StoredPoint), rows)


def after(
    session: Session, last_id: int, run_id: int | None = None, limit: int = 500
) -> list[StoredPoint]:
    """Return the points after the one with id `last_id`, of one run or of all.

    Only one transaction writes at a time, so that ids appear in order: reading on from the last id
    received misses nothing.
    """
    chosen = (
        select(StoredPoint).where(StoredPoint.id > last_id).order_by(StoredPoint.id).limit(limit)
    )
    if run_id is not None:
        chosen = chosen.where(StoredPoint.run_id == run_id)
    return list(session.scalars(chosen))


def thinned(session: Session, run_id: int, after: int = 0, most: int = 2000) -> list[StoredPoint]:
    """Return points of a run after id `after`, thinned evenly if there are too many.

    Parameters
    ----------
    session : Session
    run_id : int
    after : int
        An id; 0 for all points.
    most : int
        Maximum number of points of kind "point"; all other kinds are returned.
    """
    here = (StoredPoint.run_id == run_id, StoredPoint.id > after)
    figures = select(func.count()).where(*here, StoredPoint.kind == "point")
    every = -(-(session.scalar(figures) or 0) // most) or 1
    # Thin from the end, so that the last point is kept.
    place = func.row_number().over(partition_by=StoredPoint.kind, order_by=StoredPoint.id.desc())
    numbered = select(StoredPoint.id, place.label("place")).where(*here).subquery()
    kept = or_(StoredPoint.kind != "point", (numbered.c.place - 1) % every == 0)
    chosen = select(StoredPoint).join(numbered, numbered.c.id == StoredPoint.id).where(kept)
    return list(session.scalars(chosen.order_by(StoredPoint.id)))


def epochs(session: Session, run_id: int) -> set[int]:
    """Return the epochs of a run that have points."""
    recorded = select(StoredPoint.payload["epoch"].as_integer())
    return set(
        session.scalars(recorded.where(StoredPoint.run_id == run_id, StoredPoint.kind == "epoch"))
    )


def forget_after(session: Session, run_id: int, step: int) -> None:
    """Delete the metrics of a run after a step; the run resumes there and writes them again."""
    figures = StoredPoint.kind.in_(("point", "epoch"))
    session.execute(
        delete(StoredPoint).where(StoredPoint.run_id == run_id, StoredPoint.step > step, figures)
    )
