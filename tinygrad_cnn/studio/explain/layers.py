"""The outputs of all layers of a network for one picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.engine.windows import Windows
from tinygrad_cnn.ops import softmax
from tinygrad_cnn.studio.encoding import Maps, encode
from tinygrad_cnn.studio.explain.equations import equation_of
from tinygrad_cnn.studio.explain.forward import LayerCall, forward, softmax_of
from tinygrad_cnn.train import TrainedModel

__all__ = ["ForwardAnswer", "LayerAnswer", "Window", "explain_layers"]


@dataclass(frozen=True)
class Window:
    """The windows of a convolution or pooling, each as [rows, columns]; padding at top and left."""

    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]


@dataclass(frozen=True)
class LayerAnswer:
    """A layer and its output.

    Attributes
    ----------
    name, kind : str
        The kind is "composite" where a module computes several ops itself.
    equation : str
        Empty for a composite.
    mathml : str or None
    reference : str
        The equation's number in the text.
    shape : list of int
        Of the output, without the batch axis.
    maps : Maps or None
        The output, of shape (C, H, W).
    values : list of float, or None
        The output, if it is one-dimensional.
    sources : list of str
        The names of the layers that it reads; "input" for the network's input.
    groups : int
        The channels or units of input and output form this many groups of equal size, in order; an
        output depends on its own group alone.
    window : Window or None
    temperature : float or None
        Of a softmax.
    probabilities : bool
        Whether the output is that of a softmax.
    """

    name: str
    kind: str
    equation: str
    mathml: str | None
    reference: str
    shape: list[int]
    maps: Maps | None
    values: list[float] | None
    sources: list[str]
    groups: int
    window: Window | None
    temperature: float | None
    probabilities: bool


@dataclass(frozen=True)
class ForwardAnswer:
    """The network's input, and all layers in order; the last is the softmax of the logits.

    Attributes
    ----------
    classes : list of str
        The names of the units of the last layer.
    input : Maps
        Normalized, of shape (C, H, W).
    layers : list of LayerAnswer
    """

    classes: list[str]
    input: Maps
    layers: list[LayerAnswer]


def explain_layers(
    run: TrainedModel, picture: NDArray[np.uint8], temperature: float = 1.0
) -> ForwardAnswer:
    """Return the outputs of all layers for a picture of shape (28, 28).

    Raises
    ------
    ExplainError
        If the picture does not fit the network, or an intermediate number is not finite.
    """
    seen = forward(run, picture)
    layers = [_answer(layer) for layer in [*seen.layers, softmax_of(seen, temperature)]]
    classes = list(run.settings.data.classes)
    return ForwardAnswer(classes, encode(seen.image.numpy()[0]), layers)


def _answer(layer: LayerCall) -> LayerAnswer:
    equation = equation_of(None if layer.composed_of else layer.op)
    is_picture = layer.output.ndim == 3
    return LayerAnswer(
        name=layer.name,
        kind=layer.kind,
        equation=equation.text,
        mathml=equation.mathml,
        reference=equation.reference,
        shape=list(layer.output.shape),
        maps=encode(layer.output) if is_picture else None,
        values=None if is_picture else layer.output.reshape(-1).tolist(),
        sources=list(layer.sources),
        groups=layer.groups,
        window=None if layer.windows is None else _window(layer.windows),
        temperature=layer.options.get("temperature"),
        probabilities=layer.kind == softmax.kind,
    )


def _window(windows: Windows) -> Window:
    axes = (windows.rows, windows.columns)
    return Window(
        [axis.kernel for axis in axes],
        [axis.stride for axis in axes],
        [axis.before for axis in axes],
        [axis.dilation for axis in axes],
    )
