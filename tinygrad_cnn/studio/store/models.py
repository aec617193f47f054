"""The models, and which of them answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from tinygrad_cnn.studio.store.errors import Missing, Refused
from tinygrad_cnn.studio.store.names import checked_name
from tinygrad_cnn.studio.store.tables import Model, Promotion
from tinygrad_cnn.train import Settings

__all__ = [
    "add",
    "all",
    "count",
    "delete",
    "get",
    "promote",
    "promoted",
    "promoted_id",
    "rename",
    "roll_back",
]

WHOLE = (undefer(Model.weights), undefer(Model.report))


def add(
    session: Session,
    *,
    name: str,
    settings: Settings,
    weights: bytes,
    report: Mapping[str, Any],
    run_id: int | None = None,
    parent_id: int | None = None,
) -> Model:
    """Add a model.

    Parameters
    ----------
    session : Session
    name : str
        See `checked_name`.
    settings : Settings
        How it was trained.
    weights : bytes
        Of `model_files.pack`.
    report : mapping
        Of `report.report`; the model's accuracy and number of parameters are taken from it.
    run_id, parent_id : int, optional
        The run that trained it, and the model which that began with.

    Returns
    -------
    Model
        With its id.

    Raises
    ------
    ValueError
        If the name cannot be kept.
    """
    model = Model(
        name=checked_name(name),
        settings=json.loads(settings.to_json()),
        weights=weights,
        report=dict(report),
        accuracy=report["accuracy"],
        parameters=report["parameters"],
        run_id=run_id,
        parent_id=parent_id,
    )
    session.add(model)
    session.flush()
    return model


def get(session: Session, id: int) -> Model:
    """Return a model, with weights and report; Missing if there is none."""
    model = session.get(Model, id, options=WHOLE)
    if model is None:
        raise Missing("model", id)
    return model


def all(session: Session) -> list[Model]:
    """Return all models, the newest first, without weights and reports."""
    return list(session.scalars(select(Model).order_by(Model.id.desc())))


def count(session: Session) -> int:
    """Return how many models there are."""
    return session.scalar(select(func.count()).select_from(Model)) or 0


def rename(session: Session, id: int, name: str) -> Model:
    """Call a model otherwise; ValueError if the name cannot be kept."""
    model = get(session, id)
    model.name = checked_name(name)
    return model


def delete(session: Session, id: int) -> None:
    """Delete a model; Refused if it is the promoted one."""
    model = get(session, id)
    if id == promoted_id(session):
        raise Refused(f"model {id} is promoted: promote another before you delete it")
    session.delete(model)
    session.flush()


def promoted_id(session: Session) -> int | None:
    """Return the id of the model that answers; None if none was promoted yet."""
    return session.scalar(select(Promotion.model_id).order_by(Promotion.id.desc()).limit(1))


def promoted(session: Session) -> Model | None:
    """Return the model that answers, with weights and report; None if none was promoted yet."""
    id = promoted_id(session)
    return None if id is None else get(session, id)


def promote(session: Session, id: int, insist: bool = False) -> Model:
    """Let a model answer from now on, without comparing it: `promotion.promote` does.

    Parameters
    ----------
    session : Session
    id : int
    insist : bool
        Whether it is promoted though worse, to be kept in the history.

    Returns
    -------
    Model
        It. Nothing happens if it is promoted already.
    """
    model = get(session, id)
    if id != promoted_id(session):
        session.add(Promotion(model_id=id, insisted=insist))
        session.flush()
    return model


def roll_back(session: Session) -> Model:
    """Let the model that was promoted before answer again; Refused if there is none.

    Rolled back twice, the one before that does.
    """
    standing = _standing(session)
    current = standing.pop() if standing else None
    for earlier in reversed(standing):
        if earlier.model_id not in (None, current and current.model_id):
            session.add(Promotion(model_id=earlier.model_id, restores=earlier.id))
            session.flush()
            return get(session, earlier.model_id)
    raise Refused("there is no earlier promoted model to roll back to")


def _standing(session: Session) -> list[Promotion]:
    """Return the promotions that were not rolled back, the one that holds last."""
    standing: list[Promotion] = []
    for promotion in session.scalars(select(Promotion).order_by(Promotion.id)):
        if promotion.restores is None:
            standing.append(promotion)
        else:
            while standing[-1].id != promotion.restores:
                standing.pop()
    return standing
