"""The playground's network: built from a request, trained for some steps, seen on a grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.nn import ACTIVATIONS, MLP
from tinygrad_cnn.studio.encoding import Maps, encode
from tinygrad_cnn.studio.playground.points import features_of, grid

__all__ = [
    "LARGEST",
    "LOSSES",
    "PENALTIES",
    "Descent",
    "LayerValues",
    "LossChoice",
    "NetworkDesign",
    "PenaltyChoice",
    "PlaneValues",
    "TrainingProgress",
    "Views",
    "arrays_of",
    "build",
    "gradient_and_loss",
    "penalty_of",
    "results",
    "train",
    "views",
]

PlaneValues = NDArray[np.float64]

LARGEST = 1e6
"""The largest absolute value of a parameter; training that exceeds it has diverged."""

MOST_SECONDS = 0.25  # of training in one request
OUTPUT_SIZE, NEURON_SIZE = 60, 20  # cells a side of the maps
EVERY = OUTPUT_SIZE // NEURON_SIZE
FAR = 1e3  # where a bounded activation has reached its limits
BOUND = 10.0


# --- choices -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LossChoice:
    """A loss of the output, averaged over the points.

    Attributes
    ----------
    label : str
    compute : callable
        Returns the loss of the logits z and their sigmoids Y with the classes y, all of shape
        (N, 1).
    formula, latex : str
        The loss of one point, as text and as LaTeX.
    reference : str
        The equation's number in the text.
    of_z : bool
        Whether it is computed of z; then its derivative with respect to z is Y − y.
    """

    label: str
    compute: Callable[[tg.Tensor, tg.Tensor, PlaneValues], tg.Tensor]
    formula: str
    latex: str
    reference: str = ""
    of_z: bool = False


LOSSES = {
    "squared_error": LossChoice(
        "Squared error",
        lambda z, probability, y: tg.squared_error(probability, y, reduction="mean"),
        "½ (Y − y)²",
        r"\tfrac12 (Y-y)^2",
        "eq 17",
    ),
    "cross_entropy": LossChoice(
        "Cross-entropy",
        lambda z, probability, y: tg.binary_cross_entropy_with_logits(z, y),
        "−y·ln Y − (1 − y)·ln(1 − Y)",
        r"-y \ln Y - (1-y) \ln(1-Y)",
        of_z=True,
    ),
}
"""Losses by name."""


@dataclass(frozen=True)
class PenaltyChoice:
    """A penalty of the weights, but not of the biases, which is added to the loss.

    Attributes
    ----------
    label : str
    compute : callable
        Returns the penalty of one weight matrix for the rate 1.
    formula, latex : str
        Its derivative with respect to one weight, as text and as LaTeX.
    """

    label: str
    compute: Callable[[tg.Tensor], tg.Tensor]
    formula: str
    latex: str


PENALTIES = {
    "l1": PenaltyChoice("L1", lambda w: tg.abs(w).sum(), "λ·sign w", r"\lambda\,\mathrm{sign}\,w"),
    "l2": PenaltyChoice("L2", lambda w: 0.5 * (w * w).sum(), "λ·w", r"\lambda\,w"),
}
"""Penalties by name."""


# --- the network ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerValues:
    """The parameters of a layer, or their gradients: ``weight[i][j]`` leads from j to neuron i."""

    weight: list[list[float]]
    bias: list[float]


@dataclass(frozen=True)
class NetworkDesign:
    """A perceptron with one output, whose sigmoid is the probability of class 1.

    Attributes
    ----------
    features : list of str
    hidden : list of int
    activation, loss : str
    penalty : str or None
    rate : float
        The rate of the penalty.
    """

    features: list[str] = field(default_factory=lambda: ["x1", "x2"])
    hidden: list[int] = field(default_factory=lambda: [4, 2])
    activation: str = "tanh"
    loss: str = "squared_error"
    penalty: str | None = None
    rate: float = 0.0


def build(about: NetworkDesign, layers: Sequence[LayerValues] | None, seed: int) -> MLP:
    """Return the network in float64, with the given parameters or initial ones.

    Raises
    ------
    ValueError
        If the parameters do not fit the architecture.
    """
    sizes = (len(about.features), *about.hidden, 1)
    with tg.default_dtype("float64"):
        model = MLP(sizes, about.activation, rng=np.random.default_rng(seed))
    if layers is None:
        return model
    if len(layers) != len(model.fc):
        raise ValueError(f"parameters: {len(layers)} layers came, expected {len(model.fc)}")
    for place, (layer, linear) in enumerate(zip(layers, model.fc, strict=True)):
        _set(linear.weight, layer.weight, f"parameters[{place}].weight")
        assert linear.bias is not None
        _set(linear.bias, layer.bias, f"parameters[{place}].bias")
    return model


def _set(parameter: tg.Tensor, values: Sequence[object], name: str) -> None:
    try:
        array = np.array(values, np.float64)
    except ValueError:  # rows of different lengths
        array = np.empty(0)
    if array.shape != parameter.shape:
        expected = " × ".join(map(str, parameter.shape))
        raise ValueError(f"{name}: the sizes are not those of the network, expected {expected}")
    parameter.data[...] = array


def arrays_of(values: Sequence[PlaneValues]) -> list[LayerValues]:
    """Return weights and biases, in alternation, as layers."""
    return [
        LayerValues(weight.tolist(), bias.tolist())
        for weight, bias in zip(values[::2], values[1::2], strict=True)
    ]


def results(model: MLP, inputs: PlaneValues) -> tuple[list[tg.Tensor], list[tg.Tensor]]:
    """Return z of every layer, and α of every layer: inputs, hidden layers, probabilities."""
    before, after = [], [tg.Tensor(inputs)]
    for linear, activation in zip(model.fc, [*model.activations, tg.sigmoid], strict=True):
        before.append(linear(after[-1]))
        after.append(activation(before[-1]))
    return before, after


def _loss(model: MLP, about: NetworkDesign, inputs: PlaneValues, classes: PlaneValues) -> tg.Tensor:
    before, after = results(model, inputs)
    return LOSSES[about.loss].compute(before[-1], after[-1], classes)


def penalty_of(model: MLP, about: NetworkDesign) -> tg.Tensor | None:
    """Return the penalty of the weights; None if there is none."""
    if about.penalty is None or about.rate == 0.0:
        return None
    compute = PENALTIES[about.penalty].compute
    first, *others = (compute(linear.weight) for linear in model.fc)
    return about.rate * sum(others, start=first)


# --- training ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Descent:
    """Steps of gradient descent.

    Attributes
    ----------
    lr : float
    batch_size : int
    seed : int
        Decides the order of the points, which is another in each epoch.
    step : int
        The number of steps done before.
    steps : int
    """

    lr: float
    batch_size: int
    seed: int
    step: int
    steps: int


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training came: the number of all steps, and whether it diverged."""

    step: int
    diverged: bool


def train(
    model: MLP, about: NetworkDesign, points: PlaneValues, classes: PlaneValues, asked: Descent
) -> TrainingProgress:
    """Train a network by gradient descent, for a quarter of a second at most.

    Many steps at once give the same parameters as single ones. A step after which a parameter is
    not finite, or too large, is undone and ends the training.

    Parameters
    ----------
    model : MLP
    about : NetworkDesign
    points : ndarray of shape (N, 2)
    classes : ndarray of shape (N, 1)
        0 or 1.
    asked : Descent
    """
    inputs = features_of(points, about.features)
    parameters = list(model.parameters())
    optimizer = tg.optim.SGD(parameters, lr=asked.lr)
    batches = math.ceil(len(points) / asked.batch_size)
    end, deadline = asked.step + asked.steps, monotonic() + MOST_SECONDS
    shuffled, order = -1, np.empty(0, np.int64)
    step = asked.step
    while batches and step < end and monotonic() < deadline:
        epoch, batch = divmod(step, batches)
        if epoch != shuffled:
            order = np.random.default_rng((asked.seed, epoch)).permutation(len(points))
            shuffled = epoch
        chosen = order[batch * asked.batch_size :][: asked.batch_size]
        kept = [parameter.data.copy() for parameter in parameters]
        optimizer.zero_grad()
        loss = _loss(model, about, inputs[chosen], classes[chosen])
        penalty = penalty_of(model, about)
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        if not all(np.abs(parameter.data).max() <= LARGEST for parameter in parameters):
            for parameter, array in zip(parameters, kept, strict=True):
                parameter.data[...] = array
            return TrainingProgress(step, diverged=True)
        step += 1
    return TrainingProgress(step, diverged=False)


def gradient_and_loss(
    model: MLP, about: NetworkDesign, points: PlaneValues, classes: PlaneValues
) -> tuple[list[PlaneValues] | None, float | None]:
    """Return the gradients of the loss of all points, without penalty, and the loss.

    None for no points.
    """
    if not len(points):
        return None, None
    loss = _loss(model, about, features_of(points, about.features), classes)
    return tg.grad(loss, list(model.parameters())), loss.item()


# --- maps ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Views:
    """The outputs of neurons at the cells of a grid.

    The value halfway between the low and the high of a map is that at z = 0.

    Attributes
    ----------
    surface : Maps
        The probability of class 1, of shape (60, 60); 0.5 is the decision boundary.
    neurons : list of Maps
        The features, then each hidden layer: maps of shape (neurons, 20, 20).
    chosen : Maps or None
        The chosen neuron, of shape (60, 60).
    """

    surface: Maps
    neurons: list[Maps]
    chosen: Maps | None


def views(model: MLP, about: NetworkDesign, chosen: Sequence[int] | None = None) -> Views:
    """Return the outputs of all neurons on a grid.

    Parameters
    ----------
    model : MLP
    about : NetworkDesign
    chosen : sequence of int, optional
        LayerValues, 0 for the features, and index of a neuron that is wanted larger.

    Raises
    ------
    ValueError
        If there is no such neuron.
    """
    sizes = (len(about.features), *about.hidden)
    if chosen is not None and not (chosen[0] < len(sizes) and chosen[1] < sizes[chosen[0]]):
        raise ValueError(f"chosen: there is no neuron {chosen[1]} in layer {chosen[0]}")
    with tg.no_grad():
        _, after = results(model, features_of(grid(OUTPUT_SIZE), about.features))
    *shown, output = (tensor.numpy().T.reshape(-1, OUTPUT_SIZE, OUTPUT_SIZE) for tensor in after)
    bounds = [_bounds(0.0, math.inf, shown[0])]
    bounds += [_bounds(*_activation_range(about.activation), layer) for layer in shown[1:]]
    middle = EVERY // 2
    return Views(
        surface=encode(output[0], (0.0, 1.0)),
        neurons=[
            encode(layer[:, middle::EVERY, middle::EVERY], within)
            for layer, within in zip(shown, bounds, strict=True)
        ],
        chosen=None if chosen is None else encode(shown[chosen[0]][chosen[1]], bounds[chosen[0]]),
    )


def _activation_range(name: str) -> tuple[float, float]:
    """Return the activation at 0, and its largest distance from that; infinite if unbounded."""
    activation = ACTIVATIONS[name].make()
    low, middle, high = activation(tg.Tensor(np.array([-FAR, 0.0, FAR]))).numpy().tolist()
    most = max(high - middle, middle - low)
    return middle, most if most <= BOUND else math.inf


def _bounds(middle: float, most: float, layer: PlaneValues) -> tuple[float, float]:
    """Return bounds of the values of a layer that are symmetric about `middle`."""
    if most == math.inf:
        most = max(float(np.abs(layer - middle).max()), 1e-9)
    return middle - most, middle + most
