"""Routes for the training and test images."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query
from pydantic import BaseModel

from tinygrad_cnn.data import is_local
from tinygrad_cnn.studio.api.fields import Input
from tinygrad_cnn.studio.confusion import split_of
from tinygrad_cnn.studio.encoding import encode_input
from tinygrad_cnn.studio.image_sets import IMAGE_SETS
from tinygrad_cnn.studio.problems import Problem, documented

__all__ = ["router"]

MOST = 200

router = APIRouter(prefix="/api/images", tags=["images"])


class LabeledImage(BaseModel):
    """An image, its index and its label."""

    index: int
    label: int
    input: Input


class LabeledImageList(BaseModel):
    """A page of the requested images, and their total number."""

    total: int
    images: list[LabeledImage]


@router.get("", responses=documented("not-found", "invalid"))
def images(
    data: Annotated[str, Query(max_length=40)] = "digits",
    part: Literal["test", "train"] = "test",
    label: Annotated[int | None, Query(ge=0, le=9)] = None,
    offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> LabeledImageList:
    """List the images of a set in their order: all, or those with one label."""
    if data not in IMAGE_SETS or not is_local(data):
        raise Problem("not-found", f"the images {data!r} are not on this machine")
    dataset = getattr(split_of(data), part)
    indices = np.arange(len(dataset)) if label is None else np.flatnonzero(dataset.labels == label)
    return LabeledImageList(
        total=len(indices),
        images=[
            LabeledImage(
                index=int(i),
                label=int(dataset.labels[i]),
                input=encode_input(dataset.images[i]),
            )
            for i in indices[offset : offset + limit]
        ],
    )
