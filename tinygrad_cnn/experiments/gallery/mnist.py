"""Time to 98.5 % test accuracy on MNIST, here and with PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import COLORS, accuracy_axis, name_lines
from tinygrad_cnn.experiments.gallery import frameworks
from tinygrad_cnn.experiments.gallery.frameworks import KINKED, OURS, THEIRS
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment"]

EPOCHS, LEARNING_RATE = 12, 0.1
WANTED = 0.985  # without augmentation this network hardly reaches 99 %


def run(record: Record, *, seed: int, framework: str, epochs: int = EPOCHS) -> None:
    """Train LeNet-5 in its own process, from the same weights in the same order."""
    frameworks.run(record, seed, framework, KINKED, epochs, LEARNING_RATE, decay=True)


def figure(results: Results, figure: Figure) -> None:
    """Draw the accuracy against epochs and against seconds."""
    epochs, seconds = figure.subplots(1, 2, sharey=True)
    for framework, color in zip((OURS, THEIRS), (COLORS[1], COLORS[0]), strict=True):
        if framework not in results.variants:
            continue
        accuracy = results.curve(framework, "test_accuracy")
        timed = results.curve(framework, "training_seconds").median
        for axes, x in ((epochs, np.arange(1, len(timed) + 1)), (seconds, timed)):
            axes.plot(x, accuracy.median, color=color, label=framework)
            axes.fill_between(x, accuracy.low, accuracy.high, color=color, alpha=0.16, linewidth=0)
    lowest = min(0.97, *(min(results.last(each, "test_accuracy")) for each in results.variants))
    for axes, label in ((epochs, "epochs"), (seconds, "seconds of training, one thread")):
        axes.axhline(WANTED, color="#1f1f1f", linewidth=0.6, linestyle=(0, (4, 3)), label="_")
        axes.set_xlabel(label)
        accuracy_axis(axes, lowest, 0.994)
    epochs.set_ylabel("test accuracy")
    name_lines(seconds)


def finding(results: Results) -> str:
    """Describe when each reaches the accuracy, and compare the times."""
    rows = []
    for framework in results.variants:
        epochs, seconds = _when(results, framework)
        last = Spread.of(results.last(framework, "test_accuracy"))
        rows.append([framework, f"{Spread.of(epochs):.0f}", f"{Spread.of(seconds):.0f}",
                     f"{last:.2%}"])  # fmt: skip
    header = ["", f"epochs to {100 * WANTED:g} %", "seconds of training", "final"]
    text = (
        f"LeNet-5 with ReLU and max pooling, gradient descent in "
        f"batches of {frameworks.BATCH}, with a learning rate that falls from "
        f"{LEARNING_RATE:g} to 0 in {EPOCHS} epochs; the same weights and order for both.\n\n"
        f"{markdown_table(header, rows)}"
    )
    if {OURS, THEIRS} <= set(results.variants):
        ratio = Spread.of(_when(results, OURS)[1] / _when(results, THEIRS)[1])
        epoch = Spread.of(
            results.last(OURS, "training_seconds") / results.last(THEIRS, "training_seconds")
        )
        text += (
            f"\n\nWe take {ratio:.2f} times as long to reach it, and {epoch:.2f} times for an "
            "epoch."
        )
    return text


def _when(results: Results, framework: str) -> tuple[Numbers, Numbers]:
    """Return epochs and training seconds until the accuracy is reached, for each seed."""
    accuracy = results.curve(framework, "test_accuracy").values
    seconds = results.curve(framework, "training_seconds").values
    reached = accuracy >= WANTED
    first = reached.argmax(axis=1)
    never = ~reached.any(axis=1)
    epochs = np.where(never, np.nan, first + 1.0)
    return epochs, np.where(never, np.nan, seconds[np.arange(len(first)), first])


experiment = Experiment(
    name="mnist",
    question="How long does training to 98.5 % on MNIST take, here and with PyTorch?",
    variants=grid(framework=(OURS, THEIRS)),
    run=run,
    figure=figure,
    finding=finding,
    seeds=3,
    source="mnist",
    separate=True,
)
