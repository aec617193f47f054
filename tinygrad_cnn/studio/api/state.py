"""The initial state that a page loads."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from tinygrad_cnn import __version__
from tinygrad_cnn.data import at_hand
from tinygrad_cnn.studio import store
from tinygrad_cnn.studio.api.models import ModelSummary, summary
from tinygrad_cnn.studio.api.runs import RunAnswer, answer
from tinygrad_cnn.studio.services import UsesServices
from tinygrad_cnn.studio.settings import PICTURE_BYTES, PIXELS, WEIGHTS_BYTES
from tinygrad_cnn.studio.training.requests import DATA, MODEL_OPTIONS
from tinygrad_cnn.train import LEARNING_RATES, SCHEDULES

__all__ = ["router"]

router = APIRouter(prefix="/api/state", tags=["state"])


class TrainingChoices(BaseModel):
    """What a training can be asked for.

    `options` tells the options of each model, and what they are otherwise; `learning_rates` what to
    begin with, by optimizer.
    """

    options: dict[str, dict[str, Any]] = MODEL_OPTIONS
    learning_rates: dict[str, float] = LEARNING_RATES
    schedules: list[str] = list(SCHEDULES)


class UploadLimits(BaseModel):
    """The largest uploads, in bytes, and the largest picture in pixels."""

    picture_bytes: int = PICTURE_BYTES
    weights_bytes: int = WEIGHTS_BYTES
    pixels: int = PIXELS


class StudioState(BaseModel):
    """The version, the model that answers, the training that goes on, and the choices there are."""

    version: str
    promoted: ModelSummary | None
    training: RunAnswer | None
    data: list[str]
    models: TrainingChoices
    limits: UploadLimits


@router.get("")
def state(services: UsesServices) -> StudioState:
    """Tell what the studio has and does."""
    with services.store.reading() as session:
        promoted = store.models.promoted(session)
        begun = store.runs.unfinished(session)
        return StudioState(
            version=__version__,
            promoted=None if promoted is None else summary(promoted, promoted.id),
            training=answer(session, begun[0]) if begun else None,
            data=[name for name in DATA if at_hand(name)],
            models=TrainingChoices(),
            limits=UploadLimits(),
        )
