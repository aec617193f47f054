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
from tinygrad_cnn.experiments.finding import Finding, Verdict
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
    """Train with a rate, or with one from the finder, whose updates count as well."""
    model = MLP(SIZES, "relu", rng=np.random.default_rng(seed))
    record(0, updates_per_epoch=math.ceil(len(record.data.train) / BATCH))
    if rate is None:
        rate, updates = find_rate(record, MLP(SIZES, "relu", rng=np.random.default_rng(seed)), seed)
        record(0, found_rate=rate, finder_updates=updates)
    optimizer = SGD(model.parameters(), rate)
    diverged = 0
    try:
        train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed)
    except TrainingDiverged as error:
        diverged = error.epoch
    record(epochs, diverged=diverged)


def find_rate(record: Record, model: MLP, seed: int) -> tuple[float, int]:
    """Raise the rate with every update, for an epoch or until the loss is too high.

    Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3, plots the loss
    against the rate; a tenth of the rate at its minimum is a common rule of thumb.

    Returns
    -------
    rate : float
        A tenth of the rate at the lowest loss.
    updates : int
        The number of updates done.
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
    return at / 10.0, k + 1


def figure(results: Results, figure: Figure) -> None:
    """Draw accuracy and updates against the rate, the loss by epoch, and the finder's losses."""
    figure.set_size_inches(10.0, 7.5)
    (accuracy, curves), (updates, finder) = figure.subplots(2, 2)
    found = float(np.median(results.last(FOUND, "found_rate")))
    swept = _swept(results)
    for axes, measure, label in (
        (accuracy, _end, "final test accuracy"),
        (updates, _updates, f"updates to {100 * WANTED:g} % test accuracy, where reached"),
    ):
        spreads = [Spread.of(measure(results, variant)) for variant in swept]
        rates = [experiment.variants[variant]["rate"] for variant in swept]
        axes.plot(rates, [each.median for each in spreads], "o-", color=COLORS[0], label="_")
        axes.fill_between(rates, [each.low for each in spreads], [each.high for each in spreads],
                          color=COLORS[0], alpha=0.16, linewidth=0)  # fmt: skip
        axes.set_title(label, loc="left")
    accuracy_axis(accuracy, 0.0, 0.97)
    updates.set_ylim(bottom=0)
    with_loss = [variant for variant in swept if results.has(variant, "loss")]
    for variant, color in zip(with_loss, shades(len(with_loss)), strict=True):
        draw_curve(curves, results, variant, "loss", color=color, label=variant)
    curves.set_title("training loss", loc="left")
    curves.set_xlabel("epochs")
    log_axis(curves.yaxis)
    curve = results.curve(FOUND, "finder_loss")
    finder.plot(curve.steps, curve.values.T, color=COLORS[1], linewidth=1.0, alpha=0.8, label="_")
    finder.set_title("smoothed training loss as the finder raises the rate", loc="left")
    for axes in (accuracy, updates, finder):
        axes.axvline(found, color=GRAY, linestyle=(0, (4, 3)), linewidth=1.0, label="_")
        axes.annotate("found", (found, 0.02), xycoords=("data", "axes fraction"), xytext=(3, 0),
                      textcoords="offset points", color=GRAY)  # fmt: skip
        axes.set_xlabel("learning rate")
        axes.set_xlim(LOWEST, HIGHEST * 1.2)
        log_axis(axes.xaxis)
    name_lines(curves)


def finding(results: Results) -> Finding:
    """Describe the accuracy at each rate, the divergence threshold, and the finder's rate."""
    header = ["rate", "final test accuracy", f"updates to {100 * WANTED:g} %", "diverged"]
    rows = [
        [
            variant.removeprefix("rate "),
            f"{Spread.of(_end(results, variant)):.1%}",
            f"{Spread.of(_updates(results, variant)):.0f}",
            f"{np.count_nonzero(lost)} of {len(lost)}",
        ]
        for variant in results.variants
        for lost in [_lost(results, variant)]
    ]
    ends = {variant: Spread.of(_end(results, variant)) for variant in _swept(results)}
    learning = [variant for variant in ends if not _lost(results, variant).any()]
    diverging = [variant.removeprefix("rate ") for variant in ends if variant not in learning]
    best = max(ends, key=lambda variant: ends[variant].median)
    worst = min(learning or ends, key=lambda variant: ends[variant].median)
    gain = Spread.of(100 * (_end(results, FOUND) - _end(results, best)))
    text = (
        f"A perceptron {'-'.join(map(str, SIZES))} with ReLU, batches of {BATCH}, {EPOCHS} "
        f"epochs:\n\n{markdown_table(header, rows)}\n\n"
        f"A run has diverged if its loss is NaN or ends above that of guessing, ln 10 = "
        f"{GUESSING:.3f}; runs diverge at {', '.join(diverging) or 'no rate'}. The finder finds "
        f"{Spread.of(results.last(FOUND, 'found_rate')):.2g} in "
        f"{Spread.of(results.last(FOUND, 'finder_updates')):.0f} updates, included above. "
        f"Its final test accuracy differs by {gain:+.1f} points from that of the best fixed rate, "
        f"{best.removeprefix('rate ')}."
    )
    verdict = Verdict.of(
        "the learning rate can lower the overall accuracy",
        ends[worst].high < ends[best].low,
        f"{ends[worst]:.1%} at {worst}, {ends[best]:.1%} at {best}",
    )
    return Finding(text, (verdict,))


def _swept(results: Results) -> list[str]:
    return [variant for variant in results.variants if variant != FOUND]


def _stopped(results: Results, variant: str) -> NDArray[np.bool_]:
    """Return a mask of the seeds whose loss became NaN."""
    stopped: NDArray[np.bool_] = results.last(variant, "diverged") > 0
    return stopped


def _lost(results: Results, variant: str) -> NDArray[np.bool_]:
    """Return a mask of the seeds that ended worse than guessing."""
    return _stopped(results, variant) | ~(results.last(variant, "test_loss") < GUESSING)


def _end(results: Results, variant: str) -> Numbers:
    """Return the final accuracy of each seed; that of guessing if its loss became NaN."""
    return np.where(_stopped(results, variant), 0.1, results.last(variant, "test_accuracy"))


def _updates(results: Results, variant: str) -> Numbers:
    """Return the number of updates to the target, the finder's included."""
    epochs = results.first(variant, "test_accuracy", at_least=WANTED)
    updates: Numbers = epochs * results.last(variant, "updates_per_epoch")
    return updates + (results.last(variant, "finder_updates") if variant == FOUND else 0.0)


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
