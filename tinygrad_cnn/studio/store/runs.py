"""Repository of runs, and their queue."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tinygrad_cnn.studio.store.errors import ConflictError, NotFoundError
from tinygrad_cnn.studio.store.names import checked_name
from tinygrad_cnn.studio.store.tables import RunKind, RunState, StoredRun, now
from tinygrad_cnn.support.arguments import whole

__all__ = [
    "BEGUN",
    "ENDED",
    "all",
    "create",
    "delete",
    "get",
    "position",
    "queued",
    "reopen",
    "set_state",
    "unfinished",
]

BEGUN: tuple[RunState, ...] = ("running", "paused")
ENDED: tuple[RunState, ...] = ("done", "cancelled", "failed")


def create(
    session: Session, *, name: str, kind: RunKind, request: dict[str, Any], epochs: int
) -> StoredRun:
    """Add a run to the end of the queue.

    Parameters
    ----------
    session : Session
    name : str
        See `checked_name`.
    kind : {"train", "fine-tune"}
    request : dict
        The request: plain JSON.
    epochs : int

    Returns
    -------
    StoredRun
        With its id set.

    Raises
    ------
    ValueError
        If the name is invalid, or there are no epochs.
    """
    run = StoredRun(
        name=checked_name(name), kind=kind, request=request, epochs=whole("run", "epochs", epochs)
    )
    session.add(run)
    session.flush()
    return run


def get(session: Session, id: int) -> StoredRun:
    """Return a run; NotFoundError if it does not exist."""
    run = session.get(StoredRun, id)
    if run is None:
        raise NotFoundError("run", id)
    return run


def all(session: Session) -> list[StoredRun]:
    """Return all runs, newest first."""
    return list(session.scalars(select(StoredRun).order_by(StoredRun.id.desc())))


def unfinished(session: Session) -> list[StoredRun]:
    """Return the runs that have started but not ended, oldest first."""
    begun = select(StoredRun).where(StoredRun.state.in_(BEGUN))
    return list(session.scalars(begun.order_by(StoredRun.id)))


def queued(session: Session) -> list[StoredRun]:
    """Return the queue, next run first."""
    waiting = select(StoredRun).where(StoredRun.state == "queued").order_by(StoredRun.id)
    return list(session.scalars(waiting))


def position(session: Session, run: StoredRun) -> int | None:
    """Return the position of a run in the queue, from 1; None if it is not queued."""
    if run.state != "queued":
        return None
    before = select(func.count()).where(StoredRun.state == "queued", StoredRun.id <= run.id)
    return session.scalar(before)


def set_state(
    session: Session,
    id: int,
    state: RunState,
    *,
    error: str | None = None,
    model_id: int | None = None,
) -> StoredRun:
    """Set the state of a run, and its start or end time.

    Parameters
    ----------
    session : Session
    id : int
    state : str
        See `StoredRun`.
    error : str, optional
        The reason for failing.
    model_id : int, optional
        The resulting model.

    Returns
    -------
    StoredRun
        The changed run.

    Raises
    ------
    NotFoundError
        If the run does not exist.
    ConflictError
        If the run has already ended in another state.
    """
    run = get(session, id)
    if run.state in ENDED and run.state != state:
        raise ConflictError(f"run {id} is {run.state}, and cannot become {state}")
    if state == "running" and run.started is None:
        run.started = now()
    if state in ENDED and run.ended is None:
        run.ended = now()
    run.state = state
    if error is not None:
        run.error = error
    if model_id is not None:
        run.model_id = model_id
    session.flush()
    return run


def reopen(session: Session, id: int) -> StoredRun:
    """Let a failed run continue from its last epoch; ConflictError if it has not failed."""
    run = get(session, id)
    if run.state != "failed":
        raise ConflictError(f"run {id} is {run.state}, expected a failed run")
    run.state = "queued" if run.started is None else "running"
    run.wanted, run.steps, run.attempts = "run", 0, 0
    run.ended = run.error = None
    session.flush()
    return run


def delete(session: Session, id: int) -> None:
    """Delete a run, its points and its snapshot; ConflictError if it has not ended."""
    run = get(session, id)
    if run.state not in ENDED:
        raise ConflictError(f"run {id} is {run.state}: cancel it before you delete it")
    session.delete(run)
    session.flush()
