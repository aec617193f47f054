"""The initial state that a page loads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from tinygrad_cnn import __version__
from tinygrad_cnn.data import is_local
from tinygrad_cnn.nn import ACTIVATIONS, MODELS, POOLINGS
from tinygrad_cnn.studio import store
from tinygrad_cnn.studio.api.models import ModelSummary, summary
from tinygrad_cnn.studio.api.runs import RunAnswer, answer
from tinygrad_cnn.studio.image_sets import IMAGE_SETS
from tinygrad_cnn.studio.services import UsesServices
from tinygrad_cnn.studio.settings import PICTURE_BYTES, PIXELS, WEIGHTS_BYTES
from tinygrad_cnn.studio.training.requests import (
    AUGMENTED,
    FIRST,
    FIRST_FINE_TUNING,
    MODEL_OPTIONS,
    NUMBERS,
    Number,
    defaults,
)
from tinygrad_cnn.support.choices import Choice
from tinygrad_cnn.train import OPTIMIZERS, SCHEDULES

__all__ = ["router"]

router = APIRouter(prefix="/api/state", tags=["state"])


class ChoiceAnswer(BaseModel):
    """One choice of the form: its display name, and its options with their defaults.

    An option without a default is computed for each run. `lr` is an optimizer's learning rate.
    """

    label: str
    options: dict[str, Any]
    lr: float | None = None


def _answers(choices: Mapping[str, Choice]) -> dict[str, ChoiceAnswer]:
    return {
        name: ChoiceAnswer(label=row.label, options=row.options, lr=row.defaults.get("lr"))
        for name, row in choices.items()
    }


def _models() -> dict[str, ChoiceAnswer]:
    return {
        name: ChoiceAnswer(label=MODELS[name].label, options=options)
        for name, options in MODEL_OPTIONS.items()
    }


class TrainingChoices(BaseModel):
    """The choices for a run, and the values that a form starts with.

    `numbers` has the range of each number, `defaults` the settings by data set and optimizer, the
    recipe's optimizer first; `first` and `first_fine_tuning` have the others.
    """

    models: dict[str, ChoiceAnswer] = _models()
    activations: dict[str, ChoiceAnswer] = _answers(ACTIVATIONS)
    optimizers: dict[str, ChoiceAnswer] = _answers(OPTIMIZERS)
    schedules: dict[str, ChoiceAnswer] = _answers(SCHEDULES)
    augmentations: dict[str, ChoiceAnswer] = {
        name: ChoiceAnswer(label=label, options={}) for name, label in AUGMENTED.items()
    }
    poolings: list[str] = list(POOLINGS)
    numbers: dict[str, Number] = NUMBERS
    defaults: dict[str, dict[str, dict[str, Any]]] = {data: defaults(data) for data in IMAGE_SETS}
    first: dict[str, Any] = FIRST
    first_fine_tuning: dict[str, Any] = FIRST_FINE_TUNING


class UploadLimits(BaseModel):
    """The largest uploads, in bytes, and the largest picture in pixels."""

    picture_bytes: int = PICTURE_BYTES
    weights_bytes: int = WEIGHTS_BYTES
    pixels: int = PIXELS


class StudioState(BaseModel):
    """The version, the promoted model, the current run, and the choices for new runs.

    `event_id` is the id of the last event that it includes: listen to `/api/events` after it.
    """

    version: str
    event_id: int
    promoted: ModelSummary | None
    training: RunAnswer | None
    data: list[str]
    choices: TrainingChoices
    limits: UploadLimits


@router.get("")
def state(services: UsesServices) -> StudioState:
    """Return the state of the studio."""
    with services.store.reading() as session:
        promoted = store.models.promoted(session)
        begun = store.runs.unfinished(session)
        return StudioState(
            version=__version__,
            event_id=store.outbox.newest(session),
            promoted=None if promoted is None else summary(promoted, promoted.id),
            training=answer(session, begun[0], services.supervisor) if begun else None,
            data=[name for name in IMAGE_SETS if is_local(name)],
            choices=TrainingChoices(),
            limits=UploadLimits(),
        )
