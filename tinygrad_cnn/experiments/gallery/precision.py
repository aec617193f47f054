"""The same training in float32 and float64: a perceptron with tanh, and LeNet-5 with ReLU."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.dtypes import default_dtype
from tinygrad_cnn.data import Compose, Transform
from tinygrad_cnn.experiments.experiment import TIMES, Experiment, Record, grid
from tinygrad_cnn.experiments.figures import COLORS, GRAY, draw_curve, log_axis, name_lines
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import normalize, prepared, train, updates
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.experiments.times import ratios, record_times, seconds
from tinygrad_cnn.nn import MLP, LeNet5, Module
from tinygrad_cnn.optim import SGD, Optimizer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EPOCHS, BATCH = 6, 64
LEARNING_RATES = {"perceptron": 0.1, "LeNet-5": 0.05}
DTYPES = ("float32", "float64")
VARIANTS = grid(network=tuple(LEARNING_RATES), dtype=DTYPES)


def run(record: Record, seed: int, network: str, dtype: str, epochs: int = EPOCHS) -> None:
    """Train by gradient descent; both dtypes start from the same weights, up to rounding."""
    model, optimizer, transform = _prepared(record, seed, network, dtype)
    train(record, model, optimizer, epochs=epochs, batch_size=BATCH, seed=seed, transform=transform)


def times(record: Record, *, seed: int) -> None:
    """Time an update of each network in each dtype."""
    calls = {}
    for label, variant in VARIANTS.items():
        model, optimizer, transform = _prepared(record, seed, **variant)
        batches = prepared(record, BATCH, seed=seed, transform=transform)
        calls[label] = updates(model, optimizer, batches)
    record(0, updates_per_epoch=len(batches))
    record_times(record, calls)


def _prepared(
    record: Record, seed: int, network: str, dtype: str
) -> tuple[Module, Optimizer, Transform]:
    """Return the model, the optimizer and the images' transform."""
    rng = np.random.default_rng(seed)
    with default_dtype(dtype):
        model = LeNet5(rng=rng) if network == "LeNet-5" else MLP((784, 64, 10), "tanh", rng=rng)
        optimizer = SGD(model.parameters(), LEARNING_RATES[network])
        plain = normalize(record.data.train)
    return model, optimizer, Compose(_widen, plain) if dtype == "float64" else plain


def _widen(images: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return images.astype(np.float64)


def figure(results: Results, figure: Figure) -> None:
    """Draw the losses against epochs and seconds, and their differences."""
    figure.set_size_inches(11.0, 6.4)
    updates_per_epoch = Spread.of(results.last(TIMES, "updates_per_epoch")).median
    panels = figure.subplots(2, 3)
    for row, network in zip(panels, LEARNING_RATES, strict=True):
        for dtype, color, style in zip(DTYPES, (COLORS[1], COLORS[0]), ("-", "--"), strict=True):
            variant = f"{network}, {dtype}"
            epoch = updates_per_epoch * Spread.of(seconds(results, variant)).median
            for panel, scale in zip(row, (1.0, epoch), strict=False):
                draw_curve(
                    panel, results, variant, "test_loss", color=color,
                    label=dtype, scale=scale, linestyle=style,
                )  # fmt: skip
        steps = results.curve(variant, "test_loss").steps
        names = ("two dtypes", COLORS[2]), ("two seeds", GRAY)
        for values, (label, color) in zip(_apart(results, network), names, strict=True):
            row[2].plot(steps, np.median(values, axis=0), color=color, label=label)
            row[2].fill_between(
                steps, values.min(axis=0), values.max(axis=0), color=color, alpha=0.16, linewidth=0
            )
        row[0].set_title(network, loc="left")
        row[0].set_ylabel("test loss")
        row[2].set_ylabel("difference of test losses")
        for panel, label in zip(row, ("epochs", "seconds, one thread", "epochs"), strict=True):
            panel.set_xlabel(label)
            log_axis(panel.yaxis)
    name_lines(*panels.flat)


def finding(results: Results) -> Finding:
    """Compare the difference between dtypes with that between seeds; describe float64's cost."""
    said, shares, costs = [], [], []
    for network in LEARNING_RATES:
        single, double = (f"{network}, {dtype}" for dtype in DTYPES)
        same, seeds = (Spread.of(differences[:, -1]) for differences in _apart(results, network))
        before, after = (Spread.of(results.last(v, "test_accuracy")) for v in (single, double))
        shares.append(same.median / seeds.median)
        costs.append(Spread.of(ratios(results, double, single)))
        said.append(
            f"{network[0].upper()}{network[1:]}: the final test loss differs by {same:.1g} between "
            f"the dtypes with the same seed, and by {seeds:.1g} between two seeds. The test "
            f"accuracy is {before:.2%} in float32 and {after:.2%} in float64. An update takes "
            f"{costs[-1]:.2g} times as long in float64."
        )
    verdicts = (
        Verdict.of_each(
            "float64 changes the test loss less than another seed does",
            [share < 1 for share in shares],
            _for_each(f"{share:.1g} times as much" for share in shares),
        ),
        Verdict.of_each(
            "float64 takes more time",
            [cost.low > 1 for cost in costs],
            _for_each(f"{cost:.2g} times as long" for cost in costs),
        ),
    )
    return Finding("\n\n".join(said), verdicts)


def _for_each(said: Iterable[str]) -> str:
    return "; ".join(
        f"{network}: {each}" for network, each in zip(LEARNING_RATES, said, strict=True)
    )


def _apart(results: Results, network: str) -> tuple[Numbers, Numbers]:
    """Return the differences of test losses: between the dtypes, and between all pairs of seeds."""
    single, double = (results.curve(f"{network}, {dtype}", "test_loss").values for dtype in DTYPES)
    a, b = np.triu_indices(len(single), 1)
    return np.ptp([single, double], axis=0), np.ptp([single[a], single[b]], axis=0)


experiment = Experiment(
    name="precision",
    question="Does training need float64, and what does it cost?",
    variants=VARIANTS,
    run=run,
    times=times,
    figure=figure,
    finding=finding,
)
