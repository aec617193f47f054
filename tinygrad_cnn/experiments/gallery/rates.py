"""Learning rates over four decades, and a learning-rate finder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import (
    COLORS,
    GRAY,
    accuracy_axis,
    draw_curve,
    log_axis,
    name_lines,
    shades,
)
from tinygrad_cnn.experiments.gallery.common import normalize, train
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table
from tinygrad_cnn.train import TrainingDiverged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment"]

SIZES, BATCH, EPOCHS = (784, 64, 10), 32, 8
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
LOWEST, HIGHEST = 1e-4, 10.0  # the range of the finder
SMOOTHED = 0.95  # weight of the running mean in each update
ENOUGH = 4.0  # the finder stops when the mean loss exceeds its minimum by this factor
FOUND = "rate finder"
GUESSING = math.log(10)  # the loss of ten equal probabilities
WANTED = 0.93


def run(record: Record, *, seed: int, rate: float | None, epochs: int = EPOCHS) -> None:
    """Train with a rate, or with one from the finder, whose time counts as well."""
    model = MLP(SIZES, "relu", rng=np.random.default_rng(seed))
    if rate is None:
        searched = MLP(SIZES, "relu", rng=np.random.default_rng(seed))
    if rate is None:
        rate = find_rate(record, searched, seed)
        record(0, found_rate=rate)
    optimizer = SGD(model.parameters(), rate)
    diverged = 0
    try:
        train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed)
    except TrainingDiverged as error:
        diverged = error.epoch
    record(epochs, diverged=diverged)


def find_rate(record: Record, model: MLP, seed: int) -> float:
    """Raise the rate with every update of one epoch; return a tenth of the rate at the lowest loss.

    Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3, plots the loss
    against the rate; a tenth of the rate at its minimum is a common rule of thumb.
    """
    dataset = record.data.train
    loader = DataLoader(dataset, BATCH, shuffle=True, seed=seed, transform=normalize(dataset))
    optimizer = SGD(model.parameters(), LOWEST)
    mean, lowest, at = 0.0, math.inf, LOWEST
    with np.errstate(over="ignore", invalid="ignore"):
        for k, (images, labels) in enumerate(loader):
            optimizer.lr = LOWEST * (HIGHEST / LOWEST) ** (k / (len(loader) - 1))
            loss = ops.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean = SMOOTHED * mean + (1.0 - SMOOTHED) * loss.item()
            smooth = mean / (1.0 - SMOOTHED ** (k + 1))
            if not smooth < ENOUGH * lowest:
                break
            record(optimizer.lr, finder_loss=smooth)
            if smooth < lowest:
                lowest, at = smooth, optimizer.lr
    return at / 10.0


def figure(results: Results, figure: Figure) -> None:
    """Draw accuracy and seconds against the rate, curves of some rates, and the finder's losses."""
    figure.set_size_inches(10.0, 7.5)
    (accuracy, curves), (seconds, finder) = figure.subplots(2, 2)
    found = float(np.median(results.last(FOUND, "found_rate")))
    ends = [_end(results, variant) for variant in _swept(results)]
    rates = [experiment.variants[variant]["rate"] for variant in _swept(results)]
    accuracy.plot(rates, [np.median(end) for end in ends], "o-", color=COLORS[0], label="_")
    accuracy.fill_between(rates, [end.min() for end in ends], [end.max() for end in ends],
                          color=COLORS[0], alpha=0.16, linewidth=0)  # fmt: skip
    accuracy_axis(accuracy, 0.0, 0.97)
    accuracy.set_title("test accuracy at the end", loc="left")
    soon = [_soon(results, variant) for variant in _swept(results)]
    reached = [k for k, spread in enumerate(soon) if not math.isnan(spread.median)]
    seconds.plot([rates[k] for k in reached], [soon[k].median for k in reached], "o-",
                 color=COLORS[0], label="_")  # fmt: skip
    seconds.fill_between([rates[k] for k in reached], [soon[k].low for k in reached],
                         [soon[k].high for k in reached], color=COLORS[0], alpha=0.16,
                         linewidth=0)  # fmt: skip
    seconds.set_ylim(bottom=0)
    seconds.set_title(
        f"seconds until {100 * WANTED:g} % are right (where they ever are)", loc="left"
    )
    drawn = [variant for variant in _swept(results) if results.has(variant, "loss")]
    for variant, color in zip(drawn, shades(len(drawn)), strict=True):
        draw_curve(curves, results, variant, "loss", color=color, label=variant)
    curves.set_title("training loss", loc="left")
    curves.set_xlabel("epochs")
    log_axis(curves.yaxis)
    curve = results.curve(FOUND, "finder_loss")
    finder.plot(curve.steps, curve.values.T, color=COLORS[1], linewidth=1.0, alpha=0.8, label="_")
    finder.set_title("mean loss as the finder raises the rate", loc="left")
    for axes in (accuracy, seconds, finder):
        axes.axvline(found, color=GRAY, linestyle=(0, (4, 3)), linewidth=1.0, label="_")
        axes.annotate("found", (found, 0.02), xycoords=("data", "axes fraction"), xytext=(3, 0),
                      textcoords="offset points", color=GRAY)  # fmt: skip
        axes.set_xlabel("learning rate")
        axes.set_xlim(LOWEST, HIGHEST * 1.2)
        log_axis(axes.xaxis)
    name_lines(curves)


def finding(results: Results) -> str:
    """Describe the accuracy at each rate, the divergence threshold, and the finder's rate."""
    rows = []
    for variant in results.variants:
        lost = _lost(results, variant)
        rows.append(
            [
                variant,
                f"{Spread.of(_end(results, variant)):.1%}",
                f"{Spread.of(results.first(variant, 'test_accuracy', at_least=WANTED)):.0f}",
                f"{_soon(results, variant):.2f}",
                f"{np.count_nonzero(lost)} of {len(lost)}",
            ]
        )
    header = ["rate", "final test accuracy", f"epochs to {100 * WANTED:g} %", "seconds to it",
              "diverged"]  # fmt: skip
    swept = _swept(results)
    medians = [float(np.median(_end(results, variant))) for variant in swept]
    best = swept[int(np.argmax(medians))]
    found = Spread.of(results.last(FOUND, "found_rate"))
    return (
        f"A perceptron {'-'.join(map(str, SIZES))} with ReLU, batches of {BATCH}, {EPOCHS} "
        f"epochs:\n\n{markdown_table(header, rows)}\n\n"
        f"Of the fixed rates, {best.removeprefix('rate ')} gives the best median, "
        f"{Spread.of([max(medians)]):.1%}; the lowest, {swept[0].removeprefix('rate ')}, gives "
        f"{Spread.of([medians[0]]):.1%}; {_losses(results)}. The finder takes one epoch, included "
        f"in its time, and finds {found:.2g}, with {Spread.of(_end(results, FOUND)):.1%}."
    )


def _losses(results: Results) -> str:
    """Describe the rate from which on runs end worse than guessing."""
    lost = [variant for variant in _swept(results) if _lost(results, variant).any()]
    if not lost:
        return "none diverges"
    return (
        f"from {lost[0].removeprefix('rate ')} on runs diverge: they end with a loss that is NaN "
        f"or above that of guessing, ln 10 = {GUESSING:.3f}"
    )


def _lost(results: Results, variant: str) -> NDArray[np.bool_]:
    """Return a mask of the seeds that ended worse than guessing."""
    stopped = results.last(variant, "diverged") > 0
    lost: NDArray[np.bool_] = stopped | ~(results.last(variant, "test_loss") < GUESSING)
    return lost


def _swept(results: Results) -> list[str]:
    return [variant for variant in results.variants if variant != FOUND]


def _end(results: Results, variant: str) -> Numbers:
    """Return the final accuracy of each seed; that of guessing if it became NaN."""
    stopped = results.last(variant, "diverged") > 0
    ends: Numbers = np.where(stopped, 0.1, results.last(variant, "test_accuracy"))
    return ends


def _soon(results: Results, variant: str) -> Spread:
    return Spread.of(results.first(variant, "test_accuracy", at_least=WANTED, seconds=True))


experiment = Experiment(
    name="rates",
    question="Which learning rates learn, which diverge, and does a rate finder find a good one?",
    claim="“The learning rate a has an impact but can cause for less overall accuracy” (0.3.2.5).",
    variants={
        **{f"rate {rate:g}": {"rate": rate} for rate in RATES},
        FOUND: {"rate": None},
    },
    run=run,
    figure=figure,
    finding=finding,
)
