"""Idempotency keys: a request that is sent again creates nothing."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.tables import Created

__all__ = ["created"]

Row = TypeVar("Row", bound=Created)


def created(session: Session, table: type[Row], key: str | None) -> Row | None:
    """Return the row that an earlier request with this key created; None if there is none.

    Within a session that may write, no other request can create one in between.
    """
    if key is None:
        return None
    return session.scalar(select(table).where(table.key == key))
