"""Batch sizes compared: full batch, mini-batch and stochastic, with constant and decaying rates."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import (
    COLORS,
    accuracy_axis,
    draw_curve,
    log_axis,
    name_lines,
)
from tinygrad_cnn.experiments.gallery.common import EVALUATION_BATCH, normalize
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD, LRScheduler
from tinygrad_cnn.support.text import markdown_table
from tinygrad_cnn.train import evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["experiment"]

SIZES, LEARNING_RATE = (784, 30, 10), 0.3
ALL = "all (gradient descent)"
CONSTANT = {ALL: (None, 600), "512": (512, 100), "64": (64, 40), "8": (8, 20), "1 (SGD)": (1, 8)}
DECAYING = {"8, decaying": (8, 20), "1, decaying": (1, 8)}
PAIRS = (("8", "8, decaying"), ("1 (SGD)", "1, decaying"))
HALVED_AFTER = 1.0  # epochs until a decaying rate has halved
LOOKS = 40
WANTED = 0.90
LATE, LATEST = (1 / 2, 3 / 4), (3 / 4, 1.0)  # parts of a run, for its late change


class Harmonic(LRScheduler):
    """Schedule with a 1/t decay (Robbins and Monro, 1951): lr₀ / (1 + t/half)."""

    def __init__(self, optimizer: SGD, half: float) -> None:
        super().__init__(optimizer)
        self.half = half

    def rate(self, t: int) -> float:
        """Return the rate after t updates."""
        return self.base_lr / (1.0 + t / self.half)


def run(
    record: Record, *, seed: int, batch_size: int | None, epochs: int, decaying: bool = False
) -> None:
    """Train the text's perceptron, evaluating at increasing numbers of updates."""
    split = record.data
    transform = normalize(split.train)
    loader = DataLoader(split.train, batch_size, shuffle=True, seed=seed, transform=transform)
    sets = {
        prefix: DataLoader(dataset, EVALUATION_BATCH, transform=transform)
        for prefix, dataset in (("", split.train), ("test_", split.test))
    }
    model = MLP(SIZES, "sigmoid", rng=np.random.default_rng(seed))
    optimizer = SGD(model.parameters(), LEARNING_RATE)
    schedule = Harmonic(optimizer, HALVED_AFTER * len(loader)) if decaying else None
    updates = epochs * len(loader)
    looks = {*np.geomspace(1, updates, LOOKS).astype(int).tolist(),
             *np.linspace(0, updates, LOOKS // 2 + 1).astype(int).tolist()}  # fmt: skip
    record.steps = epochs
    record(0, updates_per_epoch=len(loader))

    def look(update: int) -> None:
        if update in looks:
            found = {prefix: evaluate(model, loader) for prefix, loader in sets.items()}
            record(
                update / len(loader),
                loss=found[""].loss,
                **{f"{prefix}accuracy": result.accuracy for prefix, result in found.items()},
            )

    look(0)
    update = 0
    for _ in range(epochs):
        for images, labels in loader:
            optimizer.zero_grad()
            ops.cross_entropy(model(images), labels).backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            update += 1
            look(update)


def figure(results: Results, figure: Figure) -> None:
    """Draw the loss against updates, epochs and seconds, and the effect of decay on the plateau."""
    figure.set_size_inches(11.0, 7.0)
    panels = figure.subplots(2, 3)
    colors = dict(zip([*CONSTANT, *DECAYING], COLORS, strict=False))
    for variant in CONSTANT:
        draw = partial(draw_curve, results=results, variant=variant, color=colors[variant])
        curve = results.curve(variant, "loss")
        updates = curve.steps * results.last(variant, "updates_per_epoch")[0]
        panels[0, 0].plot(updates[1:], curve.median[1:], color=colors[variant], label="_")
        panels[0, 0].fill_between(updates[1:], curve.low[1:], curve.high[1:],
                                  color=colors[variant], alpha=0.16, linewidth=0)  # fmt: skip
        draw(panels[0, 1], measure="loss")
        draw(panels[0, 2], measure="loss", seconds=True, label=variant)
    for axes, label in zip(panels[0], ("updates", "epochs", "seconds"), strict=True):
        axes.set(xlabel=label)
        log_axis(axes.xaxis)
        log_axis(axes.yaxis)
    panels[0, 2].set_xlim(left=1e-3)
    panels[0, 0].set_title("training loss, constant rate", loc="left")
    for axes, pair in zip(panels[1], PAIRS, strict=False):
        for variant in pair:
            draw_curve(axes, results, variant, "loss", color=colors[variant], label=variant)
        axes.set(xlabel="epochs")
        log_axis(axes.yaxis)
        axes.set_title(f"training loss, batches of {pair[0][0]}", loc="left")
    for variant in (ALL, "1 (SGD)", "1, decaying"):
        draw_curve(panels[1, 2], results, variant, "test_accuracy", seconds=True,
                   color=colors[variant], label=variant)  # fmt: skip
    accuracy_axis(panels[1, 2], 0.5, 0.96)
    panels[1, 2].set(xlabel="seconds", xlim=(1e-2, None))
    log_axis(panels[1, 2].xaxis)
    panels[1, 2].set_title("test accuracy", loc="left")
    for axes in (panels[0, 2], *panels[1]):
        name_lines(axes)


def finding(results: Results) -> str:
    """Describe how soon each reaches the target, its final loss, and the effect of decay."""
    rows = []
    for variant in results.variants:
        soon = results.first(variant, "test_accuracy", at_least=WANTED)
        rows.append(
            [
                variant,
                f"{Spread.of(soon):.3g}",
                f"{Spread.of(_soon(results, variant)):.2g}",
                f"{Spread.of(_mean(results, variant, LATEST)):.2g}",
                f"{Spread.of(results.last(variant, 'test_accuracy')):.1%}",
                f"{Spread.of(_late_change(results, variant)):.0%}",
                f"{Spread.of(_rising(results, variant)):.0%}",
            ]
        )
    header = ["batch", f"epochs to {100 * WANTED:g} %", "seconds to it", "final training loss",
              "final test accuracy", "late change of the loss", "rising evaluations"]  # fmt: skip
    changes = [
        f"batches of {pair[1][0]}: "
        f"{Spread.of(_mean(results, pair[1], LATEST) / _mean(results, pair[0], LATEST)):.2g}"
        for pair in PAIRS
    ]
    return (
        f"A perceptron {'-'.join(map(str, SIZES))} with sigmoids, always with learning rate "
        f"{LEARNING_RATE:g}:\n\n{markdown_table(header, rows)}\n\n"
        "The final loss is the mean over the last quarter of a run, its late change is relative to "
        "the quarter before. An evaluation is rising if the training accuracy is not below that of "
        "the evaluation before. A decaying rate, halved after "
        f"{HALVED_AFTER:g} epoch and falling like 1/t, multiplies the final loss for "
        f"{'; for '.join(changes)}.\n\n{_verdict(results)}"
    )


def _verdict(results: Results) -> str:
    """Compare the claim with the figures."""
    rising = {variant: Spread.of(_rising(results, variant)) for variant in results.variants}
    ends = {
        variant: Spread.of(results.last(variant, "test_accuracy")) for variant in results.variants
    }
    constant, decaying = PAIRS[-1]
    return (
        f"In the second half of the runs, {rising[ALL]:.0%} of the evaluations are rising for "
        f"gradient descent, and {rising[constant]:.0%} for single examples, whose weights "
        f"fluctuate; their final accuracy is {ends[constant]:.1%}. With a decaying rate it is "
        f"{ends[decaying]:.1%}: the plateau is due to the constant rate, not to the single "
        f"examples. Gradient descent takes "
        f"{Spread.of(_soon(results, ALL) / _soon(results, '64')):.0f} times as long to reach "
        f"{100 * WANTED:g} % as batches of 64."
    )


def _soon(results: Results, variant: str) -> Numbers:
    return results.first(variant, "test_accuracy", at_least=WANTED, seconds=True)


def _part(results: Results, variant: str, measure: str, part: tuple[float, float]) -> Numbers:
    curve = results.curve(variant, measure)
    share = curve.steps / curve.steps[-1]
    return curve.values[:, (share >= part[0]) & (share <= part[1])]


def _mean(results: Results, variant: str, part: tuple[float, float]) -> Numbers:
    mean: Numbers = _part(results, variant, "loss", part).mean(axis=1)
    return mean


def _late_change(results: Results, variant: str) -> Numbers:
    return _mean(results, variant, LATEST) / _mean(results, variant, LATE) - 1.0


def _rising(results: Results, variant: str) -> Numbers:
    """Return the share of evaluations, in the second half, without a drop in training accuracy."""
    accuracy = _part(results, variant, "accuracy", (LATE[0], LATEST[1]))
    share: Numbers = (np.diff(accuracy, axis=1) >= 0).mean(axis=1)
    return share


experiment = Experiment(
    name="batches",
    question="Which batch size trains fastest, and which final accuracy does it reach?",
    claim="“Notably, every epoch increases accuracy for regular gradient decent, however, "
    "Stochastic Gradient Decent’s accuracy plateaus over time” (0.3.2.1).",
    variants={
        **{
            label: {"batch_size": size, "epochs": epochs}
            for label, (size, epochs) in CONSTANT.items()
        },
        **{
            label: {"batch_size": size, "epochs": epochs, "decaying": True}
            for label, (size, epochs) in DECAYING.items()
        },
    },
    run=run,
    figure=figure,
    finding=finding,
)
