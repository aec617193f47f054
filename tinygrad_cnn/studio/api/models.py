"""Routes for models: list, evaluate, promote, download and upload."""

from __future__ import annotations

import json
from datetime import datetime
from typing import IO, Annotated, Any

import numpy as np
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, BaseModel, Field

from tinygrad_cnn.data import is_local
from tinygrad_cnn.studio import confusion, model_files, promotion, script
from tinygrad_cnn.studio.api.fields import Id, IdempotencyKey, Input, RequestBody
from tinygrad_cnn.studio.encoding import encode_input
from tinygrad_cnn.studio.image_sets import DRAWN_SETS, DRAWN_SHAPE
from tinygrad_cnn.studio.problems import Problem, documented
from tinygrad_cnn.studio.report import ModelReport, report
from tinygrad_cnn.studio.services import Services, UsesServices
from tinygrad_cnn.studio.settings import WEIGHTS_BYTES
from tinygrad_cnn.studio.store import (
    StoredDrawing,
    StoredModel,
    checked_name,
    created,
    drawings,
    models,
    runs,
)
from tinygrad_cnn.studio.store.names import LONGEST_NAME
from tinygrad_cnn.studio.uploads import Uploaded
from tinygrad_cnn.train import RunSettings

__all__ = ["ModelName", "ModelSummary", "router", "summary"]

MOST_MODELS = 500
MOST_IMAGES = 200
MOST_DRAWINGS = 1000
"""Drawings that a cell of the confusion matrix may be looked for in."""

BINARY = {"schema": {"type": "string", "format": "binary"}}
OCTETS = "application/octet-stream"
MODEL_BODY = {"requestBody": {"required": True, "content": {OCTETS: BINARY}}}

router = APIRouter(prefix="/api/models", tags=["models"])

ModelName = Annotated[
    str,
    AfterValidator(checked_name),
    Field(
        description="a line of text, without control characters",
        min_length=1,
        max_length=LONGEST_NAME,
    ),
]


class ModelSummary(BaseModel):
    """The summary of a model; `accuracy` is the accuracy on its test images.

    `input_shape` is (channels, rows, columns); `drawn` is whether it classifies drawings.
    """

    id: int
    name: str
    created: datetime
    parameters: int
    accuracy: float
    model: str
    data: str
    input_shape: list[int]
    classes: list[str]
    drawn: bool
    activation: str | None
    run_id: int | None
    parent_id: int | None
    promoted: bool


class ModelAnswer(ModelSummary):
    """A model: its settings, and its report on the test images."""

    settings: dict[str, Any]
    report: ModelReport


class ModelList(BaseModel):
    """All models, newest first, and the id of the promoted one."""

    models: list[ModelSummary]
    promoted: int | None


class ClassifiedImage(BaseModel):
    """An image, its predicted class and the probability of that class.

    `index` is its place among the test images, or `drawing` the id of a drawing.
    """

    index: int | None = None
    drawing: int | None = None
    label: int
    predicted: int
    probability: float
    input: Input


class ClassifiedImages(BaseModel):
    """A page of the test images in a cell of the confusion matrix, and their total number.

    `drawings` has the labeled drawings in this cell, among the newest ones.
    """

    total: int
    images: list[ClassifiedImage]
    drawings: list[ClassifiedImage]


class ModelChanges(RequestBody):
    """The new name of a model."""

    name: ModelName


class PromotionRequest(RequestBody):
    """Whether to promote a model even if it is less accurate."""

    insist: bool = False


def summary(model: StoredModel, promoted: int | None) -> ModelSummary:
    """Return the summary of a model; `promoted` is the id of the promoted one."""
    return ModelSummary(**_summary(model, promoted))


@router.get("")
def every(services: UsesServices) -> ModelList:
    """List the models."""
    with services.store.reading() as session:
        promoted = models.promoted_id(session)
        return ModelList(
            models=[summary(model, promoted) for model in models.all(session)], promoted=promoted
        )


@router.post(
    "",
    status_code=201,
    max_body_size=WEIGHTS_BYTES,
    openapi_extra=MODEL_BODY,
    responses=documented("conflict", "too-large", "invalid", "bad-weights", "busy"),
)
async def upload(
    file: Uploaded,
    services: UsesServices,
    name: Annotated[ModelName | None, Query()] = None,
    idempotency_key: IdempotencyKey = None,
) -> ModelSummary:
    """Upload a model that was downloaded from a studio, and evaluate it."""
    return await run_sync(_add, services, file, name, idempotency_key)


@router.post("/roll-back", responses=documented("conflict"))
def roll_back(services: UsesServices) -> ModelSummary:
    """Promote the previously promoted model again."""
    with services.store.session() as session:
        model = models.roll_back(session)
    services.predictor.forget()
    return summary(model, model.id)


@router.get("/{id}", responses=documented("not-found", "invalid"))
def one(id: Id, services: UsesServices) -> ModelAnswer:
    """Return a model, with its settings and its report."""
    with services.store.reading() as session:
        model = models.get(session, id)
        fields = _summary(model, models.promoted_id(session))
    return ModelAnswer.model_validate(
        {**fields, "settings": model.settings, "report": model.report}
    )


@router.get("/{id}/images", responses=documented("not-found", "invalid", "busy"))
def classified(
    id: Id,
    services: UsesServices,
    label: Annotated[int, Query(ge=0, le=9)],
    predicted: Annotated[int, Query(ge=0, le=9)],
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST_IMAGES)] = 60,
) -> ClassifiedImages:
    """Return the images of a digit that a model predicts as another, or as the same.

    They are its test images, and the newest labeled drawings; most probable first.
    """
    model = services.predictor.get(id)
    drawn: list[StoredDrawing] = []
    if model.settings.data.source in DRAWN_SETS:
        with services.store.reading() as session:
            newest = drawings.all(session, limit=MOST_DRAWINGS, labeled=True)
        drawn = [drawing for drawing in newest if drawing.label == label]
    pixels = np.frombuffer(b"".join(drawing.input for drawing in drawn), np.uint8)
    pixels = pixels.reshape(-1, *DRAWN_SHAPE)
    with services.heavy:
        tested = confusion.classify_test_images(model)
        taught = confusion.classify(model, pixels)
    test = confusion.test_images(model.settings)
    places = np.flatnonzero((test.labels == label) & (tested.predicted == predicted))
    places = places[np.argsort(-tested.probability[places], kind="stable")]
    return ClassifiedImages(
        total=len(places),
        images=[
            ClassifiedImage(
                index=int(i),
                label=label,
                predicted=predicted,
                probability=float(tested.probability[i]),
                input=encode_input(test.images[i]),
            )
            for i in places[offset : offset + limit]
        ],
        drawings=[
            ClassifiedImage(
                drawing=drawn[i].id,
                label=label,
                predicted=predicted,
                probability=float(taught.probability[i]),
                input=encode_input(pixels[i]),
            )
            for i in np.flatnonzero(taught.predicted == predicted)
        ],
    )


@router.patch("/{id}", responses=documented("not-found", "invalid"))
def rename(id: Id, changes: ModelChanges, services: UsesServices) -> ModelSummary:
    """Rename a model."""
    with services.store.session() as session:
        model = models.rename(session, id, changes.name)
        promoted = models.promoted_id(session)
    return summary(model, promoted)


@router.delete("/{id}", status_code=204, responses=documented("not-found", "conflict", "invalid"))
def delete(id: Id, services: UsesServices) -> None:
    """Delete a model, unless it is promoted."""
    with services.store.session() as session:
        models.delete(session, id)
    services.predictor.forget(id)


@router.post(
    "/{id}/promote", responses=documented("not-found", "worse", "conflict", "invalid", "busy")
)
def promote(
    id: Id, services: UsesServices, promoting: PromotionRequest | None = None
) -> ModelSummary:
    """Promote a model, which then answers predictions; refused if it is less accurate.

    Both are evaluated now, on the embedded test digits and the held-out drawings.
    """
    insist = promoting is not None and promoting.insist
    try:
        with services.heavy:
            model = promotion.promote(services.store, id, insist)
    except promotion.WorseModelError as error:
        raise Problem(
            "worse", f"model {id}: {error}", before=error.before, after=error.after
        ) from None
    services.predictor.forget()
    return summary(model, model.id)


@router.get(
    "/{id}/weights",
    response_class=Response,
    responses={200: {"content": {OCTETS: BINARY}}, **documented("not-found", "invalid")},
)
def weights(id: Id, services: UsesServices) -> Response:
    """Return a model as a safetensors file, with its settings in the header."""
    return _attachment(_row(services, id).weights, OCTETS, f"model-{id}.safetensors")


@router.get(
    "/{id}/settings",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}}, **documented("not-found", "invalid")},
)
def settings(id: Id, services: UsesServices) -> Response:
    """Return a model's settings as a file."""
    text = _settings(_row(services, id)).to_json()
    return _attachment(text.encode(), "application/json", f"model-{id}.json")


@router.get(
    "/{id}/script",
    response_class=Response,
    responses={200: {"content": {"text/x-python": {}}}, **documented("not-found", "invalid")},
)
def python(id: Id, services: UsesServices) -> Response:
    """Return a script that rebuilds a model and trains it in the same way."""
    with services.store.reading() as session:
        row = models.get(session, id)
        run = runs.get(session, row.run_id) if row.run_id is not None else None
    taught = row.parent_id is not None or (run is not None and run.kind == "fine-tune")
    text = script.script(row.name, _settings(row), row.accuracy, taught)
    return Response(text.encode(), media_type="text/x-python")


def _add(services: Services, file: IO[bytes], name: str | None, key: str | None) -> ModelSummary:
    with services.store.reading() as session:
        known = created(session, StoredModel, key)
        if known is not None:
            return summary(known, models.promoted_id(session))
        there = models.count(session)
    if there >= MOST_MODELS:
        raise Problem("conflict", f"there are {there} models, the maximum: delete some")
    with services.heavy:
        try:
            model, settings = model_files.read(file.read())
            source = settings.data.source
            if not is_local(source) and source not in DRAWN_SETS:
                raise ValueError(f"the images {source!r} are not on this machine")
            measured = report(model, settings, confusion.test_images(settings))
        except ValueError as error:
            raise Problem("bad-weights", str(error)) from error
    with services.store.session() as session:
        row = created(session, StoredModel, key)
        if row is None:
            row = models.add(
                session,
                name=f"{settings.model.name}, uploaded" if name is None else name,
                settings=settings,
                weights=model_files.pack(settings, model.state_dict()),
                report=measured,
            )
            row.key = key
        promoted = models.promoted_id(session)
    return summary(row, promoted)


def _summary(model: StoredModel, promoted: int | None) -> dict[str, Any]:
    options, data = model.settings["model"]["options"], model.settings["data"]
    return {
        "id": model.id,
        "name": model.name,
        "created": model.created,
        "parameters": model.parameters,
        "accuracy": model.accuracy,
        "model": model.settings["model"]["name"],
        "data": data["source"],
        "input_shape": data["input_shape"],
        "classes": data["classes"],
        "drawn": data["source"] in DRAWN_SETS,
        "activation": options.get("activation"),
        "run_id": model.run_id,
        "parent_id": model.parent_id,
        "promoted": model.id == promoted,
    }


def _row(services: Services, id: int) -> StoredModel:
    with services.store.reading() as session:
        return models.get(session, id)


def _settings(model: StoredModel) -> RunSettings:
    return RunSettings.from_json(json.dumps(model.settings), f"model {model.id}")


def _attachment(contents: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(contents, media_type=media_type, headers=headers)
