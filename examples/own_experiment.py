"""How wide should the hidden layer be? An experiment of your own.

An experiment has variants, a function for one run, one that draws the results and one that
describes them in words. Copy this file, change the question, and run it:

    python examples/own_experiment.py

which runs three seeds of each width in half a minute. The command line does the same, and keeps
finished runs, so that an interrupted experiment continues:

    tinygrad-cnn experiment examples/own_experiment.py --out my-experiments
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import COLORS, draw_curve, name_lines
from tinygrad_cnn.experiments.gallery.common import train
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.experiments.running import perform
from tinygrad_cnn.experiments.runs import FinishedRuns

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTHS = {"8 wide": 8, "32 wide": 32, "128 wide": 128}


def run(record: Record, *, seed: int, width: int, epochs: int = 3) -> None:
    """Train a perceptron with one hidden layer; `train` takes down how it goes."""
    model = tg.nn.MLP((784, width, 10), "relu", rng=np.random.default_rng(seed))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    train(record, model, optimizer, epochs=epochs, batch_size=32, seed=seed)


def figure(results: Results, figure: Figure) -> None:
    """Draw the accuracy against epochs and against seconds."""
    panels = figure.subplots(1, 2, sharey=True)
    for axes, seconds in zip(panels, (False, True), strict=True):
        for variant, color in zip(results.variants, COLORS, strict=False):
            draw_curve(axes, results, variant, "test_accuracy", color=color, label=variant,
                       seconds=seconds)  # fmt: skip
        axes.set_xlabel("seconds" if seconds else "epochs")
        axes.set_ylim(0.8, 1.0)
    panels[0].set_ylabel("test accuracy")
    name_lines(panels[1])


def finding(results: Results) -> str:
    """Say what was found: median, and range, over the seeds."""
    sentences: list[str] = []
    for variant in results.variants:
        accuracy = Spread.of(results.last(variant, "test_accuracy"))
        seconds = Spread.of(results.curve(variant, "test_accuracy").seconds[:, -1])
        sentences.append(f"{variant}: {accuracy:.1%} in {seconds:.2f} seconds.")
    return "\n".join(sentences)


experiment = Experiment(
    name="own",
    question="How wide should the hidden layer be?",
    variants=grid(width=WIDTHS),
    run=run,
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
    print(finding(results))
    return results


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
