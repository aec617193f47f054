"""Repository of the outbox: the ids of the latest changes, which triggers of the tables write.

A change is in the outbox if, and only if, its transaction is committed, whatever makes it: also a
cascade, another process, or another program. The triggers are in ``migrations``: to announce the
rows of another table, add them in a new migration.
"""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.tables import Change

__all__ = ["after", "newest"]


def after(session: Session, last_id: int, limit: int = 500) -> list[Change] | None:
    """Return the changes after the one with id `last_id`, oldest first.

    Returns
    -------
    list of Change or None
        None if changes after `last_id` are no longer kept, or it is not of this database.
    """
    if not (session.scalar(select(func.min(Change.id))) or 1) - 1 <= last_id <= newest(session):
        return None
    chosen = select(Change).where(Change.id > last_id).order_by(Change.id).limit(limit)
    return list(session.scalars(chosen))


def newest(session: Session) -> int:
    """Return the id of the last change; 0 if there is none."""
    return session.scalar(select(func.max(Change.id))) or 0
