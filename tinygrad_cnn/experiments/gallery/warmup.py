"""Batches 1 to 8 times as large: the rate kept, scaled linearly, and scaled with a warm-up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import (
    COLORS,
    accuracy_axis,
    draw_curve,
    log_axis,
    name_lines,
)
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import train
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.nn import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)
from tinygrad_cnn.optim import SGD, ChainedScheduler, CosineAnnealingLR, LinearLR, LRScheduler
from tinygrad_cnn.support.text import markdown_table
from tinygrad_cnn.train import TrainingDiverged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment"]

BATCH, RATE, MOMENTUM = 64, 0.05, 0.9  # of the base run
EPOCHS, WARM_UP = 6, 2
GUESSED = 0.1  # the accuracy of a run whose loss became NaN
FACTORS = (2, 4, 8)
KEPT, LINEAR, WARMED = "rate kept", "scaled", "scaled with warm-up"
RULES = (KEPT, LINEAR, WARMED)
OTHER_RATES = (RATE / 2, 2 * RATE)  # of the base batch: is its rate a good one?


def lenet5(rng: np.random.Generator) -> Module:
    """Return LeNet-5 with ReLU, and with batch normalization after each convolution."""
    return Sequential(
        *(Conv2d(1, 6, 5, padding=2, bias=False, rng=rng), BatchNorm2d(6), ReLU(), MaxPool2d(2)),
        *(Conv2d(6, 16, 5, bias=False, rng=rng), BatchNorm2d(16), ReLU(), MaxPool2d(2)),
        *(Flatten(), Linear(400, 120, rng=rng), ReLU(), Linear(120, 84, rng=rng), ReLU()),
        Linear(84, 10, rng=rng),
    )


def run(
    record: Record, *, seed: int, factor: int, rate: float, warm_up: int, epochs: int = EPOCHS
) -> None:
    """Train with a batch of `factor` times the base batch, for the same number of epochs."""
    size = factor * BATCH
    updates = math.ceil(len(record.data.train) / size)
    model = lenet5(np.random.default_rng(seed))
    optimizer = SGD(model.parameters(), rate, momentum=MOMENTUM)
    schedules: list[LRScheduler] = [CosineAnnealingLR(optimizer, epochs * updates)]
    if warm_up:
        schedules.append(LinearLR(optimizer, 1 / factor, total_iters=warm_up * updates))
    record(0, updates_per_epoch=updates)
    try:
        train(record, model, optimizer, epochs=epochs, batch_size=size, seed=seed,
              schedule=ChainedScheduler(schedules))  # fmt: skip
    except TrainingDiverged:
        record(epochs, test_accuracy=GUESSED)


def figure(results: Results, figure: Figure) -> None:
    """Draw the final accuracy against the batch, and the accuracy by epoch at the largest."""
    last, curves = figure.subplots(1, 2)
    sizes = [BATCH * factor for factor in (1, *FACTORS)]
    for rule, color in zip(RULES, COLORS, strict=False):
        spreads = [Spread.of(_accuracy(results, label(factor, rule))) for factor in (1, *FACTORS)]
        last.plot(sizes, [each.median for each in spreads], "o-", color=color, label=rule)
        last.fill_between(sizes, [each.low for each in spreads], [each.high for each in spreads],
                          color=color, alpha=0.16, linewidth=0)  # fmt: skip
        draw_curve(curves, results, label(FACTORS[-1], rule), "test_accuracy", color=color,
                   label=rule)  # fmt: skip
    base = label(1, KEPT)
    draw_curve(curves, results, base, "test_accuracy", color=COLORS[3], label=base)
    lowest = min(Spread.of(_accuracy(results, variant)).low for variant in results.variants)
    accuracy_axis(last, min(math.floor(50 * lowest) / 50, 0.96), 0.99)
    log_axis(last.xaxis)
    last.set_xticks(sizes, [f"{size:g}" for size in sizes])
    last.set(xlabel="batch")
    last.set_title(f"test accuracy after {EPOCHS} epochs", loc="left")
    accuracy_axis(curves, 0.5, 0.99)
    curves.set(xlabel="epochs", xlim=(0, None))
    curves.set_title(f"test accuracy, batches of {sizes[-1]}", loc="left")
    name_lines(last, curves)


def finding(results: Results) -> Finding:
    """Compare each batch and rule with the base run, seed by seed."""
    header = ["batch", "rule", "rate", "updates of an epoch", "final test accuracy",
              "points lost, same seed"]  # fmt: skip
    rows = [
        [
            f"{BATCH * factor}",
            rule if factor > 1 else "base",
            f"{_rate(factor, rule):g}",
            f"{Spread.of(results.last(variant, 'updates_per_epoch')).median:g}",
            f"{Spread.of(_accuracy(results, variant)):.1%}",
            f"{_lost(results, variant):.1f}" if factor > 1 else "",
        ]
        for factor in (1, *FACTORS)
        for rule in RULES
        for variant in [label(factor, rule)]
        if factor > 1 or rule == KEPT
    ]
    others = [
        f"{Spread.of(_accuracy(results, _other(rate))):.1%} at {rate:g}" for rate in OTHER_RATES
    ]
    most = label(FACTORS[-1], WARMED)
    lost = {
        rule: {factor: _lost(results, label(factor, rule)) for factor in FACTORS} for rule in RULES
    }
    least = [min(RULES, key=lambda rule: lost[rule][factor].median) for factor in FACTORS]
    best = [f"{BATCH * factor}: {rule}" for factor, rule in zip(FACTORS, least, strict=True)]
    text = (
        "Several ranks share out a global batch, which is larger the more there are. LeNet-5 with "
        f"ReLU and batch normalization, momentum {MOMENTUM:g}, {EPOCHS} epochs for all, and a rate "
        f"that falls to 0 by a cosine. Linear scaling multiplies the base rate {RATE:g} of batches "
        f"of {BATCH} by the same factor as the batch; the warm-up raises it from the base rate in "
        f"{WARM_UP} epochs (Goyal et al., “Accurate, large minibatch SGD”, 2017). Normalization is "
        "over the whole batch, as with `convert_sync_batchnorm`.\n\n"
        f"{markdown_table(header, rows, '><>')}\n\n"
        f"With batches of {BATCH}, the final accuracy is {others[0]} and {others[-1]}. The rule "
        f"that loses least: {'; '.join(best)}. {FACTORS[-1]} times the batch with linear scaling "
        f"and warm-up loses {_lost(results, most):.1f} points; without warm-up "
        f"{lost[LINEAR][FACTORS[-1]]:.1f}."
    )
    return Finding(text, (_kept(lost[WARMED]), _needed(results)))


def _kept(lost: dict[int, Spread]) -> Verdict:
    """Judge whether linear scaling with warm-up loses nothing: some seed loses no point."""
    return Verdict.of_each(
        "linear scaling with warm-up keeps the accuracy of small batches",
        [each.low <= 0 for each in lost.values()],
        "; ".join(f"{each:.1f} points lost at {factor} times" for factor, each in lost.items()),
    )


def _needed(results: Results) -> Verdict:
    """Judge whether the warm-up gains accuracy in every seed."""
    gains = {
        factor: Spread.of(
            100
            * (
                _accuracy(results, label(factor, WARMED))
                - _accuracy(results, label(factor, LINEAR))
            )
        )
        for factor in FACTORS
    }
    return Verdict.of_each(
        "a linearly scaled rate needs a warm-up",
        [each.low > 0 for each in gains.values()],
        "; ".join(f"{each:+.1f} points at {factor} times" for factor, each in gains.items()),
    )


def _accuracy(results: Results, variant: str) -> Numbers:
    return results.last(variant, "test_accuracy")


def _lost(results: Results, variant: str) -> Spread:
    """Return the points of accuracy lost to the base run with the same seed."""
    base = _accuracy(results, label(1, KEPT))
    return Spread.of(100 * (base - _accuracy(results, variant)))


def label(factor: int, rule: str) -> str:
    """Return the label of a variant; at a factor of 1, all rules are the same."""
    return f"batch {factor * BATCH}, {rule}" if factor > 1 else f"batch {BATCH}"


def _other(rate: float) -> str:
    return f"batch {BATCH}, rate {rate:g}"


def _rate(factor: int, rule: str) -> float:
    return RATE if rule == KEPT else RATE * factor


def _variant(factor: int, rate: float, warm_up: int = 0) -> dict[str, Any]:
    return {"factor": factor, "rate": rate, "warm_up": warm_up}


experiment = Experiment(
    name="warmup",
    question="What do larger batches cost in accuracy, with a scaled rate and a warm-up?",
    variants={
        label(1, KEPT): _variant(1, RATE),
        **{_other(rate): _variant(1, rate) for rate in OTHER_RATES},
        **{
            label(factor, rule): _variant(
                factor, _rate(factor, rule), WARM_UP if rule == WARMED else 0
            )
            for factor in FACTORS
            for rule in RULES
        },
    },
    run=run,
    figure=figure,
    finding=finding,
    seeds=5,
)
