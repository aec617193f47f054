"""Convolutional networks that differ in one aspect: its cost and its benefit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import COLORS, accuracy_axis, log_axis
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import prepared, train, updates
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.experiments.times import ratios, record_times, seconds
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


VARIANTS: dict[str, dict[str, Any]] = {
    label(aspect, value): {"architecture": replace(USUAL, **{aspect: value})}  # type: ignore[arg-type]  # each of its type
    for aspect, values in ASPECTS.items()
    for value in values
}


def run(record: Record, seed: int, architecture: Architecture, epochs: int = EPOCHS) -> None:
    """Train an architecture with Adam; record its multiply-adds and parameters too."""
    model = architecture.build(np.random.default_rng(seed))
    summary = model.summary((1, IMAGE, IMAGE))
    record(0, multiply_adds=float(summary.multiply_adds or 0), parameters=summary.parameters)
    optimizer = Adam(model.parameters(), LEARNING_RATE)
    train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed)


def times(record: Record, *, seed: int) -> None:
    """Time an update of each architecture."""
    batches = prepared(record, BATCH, seed=seed)
    calls = {}
    for name, variant in VARIANTS.items():
        model = variant["architecture"].build(np.random.default_rng(seed))
        calls[name] = updates(model, Adam(model.parameters(), LEARNING_RATE), batches)
    record_times(record, calls)


def figure(results: Results, figure: Figure) -> None:
    """Draw accuracy against multiply-adds and against seconds, a column per aspect."""
    figure.set_size_inches(11.0, 6.4)
    panels = figure.subplots(2, len(ASPECTS), sharex="row", sharey=True)
    lowest = min(_accuracy(results, name).low for name in VARIANTS)
    rows = (
        (_multiply_adds(results), 1e6, "million multiply-adds of an image, forward"),
        (_seconds(results), 1e-3, f"milliseconds of an update with {BATCH} images, one thread"),
    )
    for row, (found, unit, xlabel) in zip(panels, rows, strict=True):
        costs = {name: cost / unit for name, cost in found.items()}
        row[0].set(
            xlim=(min(costs.values()) / 1.6, max(costs.values()) * 4), ylabel="test accuracy"
        )
        for axes, aspect, color in zip(row, ASPECTS, COLORS, strict=False):
            _draw_aspect(axes, results, aspect, costs, color)
            accuracy_axis(axes, np.floor(50 * lowest) / 50, 0.99)
            log_axis(axes.xaxis)
            axes.xaxis.get_major_locator().set_params(subs=(1.0,))  # the panels are narrow
        row[len(row) // 2].set_xlabel(xlabel)
    for axes, aspect in zip(panels[0], ASPECTS, strict=True):
        axes.set_title(aspect, loc="left", fontweight="bold")


def _draw_aspect(
    axes: Axes, results: Results, aspect: str, costs: Mapping[str, float], color: str
) -> None:
    """Draw the median and range for each value of an aspect; a ring marks the usual value."""
    names = [label(aspect, value) for value in ASPECTS[aspect]]
    spreads = [_accuracy(results, name) for name in names]
    axes.plot([costs[name] for name in names], [s.median for s in spreads], "-", color=color)
    following = [*spreads[1:], spreads[-1]]
    for name, value, spread, after in zip(names, ASPECTS[aspect], spreads, following, strict=True):
        usual = name == "usual"
        above = usual or after.median < spread.median  # so that the line passes below the label
        face = "white" if usual else color
        axes.plot([costs[name]] * 2, [spread.low, spread.high], color=color, alpha=0.3)
        axes.plot(costs[name], spread.median, "o", color=color, markerfacecolor=face)
        axes.annotate(
            f"{value}", (costs[name], spread.median), textcoords="offset points",
            xytext=(-4 if usual else 6, 2 if above else -3), ha="right" if usual else "left",
            va="bottom" if above else "top", color=color, fontsize=9,
        )  # fmt: skip


def finding(results: Results) -> Finding:
    """Describe the cost and benefit of each aspect, and how multiply-adds predict the time."""
    work, taken = _multiply_adds(results), _seconds(results)
    rows = [
        [
            name,
            f"{work[name]:,.0f}",
            f"{Spread.of(results.last(name, 'parameters')).median:,.0f}",
            f"{1e3 * taken[name]:.2g}",
            f"{_accuracy(results, name):.1%}",
        ]
        for name in VARIANTS
    ]
    changes = {aspect: _change(results, aspect) for aspect in ASPECTS}
    compared = [
        [
            change.said,
            f"{change.points:+.1f}",
            "no" if change.apart else "yes",
            f"{change.time:.2g}",
        ]
        for change in changes.values()
    ]
    usual = ", ".join(f"{aspect} {value}" for aspect, value in asdict(USUAL).items())
    slope, correlation = _power_law(work, taken)
    header = ["architecture", "multiply-adds", "parameters", "ms of an update", "accuracy"]
    compared_header = ["change", "accuracy, points", "ranges overlap", "times the time"]
    text = (
        f"The base architecture (a ring) has {usual}; the others differ in one of these.\n\n"
        f"{markdown_table(header, rows)}\n\n{markdown_table(compared_header, compared)}\n\n"
        f"Over all architectures, ten times the multiply-adds take {10**slope:.2g} times the time "
        f"(correlation of the logarithms {correlation:.2f})."
    )
    depth = changes["depth"]
    verdicts = (
        Verdict.of(
            "more convolutions: higher accuracy (“more complex problems”)",
            depth.apart and depth.points.median > 0,
            f"{depth.said}: {depth.points:+.1f} points of accuracy",
        ),
        Verdict.of(
            "more convolutions: “increased computation time”",
            depth.time.low > 1,
            f"{depth.said}: {depth.time:.2g} times the time of an update",
        ),
    )
    return Finding(text, verdicts)


class _Change(NamedTuple):
    """The last value of an aspect instead of the first: gain, and seconds of an update."""

    said: str
    points: Spread
    apart: bool
    time: Spread


def _change(results: Results, aspect: str) -> _Change:
    first, *_, last = ASPECTS[aspect]
    before, after = label(aspect, first), label(aspect, last)
    gains = results.last(after, "test_accuracy") - results.last(before, "test_accuracy")
    ranges = [_accuracy(results, name) for name in [before, after]]
    apart = max(each.low for each in ranges) > min(each.high for each in ranges)
    return _Change(
        f"{aspect} {last} instead of {first}",
        Spread.of(100 * gains),
        apart,
        Spread.of(ratios(results, after, before)),
    )


def _power_law(work: Mapping[str, float], taken: Mapping[str, float]) -> tuple[float, float]:
    """Return the exponent of the multiply-adds in the seconds, and the logarithms' correlation."""
    x = np.log([work[name] for name in VARIANTS])
    y = np.log([taken[name] for name in VARIANTS])
    exponent, _ = np.polyfit(x, y, 1)
    (_, correlation), _ = np.corrcoef(x, y)
    return float(exponent), float(correlation)


def _accuracy(results: Results, name: str) -> Spread:
    return Spread.of(results.last(name, "test_accuracy"))


def _multiply_adds(results: Results) -> dict[str, float]:
    return {name: Spread.of(results.last(name, "multiply_adds")).median for name in VARIANTS}


def _seconds(results: Results) -> dict[str, float]:
    return {name: Spread.of(seconds(results, name)).median for name in VARIANTS}


experiment = Experiment(
    name="architectures",
    question="What do depth, width, kernels, channels and pooling cost, and what do they gain?",
    claim="“The more hidden layers there are, the more complex problems the CNN is capable of "
    "solving. The cost? Increased computation time.” (section 0.3.1.3)",
    variants=VARIANTS,
    run=run,
    times=times,
    figure=figure,
    finding=finding,
    seeds=3,
)
