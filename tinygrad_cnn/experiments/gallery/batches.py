"""Batch sizes compared, at a shared learning rate and at each one's best rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import (
    COLORS,
    accuracy_axis,
    draw_curve,
    log_axis,
    name_lines,
    shades,
)
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import prepared, updates
from tinygrad_cnn.experiments.gallery.descent import HALVED_AFTER, SIZES, run
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.experiments.times import record_times, seconds
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment"]


RATE = 0.3  # the rate that all batch sizes share
ALL, SINGLE = "all", "1"
BATCHES: dict[str, tuple[int | None, int, tuple[float, ...]]] = {  # size, epochs, rates
    ALL: (None, 300, (RATE, 1.0, 3.0, 10.0)),
    "512": (512, 60, (RATE, 1.0, 3.0, 10.0)),
    "64": (64, 20, (RATE, 1.0, 3.0)),
    "8": (8, 12, (0.03, 0.1, RATE)),
    SINGLE: (1, 8, (0.003, 0.01, 0.03, RATE)),
}
WANTED = 0.90
SECONDS = "seconds, one thread"
PLATEAU = 0.5  # points: a smaller late gain in training accuracy is a plateau


def times(record: Record, *, seed: int) -> None:
    """Time the updates of each batch size in turns; their batches are in memory already."""
    calls = {}
    for name, (size, _, _) in BATCHES.items():
        model = MLP(SIZES, "sigmoid", rng=np.random.default_rng(seed))
        calls[name] = updates(
            model, SGD(model.parameters(), RATE), prepared(record, size, seed=seed)
        )
    record_times(record, calls)


def figure(results: Results, figure: Figure) -> None:
    """Draw the test accuracy against epochs and seconds, and the rates with single examples."""
    figure.set_size_inches(10.0, 7.5)
    (epochs, shared), (single, best) = figure.subplots(2, 2)
    for name, color in zip(BATCHES, COLORS, strict=False):
        draw = partial(draw_curve, results=results, measure="test_accuracy", color=color)
        variant, fastest = label(name, RATE), best_rate(results, name)
        epoch = _epoch(results, name)
        draw(epochs, variant=variant)
        draw(shared, variant=variant, scale=epoch, label=name)
        draw(best, variant=fastest, scale=epoch, label=f"{name}, {_rate(fastest)}")
    rates = [*_constant(results, SINGLE), label(SINGLE, RATE, True)]
    for variant, color in zip(rates, shades(len(rates)), strict=True):
        draw_curve(single, results, variant, "accuracy", color=color, label=_rate(variant))
    for axes, title, unit, left in (
        (epochs, f"test accuracy, rate {RATE:g}", "epochs", 0.05),
        (shared, f"test accuracy, rate {RATE:g}", SECONDS, 5e-3),
        (single, "training accuracy, batches of 1", "epochs", 0.0),
        (best, "test accuracy, each at its best rate", SECONDS, 5e-3),
    ):
        accuracy_axis(axes, 0.5, 0.98 if axes is single else 0.95)
        axes.set_title(title, loc="left")
        axes.set(xlabel=unit, xlim=(left, None))
        if axes is not single:
            log_axis(axes.xaxis)
    name_lines(shared, single, best)


def finding(results: Results) -> Finding:
    """Compare the time to the target, and count the epochs that raise the accuracy."""
    header = ["batch", "rate", f"epochs to {100 * WANTED:g} %", "seconds to it",
              "final test accuracy", "epochs that rise, stay, fall", "late gain"]  # fmt: skip
    rows, edges = [], []
    for name in _batches(results):
        best, constant = best_rate(results, name), _constant(results, name)
        if best in (constant[0], constant[-1]):
            edges.append(f"{name} ({_rate(best)})")
        shown = dict.fromkeys([label(name, RATE), best, label(name, RATE, decaying=True)])
        rows += [_row(results, name, variant) for variant in shown if variant in results.variants]
    edge = f" The best rate is the lowest or highest tried for {', '.join(edges)}." if edges else ""
    text = (
        f"A perceptron {'-'.join(map(str, SIZES))} with sigmoids, at the shared rate {RATE:g} and "
        f"at each batch size's best, with the fewest epochs to {100 * WANTED:g} % test accuracy."
        f"{edge} The decaying rate has halved after {HALVED_AFTER:g} epoch and falls like 1/t.\n\n"
        f"{markdown_table(header, rows, '<<>')}\n\n"
        "Seconds are updates times the seconds of an update, without reading the batch. The "
        "training accuracy is compared after every epoch; the late gain is its mean in the last "
        "quarter of the epochs minus that in the quarter before, in points.\n\n"
        f"{_fastest(results, f'At rate {RATE:g}', partial(label, rate=RATE))} "
        f"{_fastest(results, 'Each at its best rate', partial(best_rate, results))} "
        f"{_decay(results)}"
    )
    return Finding(text, (_rises(results), _plateaus(results)))


def _row(results: Results, name: str, variant: str) -> list[str]:
    return [
        name,
        _rate(variant),
        f"{Spread.of(_epochs(results, variant)):.3g}",
        f"{Spread.of(_seconds(results, name, variant)):.2g}",
        f"{Spread.of(results.last(variant, 'test_accuracy')):.1%}",
        ", ".join(percent(share, 1) for share in _shares(results, variant)),
        f"{Spread.of(_late_gain(results, variant)):+.1f}",
    ]


def _fastest(results: Results, said: str, choose: Callable[[str], str]) -> str:
    """Say which batch size is the first at the target, and compare gradient descent with it."""
    taken = {name: _seconds(results, name, choose(name)) for name in _batches(results)}
    first = min(taken, key=lambda name: _order(taken[name]))
    if math.isinf(_order(taken[first])):
        return f"{said}, no batch size reaches it in seconds that were measured."
    if first == ALL:
        return f"{said}, gradient descent is the fastest."
    return (
        f"{said}, batches of {first} are the fastest; gradient descent takes "
        f"{Spread.of(taken[ALL] / taken[first]):.2g} times as long."
    )


def _decay(results: Results) -> str:
    """Say whether the constant rate limits the final accuracy with single examples."""
    decaying, constant = (
        results.last(label(SINGLE, RATE, decaying), "test_accuracy") for decaying in (True, False)
    )
    gain = Spread.of(100 * (decaying - constant))
    shown = "limits" if gain.low > 0 else "is not shown to limit"
    return (
        f"With single examples, decay changes the final test accuracy by {gain:+.1f} points: the "
        f"constant rate {RATE:g} {shown} it."
    )


def _rises(results: Results) -> Verdict:
    """Judge whether every epoch of gradient descent increases the training accuracy."""
    variants = dict.fromkeys([label(ALL, RATE), best_rate(results, ALL)])
    shares = {variant: _shares(results, variant) for variant in variants}
    said = [
        f"at rate {_rate(variant)}, {percent(rise, 1)} of the epochs do, {percent(fall, 1)} fall"
        for variant, (rise, _, fall) in shares.items()
    ]
    return Verdict.of_each(
        "every epoch of gradient descent increases the accuracy",
        [rise == 1.0 for rise, _, _ in shares.values()],
        "; ".join(said),
    )


def _plateaus(results: Results) -> Verdict:
    """Judge whether the training accuracy with single examples stops rising."""
    gains = {v: Spread.of(_late_gain(results, v)) for v in _constant(results, SINGLE)}
    said = [f"{gain:+.1f} at rate {_rate(variant)}" for variant, gain in gains.items()]
    return Verdict.of_each(
        "the accuracy of stochastic gradient descent plateaus",
        [gain.median < PLATEAU for gain in gains.values()],
        f"late gain, a plateau below {PLATEAU:g} points: {'; '.join(said)}",
    )


def best_rate(results: Results, name: str) -> str:
    """Return the variant with the fewest epochs to the target, then the highest accuracy."""
    return min(
        _constant(results, name),
        key=lambda variant: (
            _order(_epochs(results, variant)),
            -np.median(results.last(variant, "test_accuracy")),
        ),
    )


def _order(values: Numbers) -> float:
    """Return the median for sorting: infinite if never reached or not measured."""
    median = Spread.of(values).median
    return math.inf if math.isnan(median) else median


def _epochs(results: Results, variant: str) -> Numbers:
    return results.first(variant, "test_accuracy", at_least=WANTED)


def _seconds(results: Results, name: str, variant: str) -> Numbers:
    epoch = _epoch(results, name)
    return np.empty(0) if math.isnan(epoch) else epoch * _epochs(results, variant)


def _epoch(results: Results, name: str) -> float:
    """Return the seconds of an epoch's updates; NaN if no quiet round measured them."""
    update = seconds(results, name)
    count = results.last(label(name, RATE), "updates_per_epoch")
    return float(np.median(update) * np.median(count)) if update.size else math.nan


def _after_epochs(results: Results, variant: str) -> Numbers:
    """Return the training accuracy before training and after each epoch: (seeds, epochs + 1)."""
    curve = results.curve(variant, "accuracy")
    whole: Numbers = curve.values[:, curve.steps % 1 == 0]
    return whole


def _shares(results: Results, variant: str) -> tuple[float, float, float]:
    """Return the shares of epochs that raise, keep and lower the training accuracy."""
    signs = np.sign(np.diff(_after_epochs(results, variant)))
    rise, stay, fall = (float((signs == sign).mean()) for sign in (1, 0, -1))
    return rise, stay, fall


def _late_gain(results: Results, variant: str) -> Numbers:
    accuracy = _after_epochs(results, variant)
    quarter = max(accuracy.shape[1] // 4, 1)
    before, last = np.split(accuracy[:, -2 * quarter :], 2, axis=1)
    gain: Numbers = 100 * (last.mean(axis=1) - before.mean(axis=1))
    return gain


def label(name: str, rate: float, decaying: bool = False) -> str:
    """Return the label of a variant."""
    return f"batch {name}, rate {rate:g}{', decaying' * decaying}"


def _rate(variant: str) -> str:
    return variant.partition(", rate ")[2]


def _batches(results: Results) -> list[str]:
    return [name for name in BATCHES if label(name, RATE) in results.variants]


def _constant(results: Results, name: str) -> list[str]:
    labels = [label(name, rate) for rate in BATCHES[name][2]]
    return [each for each in labels if each in results.variants]


experiment = Experiment(
    name="batches",
    question="Which batch size trains fastest, and which final accuracy does it reach?",
    claim="“Notably, every epoch increases accuracy for regular gradient decent, however, "
    "Stochastic Gradient Decent’s accuracy plateaus over time” (0.3.2.1).",
    variants={
        label(name, rate, decaying): {
            "batch_size": size,
            "rate": rate,
            "epochs": epochs,
            "decaying": decaying,
        }
        for name, (size, epochs, rates) in BATCHES.items()
        for rate in rates
        for decaying in (False, True)
        if not decaying or (name, rate) == (SINGLE, RATE)
    },
    run=run,
    times=times,
    figure=figure,
    finding=finding,
    seeds=3,
)
