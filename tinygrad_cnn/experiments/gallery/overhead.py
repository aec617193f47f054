"""The cost of recording: a network trained by the package, and the same network written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.bench.measuring import peak_bytes, seconds_per_call
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import COLORS, draw_curve, name_lines
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential
from tinygrad_cnn.optim import SGD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCHES = (1, 8, 64, 512)
UPDATES = 20  # the losses of these are compared
LEARNING_RATE = 0.01
HIDDEN, CHANNELS, KERNEL, POOL, CLASSES = 64, 8, 5, 2, 10
BUDGET = 1.0  # seconds of timing per batch size

TrainingStep = Callable[[Array, Array], float]
"""Learns from images and labels, and returns the loss."""


# --- by hand -------------------------------------------------------------------------------------


class HandwrittenPerceptron:
    """784-64-10 with ReLU and cross-entropy, forward and backward written out."""

    def __init__(self, weights: list[Array]) -> None:
        self.w1, self.b1, self.w2, self.b2 = weights

    def __call__(self, images: Array, labels: Array) -> float:
        """Train on a batch and return its loss."""
        x = images.reshape(len(images), -1)
        z = x @ self.w1.T + self.b1
        a = np.maximum(z, 0)
        loss, delta = softmax_loss(a @ self.w2.T + self.b2, labels)
        hidden = (delta @ self.w2) * (z >= 0)
        self.w2 -= LEARNING_RATE * (delta.T @ a)
        self.b2 -= LEARNING_RATE * delta.sum(axis=0)
        self.w1 -= LEARNING_RATE * (hidden.T @ x)
        self.b1 -= LEARNING_RATE * hidden.sum(axis=0)
        return loss


class HandwrittenConvolution:
    """8@5×5, ReLU, max-pool 2, 10, with cross-entropy: the convolution as one product (im2col)."""

    def __init__(self, weights: list[Array]) -> None:
        self.w1, self.b1, self.w2, self.b2 = weights

    def __call__(self, images: Array, labels: Array) -> float:
        """Train on a batch and return its loss."""
        N = len(images)
        windows = sliding_window_view(images[:, 0], (KERNEL, KERNEL), axis=(1, 2))
        OH, OW = windows.shape[1:3]
        rows = windows.reshape(N * OH * OW, KERNEL * KERNEL)
        z = rows @ self.w1.reshape(CHANNELS, -1).T + self.b1  # (N·OH·OW, C)
        a = np.maximum(z, 0)
        H, W = OH // POOL, OW // POOL
        # (N, H, W, C, 4): pooling reduces the last axis
        cells = a.reshape(N, H, POOL, W, POOL, CHANNELS).transpose(0, 1, 3, 5, 2, 4)
        cells = cells.reshape(N, H, W, CHANNELS, POOL * POOL)
        winners = cells.argmax(axis=-1)[..., None]
        pooled = np.take_along_axis(cells, winners, axis=-1)[..., 0]
        flat = pooled.transpose(0, 3, 1, 2).reshape(N, -1)
        loss, delta = softmax_loss(flat @ self.w2.T + self.b2, labels)
        g = (delta @ self.w2).reshape(N, CHANNELS, H, W).transpose(0, 2, 3, 1)
        spread = np.zeros_like(cells)
        np.put_along_axis(spread, winners, g[..., None], axis=-1)
        spread = spread.reshape(N, H, W, CHANNELS, POOL, POOL).transpose(0, 1, 4, 2, 5, 3)
        hidden = spread.reshape(N * OH * OW, CHANNELS) * (z >= 0)
        self.w2 -= LEARNING_RATE * (delta.T @ flat)
        self.b2 -= LEARNING_RATE * delta.sum(axis=0)
        self.w1 -= LEARNING_RATE * (hidden.T @ rows).reshape(self.w1.shape)
        self.b1 -= LEARNING_RATE * hidden.sum(axis=0)
        return loss


def softmax_loss(logits: Array, labels: Array) -> tuple[float, Array]:
    """Return the mean cross-entropy, and its gradient in the logits: (S − y) / N."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    totals = powers.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = float(np.mean(np.log(totals[:, 0]) - shifted[rows, labels]))
    gradient = powers / totals
    gradient[rows, labels] -= 1
    gradient /= len(labels)
    return loss, gradient


# --- by the package ------------------------------------------------------------------------------


def perceptron(rng: np.random.Generator) -> Module:
    """Return the perceptron as a module."""
    return Sequential(
        Flatten(), Linear(784, HIDDEN, rng=rng), ReLU(), Linear(HIDDEN, CLASSES, rng=rng)
    )


def convolutional(rng: np.random.Generator) -> Module:
    """Return the convolutional network as a module."""
    pooled = (28 - KERNEL + 1) // POOL
    first = [Conv2d(1, CHANNELS, KERNEL, rng=rng), ReLU(), MaxPool2d(POOL)]
    return Sequential(*first, Flatten(), Linear(CHANNELS * pooled**2, CLASSES, rng=rng))


def recorded(model: Module) -> TrainingStep:
    """Return the package's update of a model."""
    optimizer = SGD(model.parameters(), LEARNING_RATE)

    def update(images: Array, labels: Array) -> float:
        loss = ops.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return update


NETWORKS: dict[str, tuple[Callable[[np.random.Generator], Module], Callable[..., TrainingStep]]] = {
    "perceptron": (perceptron, HandwrittenPerceptron),
    "convolutional": (convolutional, HandwrittenConvolution),
}
BY_HAND, OURS = "by hand", "tinygrad_cnn"


def run(record: Record, seed: int, network: str, written: str, budget: float = BUDGET) -> None:
    """Train with several batch sizes: record losses, time and memory.

    ``loss`` is that of the updates with the middle batch size. For the other measures, the step is
    the batch size.
    """
    build, by_hand = NETWORKS[network]
    record.steps = max(BATCHES)
    for size in BATCHES:
        model = build(np.random.default_rng(seed))
        weights = [parameter.numpy().copy() for parameter in model.parameters()]
        update = recorded(model) if written == OURS else by_hand(weights)
        batches = _forever(DataLoader(record.data.train, size, shuffle=True, seed=seed))
        if size == BATCHES[2]:
            for step in range(1, UPDATES + 1):
                record(step, loss=update(*next(batches)))
        images, labels = next(batches)
        call = partial(update, images, labels)
        record(size, seconds_per_update=seconds_per_call(call, budget), peak_bytes=peak_bytes(call))


def _forever(loader: DataLoader) -> Iterator[tuple[Array, Array]]:
    while True:
        yield from loader


def figure(results: Results, figure: Figure) -> None:
    """Draw time and memory per update against the batch size."""
    figure.set_size_inches(9.0, 6.4)
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    for column, network in enumerate(NETWORKS):
        for row, measure in enumerate(("seconds_per_update", "peak_bytes")):
            panel = axes[row, column]
            panel.set(xscale="log", yscale="log")
            for written, color in ((BY_HAND, COLORS[0]), (OURS, COLORS[1])):
                draw_curve(
                    panel, results, f"{network}, {written}", measure,
                    color=color, label=written, marker="o",
                )  # fmt: skip
        axes[0, column].set_title(network, loc="left")
        axes[1, column].set_xlabel("batch size")
        axes[1, column].set_xticks(BATCHES, [f"{size}" for size in BATCHES])
        axes[1, column].minorticks_off()
    axes[0, 0].set_ylabel("seconds of an update")
    axes[1, 0].set_ylabel("bytes at its peak")
    for panel in axes[:, -1]:
        name_lines(panel)


def finding(results: Results) -> str:
    """Describe the cost of recording, and whether both learn alike."""
    apart = max(
        float(np.max(np.abs(a / b - 1.0)))
        for network in NETWORKS
        for a, b in [
            [results.curve(f"{network}, {written}", "loss").values for written in (OURS, BY_HAND)]
        ]
    )
    added = {
        size: Spread.of(
            1e6
            * (_at(results, "perceptron", OURS, size) - _at(results, "perceptron", BY_HAND, size))
        )
        for size in BATCHES
    }
    small, middle, large = BATCHES[0], BATCHES[2], BATCHES[-1]
    times = {
        network: [
            Spread.of(_at(results, network, OURS, size) / _at(results, network, BY_HAND, size))
            for size in (small, middle, large)
        ]
        for network in NETWORKS
    }
    memory = {
        network: Spread.of(
            _at(results, network, OURS, large, "peak_bytes")
            / _at(results, network, BY_HAND, large, "peak_bytes")
        )
        for network in NETWORKS
    }
    alone, some, many = times["perceptron"]
    one, few, most = times["convolutional"]
    return (
        f"Both train alike: the relative difference of their losses in the first {UPDATES} updates "
        f"is at most {apart:.0e}. Recording, the reverse sweep and finding the parameters add "
        f"{added[small]:.0f} µs to the perceptron's update of one example, and {added[middle]:.0f} "
        f"µs to one of {middle}: it takes {alone:.2g} and {some:.2g} times as long as by hand, and "
        f"{many:.2g} times with {large}. The convolutional network takes {one:.2g} times "
        f"as long as by hand with one example, {few:.2g} times with {middle} and {most:.2g} "
        f"times with {large}: the engine saves more time over one product of copied windows "
        "than recording costs. "
        f"The peak memory of an update of {large} is {memory['perceptron']:.2g} times that by hand "
        f"for the perceptron, and {memory['convolutional']:.2g} times for the convolutional "
        "network."
    )


def _at(
    results: Results, network: str, written: str, size: int, measure: str = "seconds_per_update"
) -> NDArray[np.float64]:
    """Return a measure at one batch size, for each seed."""
    curve = results.curve(f"{network}, {written}", measure)
    return curve.values[:, curve.steps == size].ravel()


experiment = Experiment(
    name="overhead",
    question="What does recording cost, compared with the same network written by hand?",
    variants=grid(network=tuple(NETWORKS), written=(BY_HAND, OURS)),
    run=run,
    figure=figure,
    finding=finding,
)
