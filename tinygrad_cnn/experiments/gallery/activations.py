"""Sigmoid, tanh and ReLU compared, with one to eight hidden layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.bench.timing import Pace
from tinygrad_cnn.core.graph import grad
from tinygrad_cnn.experiments.experiment import TIMES, Experiment, Record, grid
from tinygrad_cnn.experiments.figures import (
    COLORS,
    accuracy_axis,
    draw_curve,
    log_axis,
    name_lines,
    outer_labels,
)
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import prepared, train, updates
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.experiments.times import ratios, record_times, seconds
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment"]

ACTIVATIONS = ("sigmoid", "tanh", "relu")
LAYERS = {"1 layer": 1, "2 layers": 2, "4 layers": 4, "8 layers": 8}
VARIANTS = grid(activation=ACTIVATIONS, layers=LAYERS)
WIDTH, BATCH, LEARNING_RATE, EPOCHS = 64, 32, 0.1, 15
WANTED = 0.92
BACKWARD = "backward of "


def run(record: Record, *, seed: int, activation: str, layers: int, epochs: int = EPOCHS) -> None:
    """Train a perceptron by mini-batch gradient descent."""
    model = _perceptron(seed, activation, layers)
    optimizer = SGD(model.parameters(), LEARNING_RATE)
    train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed, gradients=True)


def times(record: Record, *, seed: int) -> None:
    """Time an update of each network, and its backward pass alone."""
    batches = prepared(record, BATCH, seed=seed)
    images, labels = batches[0]
    calls: dict[str, Callable[[], Any]] = {}
    for variant, shape in VARIANTS.items():
        model = _perceptron(seed, **shape)
        calls[variant] = updates(model, SGD(model.parameters(), LEARNING_RATE), batches)
        still = _perceptron(seed, **shape)
        loss = ops.cross_entropy(still(images), labels)
        calls[BACKWARD + variant] = partial(grad, loss, [*still.parameters()], retain_graph=True)
    record(0, updates_per_epoch=len(batches))
    record_times(record, calls, Pace(turn=0.1))


def _perceptron(seed: int, activation: str, layers: int) -> MLP:
    return MLP((784, *[WIDTH] * layers, 10), activation, rng=np.random.default_rng(seed))


def figure(results: Results, figure: Figure) -> None:
    """Draw accuracy and gradients: a column per depth, a line per activation."""
    figure.set_size_inches(11.0, 7.6)
    panels = figure.subplots(3, len(LAYERS), sharey="row")
    for column, (depth, layers) in zip(panels.T, LAYERS.items(), strict=True):
        column[0].set_title(f"{depth}, {WIDTH} wide".replace("layer", "hidden layer"), loc="left")
        where = np.arange(1, layers + 2)
        for activation, color in zip(ACTIVATIONS, COLORS, strict=False):
            variant = f"{activation}, {depth}"
            accuracy, gradient, profile = column
            draw = partial(draw_curve, color=color, label=activation)
            draw(accuracy, results, variant, "test_accuracy")
            draw(gradient, results, variant, "gradient_1")
            first = [results.curve(variant, f"gradient_{k}").values[:, 0] for k in where]
            profile.plot(where, np.median(first, axis=1), "o-", color=color, label=activation)
            profile.fill_between(
                where, np.min(first, axis=1), np.max(first, axis=1),
                color=color, alpha=0.16, linewidth=0,
            )  # fmt: skip
        for axes in column[1:]:
            log_axis(axes.yaxis)
        profile.set_xticks(where)
        for axes, label in zip(column, ("epochs", "epochs", "layer"), strict=True):
            axes.set_xlabel(label)
        accuracy.axhline(WANTED, color="#1f1f1f", linewidth=0.6, linestyle=(0, (4, 3)), label="_")
        accuracy_axis(accuracy, 0.0, 0.97)
    outer_labels(panels, ("test accuracy", "gradient of the first layer", "gradient, first epoch"))
    name_lines(*panels[:, -1])


def finding(results: Results) -> Finding:
    """Compare epochs and seconds to the target accuracy, gradients, and the cost of depth."""
    soon = [
        [depth, *(_how_soon(results, f"{activation}, {depth}") for activation in ACTIVATIONS)]
        for depth in LAYERS
    ]
    over = {depth: _over_sigmoid(results, depth) for depth in LAYERS}
    first = [depth for depth in LAYERS if over[depth].first_gradient.low > 1]
    last = [depth for depth in LAYERS if over[depth].last_gradient.low > 1]
    sooner = _sooner(results, "relu", "sigmoid")
    faster = [depth for depth in LAYERS if over[depth].backward.high < 1]
    backward = [over[depth].backward.median for depth in LAYERS]
    shallow, *_, deep = LAYERS
    cost = Spread.of(ratios(results, f"relu, {deep}", f"relu, {shallow}"))
    sizes = [[depth, *(f"{spread:.3g}" for spread in over[depth])] for depth in LAYERS]
    header = ["gradient, first epoch", "gradient, last epoch", "backward pass", "update"]
    text = (
        f"Epochs and seconds to a test accuracy of {100 * WANTED:g} % (learning rate "
        f"{LEARNING_RATE:g}, batches of {BATCH}, at most {EPOCHS} epochs):\n\n"
        f"{markdown_table(['hidden layers', *ACTIVATIONS], soon)}\n\n"
        "ReLU's values over the sigmoid's: norm of the first layer's gradient, and time:\n\n"
        f"{markdown_table(['hidden layers', *header], sizes)}\n\n"
        f"In every seed, the gradient is larger with ReLU at {_listed(first)} in the first epoch, "
        f"and at {_listed(last)} in the last; ReLU needs fewer epochs than the sigmoid at "
        f"{_listed(sooner)}, and than tanh at {_listed(_sooner(results, 'relu', 'tanh'))}; and its "
        f"backward pass takes less time than the sigmoid's at {_listed(faster)}. An update with "
        f"ReLU takes {cost:.2g} times as long with {deep} as with {shallow}."
    )
    verdicts = (
        Verdict.of_each(
            "ReLU: “a much greater Δw”",
            [depth in first for depth in LAYERS],
            f"first epoch, first layer: {over[shallow].first_gradient.median:.2g} times the "
            f"sigmoid's gradient with {shallow}, {over[deep].first_gradient.median:.2g} times with "
            f"{deep}",
        ),
        Verdict.of_each(
            "ReLU: “a much faster back propagation process”",
            [depth in each for each in [sooner, faster] for depth in LAYERS],
            f"fewer epochs to {100 * WANTED:g} % than the sigmoid at {_listed(sooner)}; a backward "
            f"pass takes {min(backward):.3g} to {max(backward):.3g} times as long",
        ),
        Verdict.of(
            "more hidden layers: “increased computation time”",
            cost.low > 1,
            f"an update with {deep} takes {cost:.2g} times as long as with {shallow}",
        ),
    )
    return Finding(text, verdicts)


class _Ratios(NamedTuple):
    """ReLU's value over the sigmoid's."""

    first_gradient: Spread
    last_gradient: Spread
    backward: Spread
    update: Spread


def _over_sigmoid(results: Results, depth: str) -> _Ratios:
    relu, sigmoid = f"relu, {depth}", f"sigmoid, {depth}"
    gradients = (
        results.curve(relu, "gradient_1").values / results.curve(sigmoid, "gradient_1").values
    )
    values = (
        gradients[:, 0],
        gradients[:, -1],
        ratios(results, BACKWARD + relu, BACKWARD + sigmoid),
        ratios(results, relu, sigmoid),
    )
    return _Ratios(*map(Spread.of, values))


def _how_soon(results: Results, variant: str) -> str:
    """Return epochs and seconds, or the number of successful seeds if they are not the majority."""
    epochs = _epochs(results, variant)
    if np.isnan(Spread.of(epochs).median):
        return f"in {np.isfinite(epochs).sum()} of {len(epochs)} seeds"
    an_epoch = np.median(results.last(TIMES, "updates_per_epoch")) * seconds(results, variant)
    return f"{Spread.of(epochs):.0f}; {Spread.of(np.outer(epochs, an_epoch)):.2g} s"


def _sooner(results: Results, activation: str, other: str) -> list[str]:
    """Return the depths at which an activation needs fewer epochs than another in every seed."""
    return [
        depth
        for depth in LAYERS
        if np.all(
            _epochs(results, f"{activation}, {depth}") < _epochs(results, f"{other}, {depth}")
        )
    ]


def _epochs(results: Results, variant: str) -> Numbers:
    """Return the epochs to the target accuracy, for each seed; infinite if it is not reached."""
    return np.nan_to_num(results.first(variant, "test_accuracy", at_least=WANTED), nan=np.inf)


def _listed(depths: Sequence[str]) -> str:
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
    variants=VARIANTS,
    run=run,
    times=times,
    figure=figure,
    finding=finding,
)
