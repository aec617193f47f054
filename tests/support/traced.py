"""Models whose forward and backward were watched twice: by a trace, and by an observer of ours."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn.drawing.drawing import Drawing


class Watch(tg.Observer):
    """Keeps what the events say, as an oracle for what is drawn of them."""

    def __init__(self) -> None:
        self.results: list[tuple[str, NDArray]] = []
        self.gradients: list[tuple[str, NDArray]] = []
        self.contributions: list[list[NDArray]] = []

    def forward(self, event: tg.ForwardEvent) -> None:
        self.results.append((event.op.name, np.array(event.output)))

    def backward(self, event: tg.BackwardEvent) -> None:
        self.gradients.append((event.node.op.name, np.array(event.gradient)))
        self.contributions.append([np.array(value) for _, value in event.contributions])


@dataclass
class Traced:
    """A computation, its drawing, and what it should show."""

    parameters: dict[str, tg.Tensor]
    drawing: Drawing
    watch: Watch = field(repr=False)


def traced(model: tg.nn.Module, x: NDArray, loss_of, title: str) -> Traced:
    """Run a model forward and backward under a trace."""
    watch = Watch()
    with tg.observe(watch), tg.trace() as trace:
        loss_of(model(tg.Tensor(x, name="image"))).backward()
    return Traced(dict(model.named_parameters()), trace.draw(names=model, title=title), watch)


def ring(size: int = 28) -> NDArray:
    """Return one image of a ring, which could be a zero."""
    row, column = np.mgrid[:size, :size] - size / 2
    return np.exp(-((np.hypot(row, column) - 8) ** 2) / 6).astype("f4")[None, None]


def lenet() -> Traced:
    """Return LeNet-5 with one image."""
    model = tg.nn.LeNet5(rng=np.random.default_rng(0))
    return traced(model, ring(), lambda y: tg.cross_entropy(y, np.array([0])), "LeNet-5")


def perceptron() -> Traced:
    """Return the text's perceptron: two inputs, two sigmoids, a softmax of three; eq 18."""
    draw = tg.nn.init.standard_normal
    options = {"output": "softmax", "bias": "per_connection", "init": draw, "bias_init": draw}
    model = tg.nn.MLP((2, 2, 3), **options, rng=np.random.default_rng(1))
    target = np.array([[0, 0, 1]], "f4")
    x = np.array([[0.7, -0.6]], "f4")
    return traced(model, x, lambda y: tg.squared_error(y, target), "The text's perceptron")
