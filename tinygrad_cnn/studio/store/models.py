"""Repository of models, and the history of promotions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from tinygrad_cnn.studio.store.errors import ConflictError, NotFoundError
from tinygrad_cnn.studio.store.names import checked_name
from tinygrad_cnn.studio.store.tables import Promotion, StoredModel
from tinygrad_cnn.train import RunSettings

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

WHOLE = tuple(
    undefer(column) for column in (StoredModel.weights, StoredModel.report, StoredModel.detector)
)


def add(
    session: Session,
    *,
    name: str,
    settings: RunSettings,
    weights: bytes,
    report: Mapping[str, Any],
    detector: bytes | None = None,
    run_id: int | None = None,
    parent_id: int | None = None,
) -> StoredModel:
    """Add a model.

    Parameters
    ----------
    session : Session
    name : str
        See `checked_name`.
    settings : RunSettings
        The settings it was trained with.
    weights : bytes
        Bytes from `model_files.pack`.
    report : mapping
        From `report.report`; the model's accuracy and number of parameters are taken from it.
    detector : bytes, optional
        From `novelty.Detector.pack`.
    run_id, parent_id : int, optional
        The run that trained it, and the model that the run started from.

    Returns
    -------
    StoredModel
        With its id set.

    Raises
    ------
    ValueError
        If the name is invalid.
    """
    model = StoredModel(
        name=checked_name(name),
        settings=json.loads(settings.to_json()),
        weights=weights,
        report=dict(report),
        detector=detector,
        accuracy=report["accuracy"],
        parameters=report["parameters"],
        run_id=run_id,
        parent_id=parent_id,
    )
    session.add(model)
    session.flush()
    return model


def get(session: Session, id: int) -> StoredModel:
    """Return a model, with weights, report and detector; NotFoundError if it does not exist."""
    model = session.get(StoredModel, id, options=WHOLE)
    if model is None:
        raise NotFoundError("model", id)
    return model


def all(session: Session) -> list[StoredModel]:
    """Return all models, newest first, without weights and reports."""
    return list(session.scalars(select(StoredModel).order_by(StoredModel.id.desc())))


def count(session: Session) -> int:
    """Return the number of models."""
    return session.scalar(select(func.count()).select_from(StoredModel)) or 0


def rename(session: Session, id: int, name: str) -> StoredModel:
    """Rename a model; ValueError if the name is invalid."""
    model = get(session, id)
    model.name = checked_name(name)
    return model


def delete(session: Session, id: int) -> None:
    """Delete a model; ConflictError if it is the promoted one."""
    model = get(session, id)
    if id == promoted_id(session):
        raise ConflictError(f"model {id} is promoted: promote another before you delete it")
    session.delete(model)
    session.flush()


def promoted_id(session: Session) -> int | None:
    """Return the id of the promoted model; None if there is none."""
    return session.scalar(select(Promotion.model_id).order_by(Promotion.id.desc()).limit(1))


def promoted(session: Session) -> StoredModel | None:
    """Return the promoted model, with weights and report; None if there is none."""
    id = promoted_id(session)
    return None if id is None else get(session, id)


def promote(session: Session, id: int, insist: bool = False) -> StoredModel:
    """Promote a model without comparing it; `promotion.promote` compares first.

    Parameters
    ----------
    session : Session
    id : int
    insist : bool
        Recorded in the history: whether it was promoted although worse.

    Returns
    -------
    StoredModel
        The promoted model. Does nothing if it was promoted already.
    """
    model = get(session, id)
    if id != promoted_id(session):
        session.add(Promotion(model_id=id, insisted=insist))
        session.flush()
    return model


def roll_back(session: Session) -> StoredModel:
    """Promote the previously promoted model again; ConflictError if there is none.

    A second roll-back restores the one before that.
    """
    standing = _standing(session)
    current = standing.pop() if standing else None
    for earlier in reversed(standing):
        if earlier.model_id not in (None, current and current.model_id):
            session.add(Promotion(model_id=earlier.model_id, restores=earlier.id))
            session.flush()
            return get(session, earlier.model_id)
    raise ConflictError("there is no previously promoted model to roll back to")


def _standing(session: Session) -> list[Promotion]:
    """Return the promotions that were not rolled back; the last one is in effect."""
    standing: list[Promotion] = []
    for promotion in session.scalars(select(Promotion).order_by(Promotion.id)):
        if promotion.restores is None:
            standing.append(promotion)
        else:
            while standing[-1].id != promotion.restores:
                standing.pop()
    return standing
