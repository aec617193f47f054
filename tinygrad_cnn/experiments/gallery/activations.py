"""Sigmoid, tanh and ReLU compared, with one to eight hidden layers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import (
    COLORS,
    accuracy_axis,
    draw_curve,
    name_lines,
    outer_labels,
)
from tinygrad_cnn.experiments.gallery.common import train
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment"]

ACTIVATIONS = ("sigmoid", "tanh", "relu")
LAYERS = {"1 layer": 1, "2 layers": 2, "4 layers": 4, "8 layers": 8}
WIDTH, BATCH, LEARNING_RATE, EPOCHS = 64, 32, 0.1, 15
WANTED = 0.92


def run(record: Record, *, seed: int, activation: str, layers: int, epochs: int = EPOCHS) -> None:
    """Train a perceptron by mini-batch gradient descent."""
    sizes = (784, *[WIDTH] * layers, 10)
    model = MLP(sizes, activation, rng=np.random.default_rng(seed))
    optimizer = SGD(model.parameters(), LEARNING_RATE)
    train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed, gradients=True)


def figure(results: Results, figure: Figure) -> None:
    """Draw accuracy and gradients: a column per depth, a line per activation."""
    figure.set_size_inches(11.0, 10.0)
    panels = figure.subplots(4, len(LAYERS), sharey="row")
    for column, (depth, layers) in zip(panels.T, LAYERS.items(), strict=True):
        column[0].set_title(f"{depth}, {WIDTH} wide".replace("layer", "hidden layer"), loc="left")
        for activation, color in zip(ACTIVATIONS, COLORS, strict=False):
            variant = f"{activation}, {depth}"
            accuracy, timed, gradient, profile = column
            draw = partial(draw_curve, color=color, label=activation)
            draw(accuracy, results, variant, "test_accuracy")
            draw(timed, results, variant, "test_accuracy", seconds=True)
            draw(gradient, results, variant, "gradient_1")
            first = [
                results.curve(variant, f"gradient_{k}").values[:, 0] for k in range(1, layers + 2)
            ]
            where = np.arange(1, layers + 2)
            profile.plot(where, np.median(first, axis=1), "o-", color=color, label=activation)
            profile.fill_between(
                where, np.min(first, axis=1), np.max(first, axis=1),
                color=color, alpha=0.16, linewidth=0,
            )  # fmt: skip
        for axes in column[2:]:
            axes.set_yscale("log")
        column[3].set_xticks(where)
        for axes, label in zip(column, ("epochs", "seconds", "epochs", "layer"), strict=True):
            axes.set_xlabel(label)
        for axes in column[:2]:
            axes.axhline(WANTED, color="#1f1f1f", linewidth=0.6, linestyle=(0, (4, 3)), label="_")
            accuracy_axis(axes, 0.0, 0.97)
    rows = "test accuracy", "test accuracy", "gradient of the first layer", "gradient, first epoch"
    outer_labels(panels, rows)
    for axes in panels[:, -1]:
        name_lines(axes)


def finding(results: Results) -> str:
    """Describe when each reaches the target accuracy, and the first layer's gradient."""
    soon, sizes = [], []
    for depth in LAYERS:
        variants = [f"{activation}, {depth}" for activation in ACTIVATIONS]
        soon.append([depth])
        soon[-1] += [_how_soon(results, variant) for variant in variants]
        gradients = [_first_gradient(results, variant) for variant in variants]
        times = Spread.of(gradients[-1] / gradients[0])
        sizes.append([depth, *(f"{Spread.of(g):.2g}" for g in gradients), f"{times:.3g}"])
    header = ["hidden layers", *ACTIVATIONS]
    return (
        f"Time to a test accuracy of {100 * WANTED:g} % (learning rate {LEARNING_RATE:g}, "
        f"batches of {BATCH}, at most {EPOCHS} epochs):\n\n{markdown_table(header, soon)}\n\n"
        "The norm of the first layer's gradient in the first epoch:\n\n"
        f"{markdown_table([*header, 'relu over sigmoid'], sizes)}\n\n"
        f"{_verdict(results)} {_costs(results)}"
    )


def _how_soon(results: Results, variant: str) -> str:
    """Return epochs and seconds, or the number of successful seeds if they are not the majority."""
    epochs = _reached(results, variant)
    if np.isnan(Spread.of(epochs).median):
        return f"in {np.isfinite(epochs).sum()} of {len(epochs)} seeds"
    seconds = Spread.of(_reached(results, variant, seconds=True))
    return f"{Spread.of(epochs):.0f} epochs, {seconds:.1f} s"


def _costs(results: Results) -> str:
    """Describe the time of an epoch by depth: the text's "increased computation time"."""
    spreads = [
        f"{Spread.of(_epoch_seconds(results, f'relu, {depth}')):.2f} s with {depth}"
        for depth in LAYERS
    ]
    dear = [
        _epoch_seconds(results, f"sigmoid, {depth}") / _epoch_seconds(results, f"relu, {depth}")
        for depth in LAYERS
    ]
    return (
        f"With ReLU an epoch takes {', '.join(spreads)}. With the sigmoid it takes "
        f"{Spread.of(np.concatenate(dear)):.2f} times as long."
    )


def _epoch_seconds(results: Results, variant: str) -> Numbers:
    seconds = np.diff(results.curve(variant, "test_accuracy").seconds, axis=1)
    median: Numbers = np.median(seconds, axis=1)
    return median


def _verdict(results: Results) -> str:
    """Compare the claim with the figures."""
    seconds = {
        variant: np.median(np.nan_to_num(_reached(results, variant, seconds=True), nan=np.inf))
        for variant in results.variants
    }
    sooner = [d for d in LAYERS if seconds[f"relu, {d}"] < seconds[f"sigmoid, {d}"]]
    stuck = [variant for variant, median in seconds.items() if np.isinf(median)]
    return (
        f"The first layer's gradient is larger with ReLU than with the sigmoid at "
        f"{_listed(_larger(results, epoch=0))} in the first epoch, and at "
        f"{_listed(_larger(results, epoch=-1))} in the last, when the gradient of a "
        f"network that learned faster is smaller. ReLU takes less time at {_listed(sooner)}. "
        + (f"Not reached in most seeds: {'; '.join(stuck)}." if stuck else "")
    ).strip()


def _larger(results: Results, epoch: int) -> list[str]:
    """Return the depths at which ReLU's gradient exceeds the sigmoid's in an epoch."""
    medians = {
        variant: results.curve(variant, "gradient_1").median[epoch] for variant in results.variants
    }
    return [d for d in LAYERS if medians[f"relu, {d}"] > medians[f"sigmoid, {d}"]]


def _reached(results: Results, variant: str, seconds: bool = False) -> Numbers:
    return results.first(variant, "test_accuracy", at_least=WANTED, seconds=seconds)


def _first_gradient(results: Results, variant: str) -> Numbers:
    return results.curve(variant, "gradient_1").values[:, 0]


def _listed(depths: list[str]) -> str:
    if len(depths) == len(LAYERS):
        return "every depth"
    return ", ".join(depths) or "no depth"


experiment = Experiment(
    name="activations",
    question="How fast do networks with sigmoid, tanh and ReLU train, and how large is the "
    "gradient of their first layer?",
    claim="“Computationally, this often yields a much greater Δw ∧ Δb allowing for a much faster "
    "back propagation process” (0.3.2.4, of ReLU’s derivative); “The more hidden layers there are, "
    "the more complex problems the CNN is capable of solving. The cost? Increased computation "
    "time” (0.3.1.3).",
    variants=grid(activation=ACTIVATIONS, layers=LAYERS),
    run=run,
    figure=figure,
    finding=finding,
)
