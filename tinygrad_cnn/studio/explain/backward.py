"""The backward pass explained: a gradient for every layer, parameter and pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.studio.encoding import Maps, encode
from tinygrad_cnn.studio.explain.forward import ExplainError, softmax_of, watch
from tinygrad_cnn.studio.explain.printed import PrintedEquation
from tinygrad_cnn.support.text import number
from tinygrad_cnn.train import TrainedModel

__all__ = [
    "Backward",
    "LayerGradient",
    "ParameterGradient",
    "explain_backward",
    "loss_of",
    "written_loss",
]


@dataclass(frozen=True)
class LayerGradient:
    """The gradient of the loss at a layer's output; otherwise as a `LayerAnswer`."""

    name: str
    kind: str
    shape: list[int]
    sources: list[str]
    groups: int
    gradient_norm: float
    maps: Maps


@dataclass(frozen=True)
class ParameterGradient:
    """The norms of a parameter and of the gradient of the loss for it."""

    name: str
    shape: list[int]
    gradient_norm: float
    norm: float


@dataclass(frozen=True)
class Backward:
    """A loss and its gradients.

    Attributes
    ----------
    label : int
        The true class; the predicted one if none was given.
    loss : float
        The cross-entropy of the probabilities with the label.
    written : str
        The loss in numbers; it holds exactly as printed.
    probabilities : list of float
    layers : list of LayerGradient
        In forward order.
    parameters : list of ParameterGradient
    saliency : Maps
        The absolute change of the loss per gray level (1/255) of each pixel,
        of shape (1, 28, 28).
    """

    label: int
    loss: float
    written: str
    probabilities: list[float]
    layers: list[LayerGradient]
    parameters: list[ParameterGradient]
    saliency: Maps


def loss_of(run: TrainedModel, logits: tg.Tensor, label: int, temperature: float) -> tg.Tensor:
    """Return the cross-entropy of the softmax of logits / temperature with a label."""
    classes = len(run.settings.data.classes)
    if not 0 <= label < classes:
        raise ExplainError(f"the label is {label}, expected 0 to {classes - 1}")
    with np.errstate(all="ignore"):
        scaled = logits if temperature == 1.0 else logits * (1.0 / temperature)
        loss = tg.cross_entropy(scaled, np.array([label]))
    if not np.isfinite(loss.item()):
        raise ExplainError("the loss is not finite")
    return loss


def explain_backward(
    run: TrainedModel, picture: NDArray[np.uint8], label: int | None, temperature: float = 1.0
) -> Backward:
    """Return the gradients of the loss of a picture with the digit `label`, or the predicted one.

    Raises
    ------
    ExplainError
        If the label does not exist, the picture does not fit the network, or a number is not
        finite.
    """
    parameters = dict(run.model.named_parameters())
    with tg.trace() as trace:
        seen = watch(run, picture, trace)
        probabilities = softmax_of(seen, temperature).output
        if label is None:
            label = int(probabilities.argmax())
        loss = loss_of(run, seen.logits, label, temperature)
        with np.errstate(all="ignore"):
            of_image, *of_parameters = tg.grad(loss, [seen.image, *parameters.values()])
    layers = []
    for layer in seen.layers:
        gradient = None if layer.step is None else layer.step.gradient
        if gradient is None:  # the loss does not depend on it
            gradient = np.zeros_like(layer.output[np.newaxis])
        _check_finite(gradient)
        layers.append(
            LayerGradient(
                name=layer.name,
                kind=layer.kind,
                shape=list(layer.output.shape),
                sources=list(layer.sources),
                groups=layer.groups,
                gradient_norm=_norm(gradient),
                maps=encode(gradient[0]),
            )
        )
    for gradient in (of_image, *of_parameters):
        _check_finite(gradient)
    deviation = np.reshape(run.settings.data.std, (-1, 1, 1))
    return Backward(
        label=label,
        loss=loss.item(),
        written=written_loss(float(probabilities[label])) or number(loss.item(), 4),
        probabilities=probabilities.tolist(),
        layers=layers,
        parameters=[
            ParameterGradient(name, list(parameter.shape), _norm(gradient), _norm(parameter._array))
            for (name, parameter), gradient in zip(parameters.items(), of_parameters, strict=True)
        ],
        saliency=encode(np.abs(of_image[0]) / (255 * deviation)),
    )


def written_loss(probability: float) -> str:
    """Return the loss as the logarithm of a probability, in printed digits; "" if that is 0.

    Examples
    --------
    >>> written_loss(0.9731), written_loss(1 - 1e-9)
    ('−ln 0.9731 = 0.02727', '−ln 0.999999999 = 1e−9')
    """
    if probability == 0.0:  # it is smaller than any number
        return ""
    exact = -math.log(probability)  # the network's own, in float32, is less precise
    equation = PrintedEquation([probability], lambda p: f"−ln {p[0]}", lambda p: -math.log(p[0]))
    return equation.text(exact, most=17)


def _check_finite(gradient: NDArray[np.floating]) -> None:
    if not np.isfinite(gradient).all():
        raise ExplainError("a gradient is not finite")


def _norm(array: NDArray[np.floating]) -> float:
    squares = np.square(array, dtype=np.float64)  # not a BLAS product, which would wake its threads
    return float(np.sqrt(squares.sum()))
