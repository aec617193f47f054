"""The cost of recording: a network trained by the package, and the same network written by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.bench.timing import Pace
from tinygrad_cnn.bench.traced_memory import peak_bytes
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import (
    COLORS,
    draw_curve,
    log_axis,
    name_lines,
    outer_labels,
)
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.handwritten import (
    CHANNELS,
    CLASSES,
    HIDDEN,
    KERNEL,
    LEARNING_RATE,
    POOL,
    HandwrittenConvolution,
    HandwrittenPerceptron,
)
from tinygrad_cnn.experiments.results import Measurement, Results, Spread
from tinygrad_cnn.experiments.times import ratios, record_times, seconds
from tinygrad_cnn.nn import Conv2d, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BATCHES = (1, 8, 64, 512)
UPDATES = 20  # the losses of these are compared
ROUNDING = 1e-4  # largest relative difference of losses that agree
LIMIT = 2  # times as long as by hand
RECORDING_LIMIT = 1.25  # times as long as without recording
PACE = Pace(turn=0.06, patience=3.0)

TrainingStep = Callable[[Array, Array], float]
"""Learns from images and labels, and returns the loss."""


def perceptron(rng: np.random.Generator) -> Module:
    """Return the perceptron as a module."""
    return Sequential(
        Flatten(), Linear(784, HIDDEN, rng=rng), ReLU(), Linear(HIDDEN, CLASSES, rng=rng)
    )


def convolutional(rng: np.random.Generator) -> Module:
    """Return the convolutional network as a module."""
    pooled = (28 - KERNEL + 1) // POOL
    first = [Conv2d(1, CHANNELS, KERNEL, rng=rng), ReLU(), MaxPool2d(POOL)]
    return Sequential(*first, Flatten(), Linear(CHANNELS * pooled**2, CLASSES, rng=rng))


def recorded(model: Module) -> TrainingStep:
    """Return the package's update of a model."""
    optimizer = SGD(model.parameters(), LEARNING_RATE)

    def update(images: Array, labels: Array) -> float:
        loss = ops.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return update


NETWORKS: dict[str, tuple[Callable[[np.random.Generator], Module], Callable[..., TrainingStep]]] = {
    "perceptron": (perceptron, HandwrittenPerceptron),
    "convolutional": (convolutional, HandwrittenConvolution),
}
BY_HAND, OURS = "by hand", "tinygrad_cnn"
RECORDED, UNRECORDED = "forward, recorded", "forward, not recorded"
VARIANTS = grid(network=tuple(NETWORKS), size={f"batch {size}": size for size in BATCHES})


def run(record: Record, seed: int, network: str, size: int) -> None:
    """Train both ways with one batch size: record losses, memory and, in turns, seconds."""
    build, by_hand = NETWORKS[network]
    model = build(np.random.default_rng(seed))

    def start_by_hand() -> TrainingStep:
        return by_hand([parameter.numpy().copy() for parameter in model.parameters()], size)

    def start() -> TrainingStep:
        return recorded(copy.deepcopy(model))

    updates = {BY_HAND: start_by_hand(), OURS: start()}
    batches = _forever(DataLoader(record.data.train, size, shuffle=True, drop_last=True, seed=seed))
    for step in range(1, UPDATES + 1):
        batch = next(batches)
        record(step, **{f"loss of {side}": update(*batch) for side, update in updates.items()})
    images, labels = next(batches)
    by_hand_bytes = peak_bytes(lambda: start_by_hand()(images, labels))
    our_bytes = peak_bytes(lambda: start()(images, labels))
    record(0, **{f"bytes of {BY_HAND}": by_hand_bytes, f"bytes of {OURS}": our_bytes})

    def forward() -> object:
        return ops.cross_entropy(model(images), labels)

    calls = {side: partial(update, images, labels) for side, update in updates.items()}
    record_times(record, {**calls, RECORDED: forward, UNRECORDED: no_grad()(forward)}, PACE)


def _forever(loader: DataLoader) -> Iterator[tuple[Array, Array]]:
    while True:
        yield from loader


def figure(results: Results, figure: Figure) -> None:
    """Draw time and memory per update against the batch size."""
    figure.set_size_inches(9.0, 6.4)
    axes = figure.subplots(2, 2, sharex="col", sharey="row")
    drawn = _by_size(results)
    for column, network in enumerate(NETWORKS):
        for row, measure in enumerate(("seconds", "megabytes")):
            for side, color in ((BY_HAND, COLORS[0]), (OURS, COLORS[1])):
                draw_curve(
                    axes[row, column], drawn, f"{network}, {side}", measure,
                    color=color, label=side, marker="o",
                )  # fmt: skip
            log_axis(axes[row, column].yaxis)
        axes[0, column].set_title(f"an update: {network}", loc="left")
        axes[1, column].set(xscale="log", xlabel="batch size")
        axes[1, column].set_xticks(BATCHES, [f"{size}" for size in BATCHES])
        axes[1, column].minorticks_off()
    outer_labels(axes, ("seconds, one thread", "peak memory, MB"))
    name_lines(*axes[:, -1])


def _by_size(results: Results) -> Results:
    """Return seconds and memory of an update by network and side; the step is the batch size."""
    return Results(
        results.experiment,
        [
            Measurement(f"{variant['network']}, {side}", seed, variant["size"], measure, value)
            for label, variant in VARIANTS.items()
            for side in (BY_HAND, OURS)
            for measure, values in (
                ("seconds", seconds(results, side, label)),
                ("megabytes", 1e-6 * results.last(label, f"bytes of {side}")),
            )
            for seed, value in enumerate(values)
        ],
    )


def finding(results: Results) -> Finding:
    """Compare time and memory of an update with those by hand, for each batch size."""
    times = {label: Spread.of(ratios(results, OURS, BY_HAND, label)) for label in VARIANTS}
    recording = {
        label: Spread.of(ratios(results, RECORDED, UNRECORDED, label)) for label in VARIANTS
    }
    apart = max(_apart(results, label) for label in VARIANTS)
    alike = apart <= ROUNDING
    columns = [
        "by hand, µs", "tinygrad_cnn, µs", "ratio of times", "forward pass, recorded over not",
        "ratio of peak memory",
    ]  # fmt: skip
    rows = [
        [
            label,
            *(f"{Spread.of(1e6 * seconds(results, side, label)):,.0f}" for side in (BY_HAND, OURS)),
            f"{times[label]:.2g}",
            f"{recording[label]:.3g}",
            f"{_memory(results, label):.2g}",
        ]
        for label in VARIANTS
    ]
    text = (
        f"The losses of {UPDATES} updates {'agree' if alike else 'do not agree'} with those by "
        f"hand: the largest relative difference is {apart:.0e}. Times and peak memory of an "
        f"update:\n\n{markdown_table(['network', *columns], rows)}\n\n"
        + " ".join(_compare(network, times) for network in NETWORKS)
    )
    verdicts = (
        Verdict.of(
            "an update gives the same loss as by hand", alike, f"difference at most {apart:.0e}"
        ),
        _below(LIMIT, times, "an update", "as by hand"),
        _below(RECORDING_LIMIT, recording, "a recorded forward pass", "as one without recording"),
    )
    return Finding(text, verdicts)


def _below(limit: float, ratio: Mapping[str, Spread], subject: str, other: str) -> Verdict:
    medians = [each.median for each in ratio.values()]
    return Verdict.of_each(
        f"{subject} takes less than {limit:g} times as long {other}",
        [each.high < limit for each in ratio.values()],
        f"{min(medians):.3g} to {max(medians):.3g} times",
    )


def _apart(results: Results, label: str) -> float:
    """Return the largest difference of the losses, relative to those by hand."""
    ours, by_hand = (results.curve(label, f"loss of {side}").values for side in (OURS, BY_HAND))
    return float(np.max(np.abs(ours / by_hand - 1.0)))


def _memory(results: Results, label: str) -> Spread:
    """Return the peak memory of an update divided by that by hand."""
    ours, by_hand = (results.last(label, f"bytes of {side}") for side in (OURS, BY_HAND))
    return Spread.of(ours / by_hand)


def _compare(network: str, times: Mapping[str, Spread]) -> str:
    """Return the sentence on the batch sizes at which one side is faster in every seed."""
    ratio = {size: times[f"{network}, batch {size}"] for size in BATCHES}
    longer = [f"{size}" for size in BATCHES if ratio[size].low > 1]
    shorter = [f"{size}" for size in BATCHES if ratio[size].high < 1]
    return (
        f"In every seed, the {network} network's update takes longer than by hand at batch sizes "
        f"{', '.join(longer) or 'none'}, and less time at {', '.join(shorter) or 'none'}."
    )


experiment = Experiment(
    name="overhead",
    question="What does recording cost, compared with the same network written by hand?",
    variants=VARIANTS,
    run=run,
    alone=True,
    figure=figure,
    finding=finding,
    seeds=3,
)
