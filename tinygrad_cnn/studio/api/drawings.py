"""Routes for drawings and their labels."""

from __future__ import annotations

from datetime import datetime
from typing import IO, Annotated

import numpy as np
from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from tinygrad_cnn.studio import pictures, store
from tinygrad_cnn.studio.api.fields import Id, IdempotencyKey, Input, RequestBody
from tinygrad_cnn.studio.api.models import ModelName
from tinygrad_cnn.studio.api.predict import PICTURE_BODY
from tinygrad_cnn.studio.encoding import encode_input
from tinygrad_cnn.studio.image_sets import DRAWN_SHAPE
from tinygrad_cnn.studio.problems import Problem, documented
from tinygrad_cnn.studio.services import Services, UsesServices
from tinygrad_cnn.studio.settings import PICTURE_BYTES
from tinygrad_cnn.studio.store import drawings
from tinygrad_cnn.studio.uploads import Uploaded

__all__ = ["answer", "router"]

MOST = 200
MOST_DRAWINGS = 20_000
SIDE = 280
"""The longest side of a stored picture."""

router = APIRouter(prefix="/api/drawings", tags=["drawings"])

DigitLabel = Annotated[int, Field(description="the true digit", ge=0, le=9)]


class DrawingAnswer(BaseModel):
    """A drawing. If `held_back`, it is used for validation, never for training."""

    id: int
    name: str
    label: int | None
    held_back: bool
    created: datetime
    input: Input


class DrawingList(BaseModel):
    """A page of the requested drawings, newest first, and their total number."""

    total: int
    drawings: list[DrawingAnswer]


class DrawingChanges(RequestBody):
    """A new label, null for unknown, and a new name of a drawing; or one of them."""

    label: DigitLabel | None = None
    name: ModelName | None = None


@router.post(
    "",
    status_code=201,
    max_body_size=PICTURE_BYTES,
    openapi_extra=PICTURE_BODY,
    responses=documented("conflict", "too-large", "invalid", "not-a-picture", "blank", "busy"),
)
async def add(
    file: Uploaded,
    services: UsesServices,
    label: Annotated[DigitLabel | None, Query()] = None,
    name: Annotated[ModelName, Query()] = "Drawing",
    idempotency_key: IdempotencyKey = None,
) -> DrawingAnswer:
    """Store a drawing, and the network input made from it."""
    return await run_sync(_add, services, file, label, name, idempotency_key)


@router.get("", responses=documented("invalid"))
def some(
    services: UsesServices,
    labeled: bool | None = None,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> DrawingList:
    """List drawings: all, or only those with or without a label."""
    with services.store.reading() as session:
        found = drawings.all(session, offset=offset, limit=limit, labeled=labeled)
        total = drawings.count(session, labeled=labeled)
    return DrawingList(total=total, drawings=[answer(drawing) for drawing in found])


@router.get("/{id}", responses=documented("not-found", "invalid"))
def one(id: Id, services: UsesServices) -> DrawingAnswer:
    """Return a drawing."""
    with services.store.reading() as session:
        return answer(drawings.get(session, id))


@router.get(
    "/{id}/picture",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **documented("not-found", "invalid")},
)
def picture(id: Id, services: UsesServices) -> Response:
    """Return the drawn picture, in gray."""
    with services.store.reading() as session:
        return Response(drawings.get(session, id).picture, media_type="image/png")


@router.patch("/{id}", responses=documented("not-found", "invalid"))
def change(id: Id, changes: DrawingChanges, services: UsesServices) -> DrawingAnswer:
    """Change the label or the name of a drawing; a field left out stays as it is."""
    with services.store.session() as session:
        drawing = drawings.get(session, id)
        if "label" in changes.model_fields_set:
            drawings.label(session, id, changes.label)
        if changes.name is not None:
            drawings.rename(session, id, changes.name)
    return answer(drawing)


@router.delete("/{id}", status_code=204, responses=documented("not-found", "invalid"))
def delete(id: Id, services: UsesServices) -> None:
    """Delete a drawing."""
    with services.store.session() as session:
        drawings.delete(session, id)


def _add(
    services: Services, file: IO[bytes], label: int | None, name: str, key: str | None
) -> DrawingAnswer:
    image = pictures.decode(file, services.heavy)
    pixels = pictures.digit(image)
    image.thumbnail((SIDE, SIDE))
    kept = pictures.png(image)
    with services.store.session() as session:
        known = store.created(session, store.StoredDrawing, key)
        if known is not None:
            return answer(known)
        if drawings.count(session) >= MOST_DRAWINGS:
            raise Problem(
                "conflict", f"{MOST_DRAWINGS} drawings are stored, the maximum: delete some"
            )
        drawing = drawings.add(
            session, name=name, picture=kept, input=pixels.tobytes(), label=label
        )
        drawing.key = key
    return answer(drawing)


def answer(drawing: store.StoredDrawing) -> DrawingAnswer:
    """Return the answer for a drawing."""
    pixels = np.frombuffer(drawing.input, np.uint8).reshape(DRAWN_SHAPE)
    return DrawingAnswer(
        id=drawing.id,
        name=drawing.name,
        label=drawing.label,
        held_back=drawing.held_back,
        created=drawing.created,
        input=encode_input(pixels),
    )
