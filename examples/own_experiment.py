"""How wide should the hidden layer be? An experiment of your own.

An experiment has variants, a function for one run, one that draws the results and one that
describes them in words. Runs share the machine, so seconds are measured by another function, which
runs alone. Copy this file, change the question, and run it:

    python examples/own_experiment.py

which runs three seeds of each width in about a minute. The command line does the same, and keeps
finished runs, so that an interrupted experiment continues:

    tinygrad-cnn experiment examples/own_experiment.py --out my-experiments
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import COLORS, accuracy_axis, draw_curve, name_lines
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import train
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.experiments.running import perform
from tinygrad_cnn.experiments.runs import FinishedRuns
from tinygrad_cnn.experiments.times import ratios, record_times

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = {"8 wide": 8, "32 wide": 32, "128 wide": 128}


def perceptron(width: int, seed: int) -> tg.nn.Module:
    """Return a perceptron with one hidden layer."""
    return tg.nn.MLP((784, width, 10), "relu", rng=np.random.default_rng(seed))


def run(record: Record, *, seed: int, width: int, epochs: int = 3) -> None:
    """Train a perceptron; `train` records the accuracy of each epoch."""
    model = perceptron(width, seed)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    train(record, model, optimizer, epochs=epochs, batch_size=32, seed=seed)


def times(record: Record, *, seed: int) -> None:
    """Time predictions of the test set; the widths take turns."""
    images = record.data.test.images
    record_times(
        record,
        {label: partial(perceptron(width, seed), images) for label, width in WIDTHS.items()},
    )


def figure(results: Results, figure: Figure) -> None:
    """Draw the accuracy against epochs."""
    axes = figure.subplots()
    for label, color in zip(WIDTHS, COLORS, strict=False):
        draw_curve(axes, results, label, "test_accuracy", color=color, label=label)
    axes.set(xlabel="epochs", ylabel="test accuracy")
    accuracy_axis(axes, 0.8, 0.98)
    name_lines(axes)


def finding(results: Results) -> Finding:
    """Return the accuracy of each width, and whether the widest is best."""
    accuracy = {label: Spread.of(results.last(label, "test_accuracy")) for label in WIDTHS}
    narrow, *_, wide = WIDTHS
    listed = "; ".join(f"{label}: {spread:.1%}" for label, spread in accuracy.items())
    taken = Spread.of(ratios(results, wide, narrow))
    return Finding(
        f"{listed}. Seconds of a prediction, {wide} / {narrow}: {taken:.2g}.",
        (Verdict.of("wider is better", accuracy[wide].median > accuracy[narrow].median, listed),),
    )


experiment = Experiment(
    name="own",
    question="How wide should the hidden layer be?",
    variants=grid(width=WIDTHS),
    run=run,
    times=times,
    figure=figure,
    finding=finding,
    seeds=3,
)


def main(folder: Path | None = None) -> Results:
    """Do the runs that `folder` does not hold, and print the answer."""
    with TemporaryDirectory() as temporary:
        runs = FinishedRuns(folder or temporary)
        for outcome in perform(runs.missing(experiment), runs):
            print(outcome.run, outcome.status, outcome.reason)
        results = runs.results(experiment)
    print(finding(results).text)
    return results


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
