"""Repository of drawings."""

from __future__ import annotations

from sqlalchemy import ColumnExpressionArgument, func, select
from sqlalchemy.orm import Session, undefer

from tinygrad_cnn.studio.store.errors import NotFoundError
from tinygrad_cnn.studio.store.names import checked_name
from tinygrad_cnn.studio.store.tables import StoredDrawing
from tinygrad_cnn.support.arguments import whole

__all__ = ["add", "all", "count", "delete", "get", "held_back", "label", "rename", "to_teach"]


def add(
    session: Session, *, name: str, picture: bytes, input: bytes, label: int | None = None
) -> StoredDrawing:
    """Add a drawing.

    Parameters
    ----------
    session : Session
    name : str
        See `checked_name`.
    picture : bytes
        A PNG.
    input : bytes
        The 28 × 28 gray values of the network's input.
    label : int, optional
        The correct digit.

    Returns
    -------
    StoredDrawing
        With its id set.

    Raises
    ------
    ValueError
        If the name is invalid, the label is not a digit, or the input has another length.
    """
    if len(input) != 28 * 28:
        raise ValueError(f"drawing: the input has {len(input)} bytes, expected 784")
    drawing = StoredDrawing(
        name=checked_name(name), picture=picture, input=input, label=_checked_label(label)
    )
    session.add(drawing)
    session.flush()
    return drawing


def get(session: Session, id: int) -> StoredDrawing:
    """Return a drawing, with its picture; NotFoundError if it does not exist."""
    drawing = session.get(StoredDrawing, id, options=[undefer(StoredDrawing.picture)])
    if drawing is None:
        raise NotFoundError("drawing", id)
    return drawing


def all(
    session: Session, *, offset: int = 0, limit: int | None = None, labeled: bool | None = None
) -> list[StoredDrawing]:
    """Return drawings, newest first, without their pictures.

    Parameters
    ----------
    session : Session
    offset, limit : int
        The page of the list.
    labeled : bool, optional
        Restrict to drawings with a label, or to those without.
    """
    chosen = select(StoredDrawing).order_by(StoredDrawing.id.desc()).offset(offset).limit(limit)
    if labeled is not None:
        chosen = chosen.where(StoredDrawing.label.is_not(None) == labeled)
    return list(session.scalars(chosen))


def count(session: Session, *, labeled: bool | None = None) -> int:
    """Return the number of drawings."""
    chosen = select(func.count()).select_from(StoredDrawing)
    if labeled is not None:
        chosen = chosen.where(StoredDrawing.label.is_not(None) == labeled)
    return session.scalar(chosen) or 0


def held_back(session: Session, last_id: int | None = None) -> list[StoredDrawing]:
    """Return the labeled drawings held back for evaluation, oldest first, up to the last one."""
    return _labeled(session, StoredDrawing.held_back, last_id)


def to_teach(session: Session, last_id: int | None = None) -> list[StoredDrawing]:
    """Return the labeled drawings to train with, oldest first, up to the last one."""
    return _labeled(session, ~StoredDrawing.held_back, last_id)


def label(session: Session, id: int, label: int | None) -> StoredDrawing:
    """Set the label of a drawing; None removes it."""
    drawing = get(session, id)
    drawing.label = _checked_label(label)
    return drawing


def rename(session: Session, id: int, name: str) -> StoredDrawing:
    """Rename a drawing; ValueError if the name is invalid."""
    drawing = get(session, id)
    drawing.name = checked_name(name)
    return drawing


def delete(session: Session, id: int) -> None:
    """Delete a drawing."""
    session.delete(get(session, id))
    session.flush()


def _labeled(
    session: Session, which: ColumnExpressionArgument[bool], last_id: int | None
) -> list[StoredDrawing]:
    chosen = select(StoredDrawing).where(StoredDrawing.label.is_not(None), which)
    if last_id is not None:
        chosen = chosen.where(StoredDrawing.id <= last_id)
    return list(session.scalars(chosen.order_by(StoredDrawing.id)))


def _checked_label(label: int | None) -> int | None:
    if label is not None and whole("drawing", "label", label, 0) > 9:
        raise ValueError(f"drawing: label is {label}, expected a digit or None")
    return label
