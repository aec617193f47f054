"""Convolutional networks that differ in one respect: what it costs, and what it brings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.efficiency.drawing import COLOURS, accuracy_axis
from tinygrad_cnn.efficiency.experiment import Experiment, Record
from tinygrad_cnn.efficiency.experiments.common import table, train
from tinygrad_cnn.efficiency.results import Results, Spread
from tinygrad_cnn.nn import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential
from tinygrad_cnn.optim import Adam

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGE, CLASSES = 28, 10
EPOCHS, BATCH, LEARNING_RATE = 6, 64, 0.002


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Convolutions that halve the image, then a hidden layer.

    Attributes
    ----------
    depth : int
        How many convolutions.
    channels : int
        Of the first one; each has twice those of the one before.
    kernel : int
    pooling : str
        What halves the image: "maximum" or "average" of 2×2, or a "stride" of 2.
    width : int
        Of the hidden layer.
    """

    depth: int = 2
    channels: int = 8
    kernel: int = 5
    pooling: str = "maximum"
    width: int = 64

    def build(self, rng: np.random.Generator) -> Module:
        """Return such a network."""
        stride = 2 if self.pooling == "stride" else 1
        layers: list[Module] = []
        size, before, after = IMAGE, 1, self.channels
        for _ in range(self.depth):
            layers.append(
                Conv2d(before, after, self.kernel, stride, padding=self.kernel // 2, rng=rng)
            )
            layers.append(ReLU())
            if self.pooling == "maximum":
                layers.append(MaxPool2d(2))
            elif self.pooling == "average":
                layers.append(AvgPool2d(2))
            size = (size - 1) // 2 + 1 if stride == 2 else size // 2
            before, after = after, 2 * after
        hidden = Linear(before * size * size, self.width, rng=rng)
        return Sequential(*layers, Flatten(), hidden, ReLU(), Linear(self.width, CLASSES, rng=rng))


USUAL = Architecture()
ASPECTS: dict[str, tuple[int | str, ...]] = {
    "depth": (0, 1, 2, 3),
    "channels": (2, 4, 8, 16),
    "kernel": (1, 3, 5, 7),
    "pooling": ("maximum", "average", "stride"),
    "width": (16, 64, 256),
}


def label(aspect: str, value: int | str) -> str:
    """Return how the architecture with one other value is called.

    Examples
    --------
    >>> label("depth", 3), label("pooling", "stride"), label("width", USUAL.width)
    ('depth 3', 'pooling stride', 'usual')
    """
    return "usual" if asdict(USUAL)[aspect] == value else f"{aspect} {value}"


def run(record: Record, seed: int, architecture: Architecture, epochs: int = EPOCHS) -> None:
    """Train an architecture with Adam; take down its multiply-adds and parameters too."""
    with record.aside():
        model = architecture.build(np.random.default_rng(seed))
        summary = model.summary((1, IMAGE, IMAGE))
        record(0, multiply_adds=float(summary.multiply_adds or 0), parameters=summary.parameters)
        optimizer = Adam(model.parameters(), LEARNING_RATE)
    train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed)


def figure(results: Results, figure: Figure) -> None:
    """Draw the accuracy against multiply-adds and against seconds, a line for each aspect."""
    figure.set_size_inches(11.0, 5.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, measure in zip(panels, ("multiply_adds", "seconds"), strict=True):
        lowest = 1.0
        for (aspect, values), colour in zip(ASPECTS.items(), COLOURS, strict=False):
            labels = [label(aspect, value) for value in values]
            accuracies = [Spread.of(_accuracy(results, name)) for name in labels]
            costs = [float(np.median(_cost(results, name, measure))) for name in labels]
            lowest = min(lowest, *(spread.low for spread in accuracies))
            axes.plot(costs, [s.median for s in accuracies], "o-", color=colour, label=aspect)
            for cost, spread, value, name in zip(costs, accuracies, values, labels, strict=True):
                axes.plot([cost, cost], [spread.low, spread.high], color=colour, alpha=0.3)
                if name != "usual":
                    axes.annotate(
                        f"{value}", (cost, spread.median), xytext=(5, 5),
                        textcoords="offset points", color=colour, fontsize=9,
                    )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}" if measure == "seconds" else "{x:,.0f}")
        axes.xaxis.set_minor_formatter("")
        accuracy_axis(axes, np.floor(50 * lowest) / 50, 0.99)
    panels[0].set(xlabel="multiply-adds of an image, forward", ylabel="test accuracy")
    panels[1].set_xlabel(f"seconds of {EPOCHS} epochs, one thread")
    panels[1].legend(frameon=False, labelcolor="linecolor", loc="lower right")


def finding(results: Results) -> str:
    """Say what each aspect costs and brings."""
    rows = [
        [
            name,
            f"{np.median(results.last(name, 'multiply_adds')):,.0f}",
            f"{np.median(results.last(name, 'parameters')):,.0f}",
            f"{Spread.of(_cost(results, name, 'seconds')):.2g}",
            f"{Spread.of(_accuracy(results, name)):.1%}",
        ]
        for name in experiment.variants
    ]
    usual = ", ".join(f"{aspect} {value}" for aspect, value in asdict(USUAL).items())
    header = ["architecture", "multiply-adds", "parameters", "seconds", "accuracy"]
    said = " ".join(_compared(results, aspect) for aspect in ASPECTS)
    return (
        f"The usual one has {usual}; the others differ in one of them.\n\n{table(header, rows)}\n\n"
        f"{said} {_whether_work_is_time(results)}"
    )


def _compared(results: Results, aspect: str) -> str:
    """Return the sentence that holds the last value of an aspect against the first."""
    first, last = ASPECTS[aspect][0], ASPECTS[aspect][-1]
    names = label(aspect, first), label(aspect, last)
    before, after = (_accuracy(results, name) for name in names)
    seconds = Spread.of(_cost(results, names[1], "seconds") / _cost(results, names[0], "seconds"))
    gained = Spread.of(100 * (after - before))
    return (
        f"{aspect.capitalize()} {last} in place of {first}: {gained:+.1f} points for {seconds:.2g} "
        "times the seconds."
    )


def _whether_work_is_time(results: Results) -> str:
    """Return the sentence about how well multiply-adds tell the seconds."""
    names = list(
        dict.fromkeys(label(a, value) for a, values in ASPECTS.items() for value in values)
    )
    work, seconds = (
        np.log([float(np.median(_cost(results, name, measure))) for name in names])
        for measure in ("multiply_adds", "seconds")
    )
    slope = float(np.polyfit(work, seconds, 1)[0])
    correlation = float(np.corrcoef(work, seconds)[0, 1])
    return (
        f"Over all of them ten times the multiply-adds take {10**slope:.2g} times the seconds "
        f"(correlation of the logarithms {correlation:.2f}): the rest of the time goes into moving "
        "numbers, which pooling and activation do as well."
    )


def _accuracy(results: Results, name: str) -> NDArray[np.float64]:
    accuracy: NDArray[np.float64] = results.last(name, "test_accuracy")
    return accuracy


def _cost(results: Results, name: str, measure: str) -> NDArray[np.float64]:
    """Return multiply-adds, or the seconds of the whole training, of each seed."""
    if measure == "seconds":
        seconds: NDArray[np.float64] = results.curve(name, "test_accuracy").seconds[:, -1]
        return seconds
    return results.last(name, measure)


experiment = Experiment(
    name="architectures",
    question="What do depth, width, kernels, channels and pooling cost, and what do they bring?",
    claim="“The more hidden layers there are, the more complex problems the CNN is capable of "
    "solving. The cost? Increased computation time.” (section 0.3.1.3)",
    variants={
        label(aspect, value): {"architecture": replace(USUAL, **{aspect: value})}  # type: ignore[arg-type]  # each of its type
        for aspect, values in ASPECTS.items()
        for value in values
    },
    run=run,
    figure=figure,
    finding=finding,
)
