"""Routes that explain a prediction, forward and backward, below ``/api/explain``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import Field

import tinygrad_cnn as tg
from tinygrad_cnn import train
from tinygrad_cnn.drawing.layout import GraphvizMissingError
from tinygrad_cnn.studio.api.fields import Id, Input, RequestBody, Temperature
from tinygrad_cnn.studio.encoding import decode_input
from tinygrad_cnn.studio.explain.backward import Backward, explain_backward
from tinygrad_cnn.studio.explain.cell import Cell, explain_cell
from tinygrad_cnn.studio.explain.forward import ExplainError
from tinygrad_cnn.studio.explain.graph import explain_graph
from tinygrad_cnn.studio.explain.layers import ForwardAnswer, explain_layers
from tinygrad_cnn.studio.explain.weight import Weight, explain_weight
from tinygrad_cnn.studio.problems import Problem, documented
from tinygrad_cnn.studio.services import Services, UsesServices

__all__ = ["router"]

REFUSALS = ("not-found", "no-model", "too-large", "invalid")
router = APIRouter(prefix="/api/explain", tags=["explain"], responses=documented(*REFUSALS))

ClassLabel = Annotated[int, Field(description="the number of the true class", ge=0, le=999)]
QualifiedName = Annotated[str, Field(max_length=200)]
IndexField = Annotated[int, Field(ge=0, le=2**31 - 1)]


class PictureRequest(RequestBody):
    """A picture, and the model to explain."""

    input: Input
    model: Id | None = None
    temperature: Temperature = 1.0


class CellRequest(PictureRequest):
    """A cell of a layer's output: channel, row and column; or the unit."""

    layer: QualifiedName
    cell: Annotated[list[IndexField], Field(min_length=1, max_length=3)]


class LabelRequest(PictureRequest):
    """The true class of the picture; by default, the predicted one."""

    label: ClassLabel | None = None


class WeightRequest(PictureRequest):
    """An entry of a parameter."""

    label: ClassLabel
    parameter: QualifiedName
    index: Annotated[list[IndexField], Field(min_length=1, max_length=4)]


@router.post("/layers")
def layers(asked: PictureRequest, services: UsesServices) -> ForwardAnswer:
    """Return the output of every layer for a picture: maps, kernels and equations."""
    with _explaining(services, asked.model) as run:
        return explain_layers(run, decode_input(asked.input), asked.temperature)


@router.post("/cell")
def cell(asked: CellRequest, services: UsesServices) -> Cell:
    """Return the computation of one cell, number by number, and its receptive field."""
    with _explaining(services, asked.model) as run:
        return explain_cell(
            run, decode_input(asked.input), asked.layer, asked.cell, asked.temperature
        )


@router.post("/backward")
def backward(asked: LabelRequest, services: UsesServices) -> Backward:
    """Return the gradients of the loss: of layers, parameters and pixels."""
    with _explaining(services, asked.model) as run:
        return explain_backward(run, decode_input(asked.input), asked.label, asked.temperature)


@router.post("/weight", responses=documented("busy"))
def weight(asked: WeightRequest, services: UsesServices) -> Weight:
    """Return the derivative with respect to one weight: the chain rule and a measured value."""
    with services.heavy, _explaining(services, asked.model) as run:
        return explain_weight(
            run,
            decode_input(asked.input),
            asked.label,
            asked.parameter,
            asked.index,
            asked.temperature,
        )


@router.get("/graph", response_class=HTMLResponse, responses=documented("no-graphviz", "busy"))
def graph(
    input: Annotated[Input, Query()],
    label: Annotated[ClassLabel, Query()],
    services: UsesServices,
    model: Annotated[Id | None, Query()] = None,
    depth: Annotated[int | None, Query(ge=1, le=16)] = None,
    temperature: Annotated[Temperature, Query()] = 1.0,
) -> HTMLResponse:
    """Return the computation graph as a page that steps through forward and backward."""
    with services.heavy, _explaining(services, model) as run:
        try:
            page = explain_graph(run, decode_input(input), label, depth, temperature)
        except GraphvizMissingError as error:
            raise Problem("no-graphviz", str(error)) from error
    return HTMLResponse(page.html, headers={"Content-Security-Policy": page.policy})


@contextmanager
def _explaining(services: Services, model_id: int | None) -> Iterator[train.TrainedModel]:
    """Provide the model to explain to one thread; an ExplainError becomes a problem."""
    loaded = services.predictor.get(model_id)
    with tg.num_threads(1):
        try:
            yield train.TrainedModel(loaded.model, loaded.settings)
        except ExplainError as error:
            raise Problem("invalid", str(error)) from error
