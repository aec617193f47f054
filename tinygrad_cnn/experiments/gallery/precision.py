"""The same training in float32 and float64: a perceptron with tanh, and LeNet-5 with ReLU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.tensor import default_dtype
from tinygrad_cnn.data import Compose
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import COLORS, GRAY, draw_curve, name_lines
from tinygrad_cnn.experiments.gallery.common import normalize, train
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.nn import MLP, LeNet5, Module
from tinygrad_cnn.optim import SGD

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPOCHS, BATCH = 6, 64
LEARNING_RATES = {"perceptron": 0.1, "LeNet-5": 0.05}
DTYPES = ("float32", "float64")


def run(record: Record, seed: int, network: str, dtype: str, epochs: int = EPOCHS) -> None:
    """Train by gradient descent; both dtypes start from the same weights, up to rounding."""
    with default_dtype(dtype):
        model = _model(network, np.random.default_rng(seed))
        optimizer = SGD(model.parameters(), LEARNING_RATES[network])
        plain = normalize(record.data.train)
        transform = Compose(_widen, plain) if dtype == "float64" else plain
    train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed, transform=transform)


def _model(network: str, rng: np.random.Generator) -> Module:
    if network == "LeNet-5":
        return LeNet5(rng=rng)
    return MLP((784, 64, 10), "tanh", rng=rng)


def _widen(images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return images.astype(np.float64)


def figure(results: Results, figure: Figure) -> None:
    """Draw the losses against epochs and seconds, and their difference."""
    figure.set_size_inches(11.0, 6.4)
    for row, network in zip(figure.subplots(2, 3), LEARNING_RATES, strict=True):
        epochs, seconds, apart = row
        for dtype, color, style in zip(DTYPES, (COLORS[1], COLORS[0]), ("-", "--"), strict=True):
            for panel in (epochs, seconds):
                draw_curve(
                    panel, results, f"{network}, {dtype}", "test_loss", color=color,
                    label=dtype, seconds=panel is seconds, linestyle=style,
                )  # fmt: skip
        same, seeds = _apart(results, network)
        steps = np.arange(same.shape[1])
        apart.plot(steps, np.median(seeds, axis=0), color=GRAY, label="two seeds")
        apart.plot(steps, np.median(same, axis=0), color=COLORS[2], label="two dtypes")
        apart.fill_between(
            steps, same.min(axis=0), same.max(axis=0), color=COLORS[2], alpha=0.16, linewidth=0
        )
        for panel in row:
            panel.set_yscale("log")
            panel.yaxis.set_minor_formatter("")
        for panel in (epochs, seconds):
            panel.yaxis.set_major_formatter("{x:g}")
        epochs.set(ylabel=f"{network}: test loss", xlabel="epoch")
        seconds.set_xlabel("seconds")
        apart.set_xlabel("epoch")
        if network == "perceptron":
            epochs.set_title("loss against epochs", loc="left")
            seconds.set_title("loss against seconds", loc="left")
            apart.set_title("difference of the losses", loc="left")
            seconds.legend(frameon=False, labelcolor="linecolor")
        name_lines(apart)


def finding(results: Results) -> str:
    """Compare the difference between dtypes with that between seeds; describe float64's cost."""
    said = []
    for network in LEARNING_RATES:
        same, seeds = _apart(results, network)
        accuracy = {
            dtype: Spread.of(results.last(f"{network}, {dtype}", "test_accuracy"))
            for dtype in DTYPES
        }
        times = Spread.of(
            _seconds(results, network, "float64") / _seconds(results, network, "float32")
        )
        said.append(
            f"{network[0].upper()}{network[1:]}: test accuracy {accuracy['float32']:.2%} in "
            f"float32 and {accuracy['float64']:.2%} in float64. The final test losses of the "
            f"two dtypes differ by {Spread.of(same[:, -1]):.1g} with the same seed, those of two "
            f"seeds by {Spread.of(seeds[:, -1]):.1g}. float64 takes {times:.2g} times as long."
        )
    return "\n\n".join(said)


def _apart(results: Results, network: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the difference of test losses, between dtypes and between neighboring seeds."""
    single, double = (results.curve(f"{network}, {dtype}", "test_loss").values for dtype in DTYPES)
    neighbors = np.roll(single, 1, axis=0)
    return np.abs(single - double), np.abs(single - neighbors)


def _seconds(results: Results, network: str, dtype: str) -> NDArray[np.float64]:
    seconds: NDArray[np.float64] = results.curve(f"{network}, {dtype}", "test_loss").seconds[:, -1]
    return seconds


experiment = Experiment(
    name="precision",
    question="Does training need float64, and what does it cost?",
    variants=grid(network=tuple(LEARNING_RATES), dtype=DTYPES),
    run=run,
    figure=figure,
    finding=finding,
)
