"""Routes of the playground, below ``/api/playground``; they store nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query
from numpy.typing import NDArray
from pydantic import BaseModel, Field

import tinygrad_cnn as tg
from tinygrad_cnn.nn import ACTIVATIONS, MLP
from tinygrad_cnn.studio.api.fields import RequestBody, one_of
from tinygrad_cnn.studio.encoding import Maps
from tinygrad_cnn.studio.playground import network
from tinygrad_cnn.studio.playground.backprop import Backprop, backprop
from tinygrad_cnn.studio.playground.network import LOSSES, PENALTIES, LayerValues, NetworkDesign
from tinygrad_cnn.studio.playground.points import DATA_SETS, FEATURES, REACH, sampled
from tinygrad_cnn.studio.problems import Problem, documented
from tinygrad_cnn.studio.services import Services, UsesServices
from tinygrad_cnn.support.arguments import choice

__all__ = ["router"]

MOST_POINTS, MOST_BATCH, MOST_STEPS = 400, 100, 1000
MOST_LAYERS, MOST_NEURONS = 6, 8
LARGEST_RATE = 100.0
FARTHEST = 10.0

router = APIRouter(prefix="/api/playground", tags=["playground"])


Coordinate = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]
ParameterValue = Annotated[float, Field(ge=-network.LARGEST, le=network.LARGEST)]
WeightRow = Annotated[list[ParameterValue], Field(max_length=MOST_NEURONS)]
NaturalNumber = Annotated[int, Field(ge=0, le=2**31 - 1)]
Neurons = Annotated[int, Field(ge=1, le=MOST_NEURONS)]
PlaygroundRate = Annotated[float, Field(ge=0, le=LARGEST_RATE)]


class PlanePoint(RequestBody):
    """A point of the plane and its class, 0 or 1."""

    x1: Coordinate
    x2: Coordinate
    label: Annotated[int, Field(ge=0, le=1)]


PointList = Annotated[list[PlanePoint], Field(max_length=MOST_POINTS)]


class LayerParameters(RequestBody):
    """The parameters of a layer: `weight[i][j]` leads from j to neuron i."""

    weight: Annotated[list[WeightRow], Field(max_length=MOST_NEURONS)]
    bias: WeightRow


class NetworkRequest(RequestBody):
    """A perceptron with one output, and its parameters; null means initial ones from `seed`."""

    features: list[Annotated[str, one_of(FEATURES)]] = Field(
        ["x1", "x2"], min_length=1, max_length=len(FEATURES)
    )
    hidden: list[Neurons] = Field([4, 2], max_length=MOST_LAYERS)
    activation: Annotated[str, one_of(ACTIVATIONS)] = "tanh"
    loss: Annotated[str, one_of(LOSSES)] = "squared_error"
    penalty: Annotated[str, one_of(PENALTIES)] | None = None
    penalty_rate: PlaygroundRate = 0.0
    seed: NaturalNumber = 0
    parameters: list[LayerParameters] | None = Field(None, max_length=MOST_LAYERS + 1)
    lr: PlaygroundRate = 0.1


class TrainingRequest(NetworkRequest):
    """Steps of gradient descent, after `step` others; `chosen` is a layer and a neuron."""

    train: PointList
    test: PointList = Field([])
    batch_size: int = Field(10, ge=1, le=MOST_BATCH)
    step: NaturalNumber = 0
    steps: int = Field(0, ge=0, le=MOST_STEPS)
    chosen: Annotated[list[NaturalNumber], Field(min_length=2, max_length=2)] | None = None


class StepRequest(NetworkRequest):
    """The batch of one step."""

    points: Annotated[list[PlanePoint], Field(min_length=1, max_length=MOST_BATCH)]


class PlaygroundChoices(BaseModel):
    """The labels of all choices by name, the largest network, and the reach of the plane."""

    data_sets: dict[str, str] = {name: row.label for name, row in DATA_SETS.items()}
    features: dict[str, str] = {name: row.label for name, row in FEATURES.items()}
    activations: dict[str, str] = {name: row.label for name, row in ACTIVATIONS.items()}
    losses: dict[str, str] = {name: row.label for name, row in LOSSES.items()}
    penalties: dict[str, str] = {name: row.label for name, row in PENALTIES.items()}
    layers: int = MOST_LAYERS
    neurons: int = MOST_NEURONS
    points: int = MOST_POINTS
    reach: float = REACH


class PointsAnswer(BaseModel):
    """Points of a data set."""

    points: list[PlanePoint]


class TrainingAnswer(BaseModel):
    """The network after training.

    `gradients` are those of `train_loss`, which is of all points. `neurons` has the features, then
    each hidden layer. If the training `diverged`, the parameters are those before that.
    """

    parameters: list[LayerValues]
    gradients: list[LayerValues] | None
    step: int
    diverged: bool
    train_loss: float | None
    test_loss: float | None
    surface: Maps
    neurons: list[Maps]
    chosen: Maps | None


@router.get("")
async def choices() -> PlaygroundChoices:
    """Return the choices of the playground."""
    return PlaygroundChoices()


@router.get("/points", responses=documented("invalid"))
async def points(
    data: Annotated[str, Query(), one_of(DATA_SETS)],
    count: Annotated[int, Query(ge=2, le=MOST_POINTS)] = 200,
    noise: Annotated[float, Query(ge=0, le=1)] = 0.0,
    seed: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
) -> PointsAnswer:
    """Return points of a data set in random order."""
    _check_choice("data", data, DATA_SETS)
    found, classes = sampled(data, count, noise, seed)
    rows = zip(found.tolist(), classes.tolist(), strict=True)
    return PointsAnswer(points=[PlanePoint(x1=x1, x2=x2, label=label) for (x1, x2), label in rows])


@router.post("/train", responses=documented("invalid", "busy"))
def train(asked: TrainingRequest, services: UsesServices) -> TrainingAnswer:
    """Train a network, and return it, its losses and its neurons' outputs on a grid.

    Fewer steps are done than asked for if they would take more than a quarter of a second.
    """
    with _computing(services, asked) as (model, about):
        points, classes = _arrays(asked.train)
        schedule = network.Descent(asked.lr, asked.batch_size, asked.seed, asked.step, asked.steps)
        progress = network.train(model, about, points, classes, schedule)
        gradients, loss = network.gradient_and_loss(model, about, points, classes)
        _, test_loss = network.gradient_and_loss(model, about, *_arrays(asked.test))
        views = network.views(model, about, asked.chosen)
        values = [parameter.numpy() for parameter in model.parameters()]
        return TrainingAnswer(
            parameters=network.arrays_of(values),
            gradients=None if gradients is None else network.arrays_of(gradients),
            step=progress.step,
            diverged=progress.diverged,
            train_loss=loss,
            test_loss=test_loss,
            surface=views.surface,
            neurons=views.neurons,
            chosen=views.chosen,
        )


@router.post("/backprop", responses=documented("invalid", "busy"))
def step(asked: StepRequest, services: UsesServices) -> Backprop:
    """Return one step of gradient descent in full: forward, backward and update."""
    with _computing(services, asked) as (model, about):
        return backprop(model, about, *_arrays(asked.points), asked.lr)


@contextmanager
def _computing(services: Services, asked: NetworkRequest) -> Iterator[tuple[MLP, NetworkDesign]]:
    """Provide the network of a request, to one thread at a time; a ValueError is a problem."""
    with services.playground, tg.num_threads(1), np.errstate(all="ignore"):
        try:
            about = NetworkDesign(
                asked.features,
                asked.hidden,
                asked.activation,
                asked.loss,
                asked.penalty,
                asked.penalty_rate,
            )
            for feature in asked.features:
                _check_choice("features", feature, FEATURES)
            _check_choice("activation", asked.activation, ACTIVATIONS)
            _check_choice("loss", asked.loss, LOSSES)
            if asked.penalty is not None:
                _check_choice("penalty", asked.penalty, PENALTIES)
            layers = None
            if asked.parameters is not None:
                layers = [LayerValues(layer.weight, layer.bias) for layer in asked.parameters]
            yield network.build(about, layers, asked.seed), about
        except ValueError as error:
            raise Problem("invalid", str(error)) from None


def _check_choice(name: str, value: str, table: Iterable[str]) -> None:
    choice("playground", name, value, table)


def _arrays(points: list[PlanePoint]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the coordinates of shape (N, 2), and the classes of shape (N, 1)."""
    rows = [(point.x1, point.x2, point.label) for point in points]
    array = np.array(rows, np.float64).reshape(-1, 3)
    return array[:, :2], array[:, 2:]
