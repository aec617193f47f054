"""The figures of the runs and the events in their lives, in the order in which they came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.tables import Point, PointKind

__all__ = ["NewPoint", "add_many", "after", "forget_after", "last_id", "thinned"]

NewPoint: TypeAlias = tuple[PointKind, int, dict[str, Any]]
"""Kind, step and payload: plain JSON, and no NaN in it."""


def add_many(session: Session, run_id: int, new: Iterable[NewPoint]) -> None:
    """Add points of a run, in order."""
    rows = [
        {"run_id": run_id, "kind": kind, "step": step, "payload": payload}
        for kind, step, payload in new
    ]
    if rows:
        session.execute(insert(Point), rows)


def after(
    session: Session, last_id: int, run_id: int | None = None, limit: int = 500
) -> list[Point]:
    """Return the points that came after the one of id `last_id`, of one run or of all.

    Only one transaction writes at a time, so that ids appear in their order: who asks again with
    the last id that came misses nothing.
    """
    chosen = select(Point).where(Point.id > last_id).order_by(Point.id).limit(limit)
    if run_id is not None:
        chosen = chosen.where(Point.run_id == run_id)
    return list(session.scalars(chosen))


def thinned(session: Session, run_id: int, after: int = 0, most: int = 2000) -> list[Point]:
    """Return points of a run that came after `after`: evenly fewer where there are too many.

    Parameters
    ----------
    session : Session
    run_id : int
    after : int
        An id; 0 for all.
    most : int
        How many of the kind "point" at most; all others are there.
    """
    here = (Point.run_id == run_id, Point.id > after)
    figures = select(func.count()).where(*here, Point.kind == "point")
    every = -(-(session.scalar(figures) or 0) // most) or 1
    # From the end, so that the last is always among them.
    place = func.row_number().over(partition_by=Point.kind, order_by=Point.id.desc())
    numbered = select(Point.id, place.label("place")).where(*here).subquery()
    kept = or_(Point.kind != "point", (numbered.c.place - 1) % every == 0)
    chosen = select(Point).join(numbered, numbered.c.id == Point.id).where(kept)
    return list(session.scalars(chosen.order_by(Point.id)))


def last_id(session: Session) -> int:
    """Return the id of the last point of all; 0 if there is none."""
    return session.scalar(select(func.max(Point.id))) or 0


def forget_after(session: Session, run_id: int, step: int) -> None:
    """Delete the figures of a run after a step: it goes on from there, and gives them anew."""
    figures = Point.kind.in_(("point", "epoch"))
    session.execute(delete(Point).where(Point.run_id == run_id, Point.step > step, figures))
