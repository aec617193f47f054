"""Time to 99 % test accuracy on MNIST, here and with PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinygrad_cnn.bench.sides import default_ways
from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import name_lines
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery import frameworks
from tinygrad_cnn.experiments.gallery.frameworks import KINKED, OURS, SIDES, THEIRS
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.experiments.times import ratios, seconds
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment"]

EPOCHS, LEARNING_RATE = 20, 0.1
SHIFT = 1  # pixels; without moved images this network hardly reaches 99 %
WANTED = 0.99
BOTH = "both"


def run(record: Record, *, seed: int, epochs: int = EPOCHS) -> None:
    """Train LeNet-5 in both frameworks, from the same weights in the same order; ours compiled."""
    _, fastest = default_ways()
    frameworks.run(
        record,
        seed=seed,
        network=KINKED,
        epochs=epochs,
        lr=LEARNING_RATE,
        decay=True,
        shift=SHIFT,
        ours=fastest,
    )


def figure(results: Results, figure: Figure) -> None:
    """Draw the accuracy against epochs and against seconds."""
    panels = figure.subplots(1, 2, sharey=True)
    for axes, in_seconds in zip(panels, (False, True), strict=True):
        frameworks.draw_accuracy(axes, results, BOTH, in_seconds)
        axes.axhline(WANTED, color="#1f1f1f", linewidth=0.6, linestyle=(0, (4, 3)), label="_")
    panels[0].set_ylabel("test accuracy")
    name_lines(panels[1])


def finding(results: Results) -> Finding:
    """Compare when each reaches the accuracy."""
    percent = f"{100 * WANTED:g} %"
    header = ["", f"epochs to {percent}", "seconds of an epoch", f"seconds to {percent}", "final"]
    rows = [
        [
            side,
            f"{Spread.of(_epochs(results, side)):.0f}",
            f"{Spread.of(seconds(results, side, BOTH)):.1f}",
            f"{Spread.of(_seconds_to(results, side)):.0f}",
            f"{Spread.of(results.last(BOTH, f'test accuracy of {side}')):.2%}",
        ]
        for side in SIDES
    ]
    epoch, whole = ratios(results, OURS, THEIRS, BOTH), _times_as_long(results)
    text = (
        f"LeNet-5 with ReLU and max pooling, gradient descent in batches of {frameworks.BATCH}, "
        f"with a learning rate that falls from {LEARNING_RATE:g} to 0 in {EPOCHS} epochs; images "
        f"move by up to {SHIFT} pixel, at random. Weights, order and images are the same for both, "
        "which take turns epoch by epoch on one thread: this package compiled, with the extra "
        "`fast` if it is installed, PyTorch eager, in its channels-last layout. Seconds to "
        f"{percent} are epochs times the median seconds of an epoch.\n\n"
        f"{markdown_table(header, rows)}\n\nOur seconds divided by "
        f"PyTorch's: {Spread.of(epoch):.2f} for an epoch, {Spread.of(whole):.2f} to {percent}."
    )
    return Finding(
        text,
        (
            Verdict.of_each(
                f"MNIST to {percent} takes no longer than in PyTorch",
                [bool(each <= 1.0) for each in whole],
                f"ratio {Spread.of(whole):.2f}",
            ),
        ),
    )


def _epochs(results: Results, side: str) -> Numbers:
    return results.first(BOTH, f"test accuracy of {side}", at_least=WANTED)


def _seconds_to(results: Results, side: str) -> Numbers:
    """Return epochs times the seconds of an epoch, for each seed; empty if none was quiet."""
    each = seconds(results, side, BOTH)
    return _epochs(results, side) * np.median(each) if each.size else each


def _times_as_long(results: Results) -> Numbers:
    """Return our time divided by PyTorch's, for each seed in which PyTorch reaches the accuracy."""
    epoch = ratios(results, OURS, THEIRS, BOTH)
    theirs = _epochs(results, THEIRS)
    if not epoch.size:
        return epoch
    found: Numbers = (_epochs(results, OURS) / theirs)[~np.isnan(theirs)] * np.median(epoch)
    return found


experiment = Experiment(
    name="mnist",
    question="How long does training to 99 % on MNIST take, here and with PyTorch?",
    variants={BOTH: {}},
    run=run,
    figure=figure,
    finding=finding,
    seeds=3,
    source="mnist",
    alone=True,
)
