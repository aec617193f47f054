"""Convolutional networks that differ in one aspect: its cost and its benefit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import COLORS, accuracy_axis, log_axis
from tinygrad_cnn.experiments.gallery.common import train
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.nn import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential
from tinygrad_cnn.optim import Adam
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGE, CLASSES = 28, 10
EPOCHS, BATCH, LEARNING_RATE = 6, 64, 0.002


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Convolutions that halve the image, then a hidden layer.

    Attributes
    ----------
    depth : int
        Number of convolutions.
    channels : int
        Channels of the first convolution; each later one doubles them.
    kernel : int
    pooling : str
        The downsampling: "maximum" or "average" of 2×2, or a "stride" of 2.
    width : int
        Units of the hidden layer.
    """

    depth: int = 2
    channels: int = 8
    kernel: int = 5
    pooling: str = "maximum"
    width: int = 64

    def build(self, rng: np.random.Generator) -> Module:
        """Build the network."""
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
    """Return the label of the architecture that differs from the usual one in one value.

    Examples
    --------
    >>> label("depth", 3), label("pooling", "stride"), label("width", USUAL.width)
    ('depth 3', 'pooling stride', 'usual')
    """
    return "usual" if asdict(USUAL)[aspect] == value else f"{aspect} {value}"


def run(record: Record, seed: int, architecture: Architecture, epochs: int = EPOCHS) -> None:
    """Train an architecture with Adam; record its multiply-adds and parameters too."""
    model = architecture.build(np.random.default_rng(seed))
    summary = model.summary((1, IMAGE, IMAGE))
    record(0, multiply_adds=float(summary.multiply_adds or 0), parameters=summary.parameters)
    optimizer = Adam(model.parameters(), LEARNING_RATE)
    train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed)


def figure(results: Results, figure: Figure) -> None:
    """Draw accuracy against multiply-adds and against seconds, a column per aspect."""
    figure.set_size_inches(11.0, 6.4)
    panels = figure.subplots(2, len(ASPECTS), sharex="row", sharey=True)
    xlabels = (
        "million multiply-adds of an image, forward",
        f"seconds of {EPOCHS} epochs, one thread",
    )
    everywhere = {label(a, value) for a, values in ASPECTS.items() for value in values}
    lowest = min(Spread.of(_accuracy(results, name)).low for name in everywhere)
    for row, measure, xlabel in zip(panels, ("multiply_adds", "seconds"), xlabels, strict=True):
        unit = 1e6 if measure == "multiply_adds" else 1.0
        costs = {n: float(np.median(_cost(results, n, measure))) / unit for n in everywhere}
        row[0].set(
            xlim=(min(costs.values()) / 1.6, max(costs.values()) * 4), ylabel="test accuracy"
        )
        for axes, aspect, color in zip(row, ASPECTS, COLORS, strict=False):
            _draw_aspect(axes, results, aspect, costs, color)
            accuracy_axis(axes, np.floor(50 * lowest) / 50, 0.99)
            log_axis(axes.xaxis)
        row[len(row) // 2].set_xlabel(xlabel)
    for axes, aspect in zip(panels[0], ASPECTS, strict=True):
        axes.set_title(aspect, loc="left", fontweight="bold")


def _draw_aspect(
    axes: Axes, results: Results, aspect: str, costs: Mapping[str, float], color: str
) -> None:
    """Draw the median and range for each value of an aspect; a ring marks the usual value."""
    names = [label(aspect, value) for value in ASPECTS[aspect]]
    spreads = [Spread.of(_accuracy(results, name)) for name in names]
    axes.plot([costs[name] for name in names], [s.median for s in spreads], "-", color=color)
    for name, value, spread in zip(names, ASPECTS[aspect], spreads, strict=True):
        face = "white" if name == "usual" else color
        axes.plot([costs[name]] * 2, [spread.low, spread.high], color=color, alpha=0.3)
        axes.plot(costs[name], spread.median, "o", color=color, markerfacecolor=face)
        axes.annotate(
            f"{value}", (costs[name], spread.median), xytext=(6, -3), va="top",
            textcoords="offset points", color=color, fontsize=9,
        )  # fmt: skip


def finding(results: Results) -> str:
    """Describe the cost and benefit of each aspect."""
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
        f"The base architecture (a ring) has {usual}; the others differ in one of these.\n\n"
        f"{markdown_table(header, rows)}\n\n"
        f"{said} {_whether_work_is_time(results)}"
    )


def _compared(results: Results, aspect: str) -> str:
    """Return the sentence that compares the last value of an aspect with the first."""
    first, last = ASPECTS[aspect][0], ASPECTS[aspect][-1]
    names = label(aspect, first), label(aspect, last)
    before, after = (_accuracy(results, name) for name in names)
    seconds = Spread.of(_cost(results, names[1], "seconds") / _cost(results, names[0], "seconds"))
    gained = Spread.of(100 * (after - before))
    return (
        f"{aspect.capitalize()} {last} instead of {first}: {gained:+.1f} points in {seconds:.2g} "
        "times the time."
    )


def _whether_work_is_time(results: Results) -> str:
    """Return the sentence about how well multiply-adds predict the seconds."""
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
        f"Over all architectures, ten times the multiply-adds take {10**slope:.2g} times the time "
        f"(correlation of the logarithms {correlation:.2f}): the rest of the time is spent on "
        "moving data, also in pooling and activations."
    )


def _accuracy(results: Results, name: str) -> NDArray[np.float64]:
    return results.last(name, "test_accuracy")


def _cost(results: Results, name: str, measure: str) -> NDArray[np.float64]:
    """Return multiply-adds, or the total training seconds, of each seed."""
    if measure == "seconds":
        seconds: NDArray[np.float64] = results.curve(name, "test_accuracy").seconds[:, -1]
        return seconds
    return results.last(name, measure)


experiment = Experiment(
    name="architectures",
    question="What do depth, width, kernels, channels and pooling cost, and what do they gain?",
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
