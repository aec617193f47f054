"""Prediction routes, called while the user draws: pictures or inputs to probabilities."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query
from numpy.typing import NDArray
from pydantic import BaseModel

from tinygrad_cnn.studio import pictures
from tinygrad_cnn.studio.api.fields import Id, Input, RequestBody, Temperature
from tinygrad_cnn.studio.encoding import decode_input, encode_input
from tinygrad_cnn.studio.predictor import LoadedModel
from tinygrad_cnn.studio.problems import documented
from tinygrad_cnn.studio.services import UsesServices
from tinygrad_cnn.studio.settings import PICTURE_BYTES
from tinygrad_cnn.studio.uploads import Uploaded

__all__ = ["PICTURE_BODY", "router"]

PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "description": "A picture of any size and color; of an animation, the first frame.",
        "content": {
            media_type: {"schema": {"type": "string", "format": "binary"}}
            for media_type in pictures.MEDIA_TYPES
        },
    }
}
"""`openapi_extra` of a route that takes a picture."""

router = APIRouter(prefix="/api/predict", tags=["predict"])


class OutOfDistribution(BaseModel):
    """How far a picture is from the images that the model learned from.

    `score` compares what the model computes of the picture with what it computes of training
    images. A picture with a score above `threshold` is unlike them. `false_positive_rate` is the
    share of the test images with a score above the threshold.
    """

    score: float
    threshold: float
    false_positive_rate: float


class PredictionAnswer(BaseModel):
    """The prediction for a picture.

    The entries of `logits` and `probabilities` are in the order of `classes`. Without a calibrated
    detector, as for uploaded models and those of earlier versions, `out_of_distribution` is null.
    """

    model: int
    temperature: float
    classes: tuple[str, ...]
    logits: list[float]
    probabilities: list[float]
    out_of_distribution: OutOfDistribution | None
    input: Input


class PredictionRequest(RequestBody):
    """A network input, which is classified as it is."""

    input: Input
    model: Id | None = None
    temperature: Temperature = 1.0


@router.post(
    "",
    max_body_size=PICTURE_BYTES,
    openapi_extra=PICTURE_BODY,
    responses=documented(
        "not-found", "no-model", "too-large", "invalid", "not-a-picture", "blank", "busy"
    ),
)
async def predict_picture(
    file: Uploaded,
    services: UsesServices,
    model: Annotated[Id | None, Query()] = None,
    temperature: Annotated[Temperature, Query()] = 1.0,
) -> PredictionAnswer:
    """Classify a picture; the response includes the network input made from it.

    The ink is cropped, scaled into 20×20 and centered by its mass, as MNIST's digits are.
    """

    def answer() -> PredictionAnswer:
        pixels = pictures.digit(pictures.decode(file, services.heavy))
        return _answer(services.predictor.get(model), pixels, temperature)

    return await run_sync(answer)


@router.post("/input", responses=documented("not-found", "no-model", "too-large", "invalid"))
async def predict_input(question: PredictionRequest, services: UsesServices) -> PredictionAnswer:
    """Classify a network input."""
    loaded = services.predictor.cached(question.model)
    if loaded is None:
        loaded = await run_sync(services.predictor.get, question.model)
    return _answer(loaded, decode_input(question.input), question.temperature)


def _answer(loaded: LoadedModel, pixels: NDArray[np.uint8], temperature: float) -> PredictionAnswer:
    prediction = loaded.predict(pixels, temperature)
    detector = loaded.detector
    return PredictionAnswer(
        model=loaded.id,
        temperature=temperature,
        classes=loaded.settings.data.classes,
        logits=prediction.logits.tolist(),
        probabilities=prediction.probabilities.tolist(),
        out_of_distribution=None
        if detector is None or prediction.score is None
        else OutOfDistribution(
            score=prediction.score,
            threshold=detector.threshold,
            false_positive_rate=detector.false_positive_rate,
        ),
        input=encode_input(pixels),
    )
