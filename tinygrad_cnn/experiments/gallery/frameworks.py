"""The same training run in PyTorch: equal weights, examples, order and optimizer."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_cnn.bench.networks import LENET5
from tinygrad_cnn.bench.process import Worker, WorkerError
from tinygrad_cnn.bench.sides import EAGER
from tinygrad_cnn.bench.timing import OtherLoad
from tinygrad_cnn.bench.worker.course import Course
from tinygrad_cnn.bench.worker.task import Task
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.experiments.experiment import Experiment, Record, Unavailable, grid
from tinygrad_cnn.experiments.figures import (
    COLORS,
    GRAY,
    accuracy_axis,
    draw_curve,
    log_axis,
    name_lines,
)
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import normalize
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.experiments.times import ratios, record_round, seconds
from tinygrad_cnn.nn import LeNet5
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, THEIRS = SIDES = ("tinygrad_cnn", "torch")
VARIABLE = "TINYGRAD_CNN_PYTHON_TORCH"
EPOCHS, BATCH, LEARNING_RATE = 5, 64, 0.05
FIRST = 100  # the losses of the first updates are compared one by one
SMOOTH, KINKED = NETWORKS = ("tanh and averages", "ReLU and maxima")
ROUNDING = float(np.finfo("f4").eps)
ALIKE = 1e-5  # the largest relative difference of two losses that only rounding sets apart


def run(
    record: Record,
    *,
    seed: int,
    network: str,
    epochs: int = EPOCHS,
    lr: float = LEARNING_RATE,
    decay: bool = False,
    shift: int = 0,
    ours: str = EAGER,
) -> None:
    """Train LeNet-5 in both frameworks, which take turns epoch by epoch.

    Every measure ends with "of tinygrad_cnn" or "of torch". "first loss" is the loss of each of the
    first updates, whose number is its step; for "loss", "test accuracy", "seconds" and "other load"
    the step is the epoch. `decay` lowers the learning rate to 0, `shift` moves the training images
    by up to this many pixels, and `ours` is the variant of this package: see `bench.sides.WAYS`.
    """
    with ExitStack() as stack:
        workers = {side: stack.enter_context(_worker(side)) for side in SIDES}
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "course.npz"))
            course = _course(record, seed, network, epochs, lr, decay)
            course._replace(shift=shift).write(path)
            for side, worker in workers.items():
                worker.ask("start", path=path, threads=1, variant=ours if side == OURS else "")
        load = OtherLoad()
        for epoch in range(1, epochs + 1):
            load.lap()
            order = SIDES if epoch % 2 else SIDES[::-1]
            answers = {side: workers[side].ask("epoch") for side in order}
            others = load.lap()
            if epoch == 1:
                for side in SIDES:
                    for update, loss in enumerate(answers[side]["losses"][:FIRST], start=1):
                        record(update, **{f"first loss of {side}": loss})
                record.steps = epochs
            for side in SIDES:
                mean = float(np.mean(answers[side]["losses"]))
                accuracy = answers[side]["accuracy"]
                record(epoch, **{f"loss of {side}": mean, f"test accuracy of {side}": accuracy})
            record_round(record, epoch, {side: answers[side]["seconds"] for side in SIDES}, others)


def _worker(framework: str) -> Worker:
    """Start a worker process; Unavailable if the framework is not installed."""
    python = os.environ.get(VARIABLE, sys.executable) if framework == THEIRS else sys.executable
    try:
        worker = Worker(framework, python, threads=1)
    except WorkerError as error:
        raise Unavailable(f"{error}; see {VARIABLE}") from error
    if not worker.ask("hello")["installed"]:
        worker.close()
        raise Unavailable(
            f"{framework} is not installed for {python}: pip install {framework}, or name "
            f"an interpreter that has it in {VARIABLE}"
        )
    return worker


def _course(record: Record, seed: int, network: str, epochs: int, lr: float, decay: bool) -> Course:
    """Return the course, with weights and order drawn from the seed."""
    split = record.data
    transform = normalize(split.train)
    images, labels = next(iter(DataLoader(split.train, None, transform=transform)))
    tested = next(iter(DataLoader(split.test, None, transform=transform)))
    numbers = np.arange(len(labels), dtype=np.float64)[:, None]
    order = DataLoader((numbers, labels), BATCH, shuffle=True, drop_last=True, seed=seed)
    batches = [rows.ravel().astype(np.int64) for _ in range(epochs) for rows, _ in order]
    activation, pooling = ("tanh", "average") if network == SMOOTH else ("relu", "max")
    layers = [_smooth(layer) if network == SMOOTH else layer for layer in LENET5.layers]
    model = LeNet5(activation=activation, pooling=pooling, rng=np.random.default_rng(seed))
    task = Task(layers, [p.numpy() for p in model.parameters()], images, labels, "")
    rates = lr * np.linspace(1.0, 0.0 if decay else 1.0, len(batches), endpoint=False)
    return Course(task, rates, np.stack(batches), *tested, len(order))  # type: ignore[call-arg]  # two arrays


def _smooth(layer: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a smooth layer: tanh instead of ReLU, average pooling instead of max pooling."""
    match layer:
        case ["ReLU"]:
            return ("Tanh",)
        case ["MaxPool2d", size]:
            return ("AvgPool2d", size)
    return layer


def figure(results: Results, figure: Figure) -> None:
    """Draw the first losses, their difference, and the accuracy against seconds."""
    figure.set_size_inches(11.0, 6.6)
    panels = figure.subplots(2, 3)
    for row, network in zip(panels, NETWORKS, strict=True):
        first, apart, whole = row
        draw_sides(first, results, network, "first loss")
        first.set(xlabel="updates", ylabel=network)
        log_axis(first.yaxis)
        _draw_apart(apart, results, network)
        draw_accuracy(whole, results, network)
        if network == SMOOTH:
            first.set_title("loss of the first updates", loc="left")
            apart.set_title("largest relative difference so far", loc="left")
            whole.set_title("test accuracy", loc="left")
            first.legend(frameon=False, labelcolor="linecolor")
    name_lines(*panels[:, 2])


def draw_sides(
    axes: Axes, results: Results, variant: str, measure: str, in_seconds: bool = False
) -> None:
    """Draw a measure of both frameworks against its step, or against seconds if that is epochs."""
    for side, color, style in ((OURS, COLORS[1], "-"), (THEIRS, COLORS[0], "--")):
        scale = Spread.of(seconds(results, side, variant)).median if in_seconds else 1.0
        draw_curve(
            axes, results, variant, f"{measure} of {side}",
            color=color, label=side, scale=scale, linestyle=style,
        )  # fmt: skip


def draw_accuracy(axes: Axes, results: Results, variant: str, in_seconds: bool = True) -> None:
    """Draw the accuracy of both frameworks against epochs or seconds."""
    draw_sides(axes, results, variant, "test accuracy", in_seconds)
    found = [row.value for row in results.rows if row.measure.startswith("test accuracy of")]
    lowest, highest = min(found), min(max(found), 0.999)
    accuracy_axis(axes, lowest - 0.1 * (1 - lowest), highest + 0.1 * (1 - highest))
    axes.set_xlabel("seconds, one thread" if in_seconds else "epochs")
    axes.locator_params("x", integer=not in_seconds)


def _draw_apart(axes: Axes, results: Results, network: str) -> None:
    apart = np.maximum.accumulate(_apart(results, network), axis=1)
    steps = np.arange(1, apart.shape[1] + 1)
    for row in apart:
        axes.plot(steps, np.maximum(row, ROUNDING / 10), color=GRAY, alpha=0.6, linewidth=1)
    axes.axhline(ROUNDING, color=COLORS[2], linestyle="--")
    axes.annotate(
        "one rounding in float32", (steps[-1], ROUNDING), xytext=(0, -12),
        textcoords="offset points", ha="right", color=COLORS[2], fontsize=9,
    )  # fmt: skip
    axes.set(xlabel="updates", ylim=(ROUNDING / 12, 1.0))
    log_axis(axes.yaxis)


def finding(results: Results) -> Finding:
    """Compare the losses of the first updates, the accuracy at the end and the seconds."""
    header = ["", "our test accuracy", "PyTorch's", "our seconds of an epoch", "PyTorch's", "ratio"]
    rows = [
        [
            network,
            *(f"{Spread.of(_accuracy(results, network, side)):.2%}" for side in SIDES),
            *(f"{Spread.of(seconds(results, side, network)):.2g}" for side in SIDES),
            f"{Spread.of(ratios(results, OURS, THEIRS, network)):.2f}",
        ]
        for network in NETWORKS
    ]
    text = (
        "LeNet-5 with the same weights, the same batches in the same order and plain gradient "
        "descent, one thread. The frameworks take turns epoch by epoch; PyTorch has its "
        f"channels-last layout. {' '.join(_losses(results, network) for network in NETWORKS)} "
        f"After {EPOCHS} epochs:\n\n{markdown_table(header, rows)}"
    )
    return Finding(text, (_same_losses(results), _same_accuracy(results), _as_fast(results)))


def _losses(results: Results, network: str) -> str:
    """Return the sentence on the losses of the first updates."""
    apart = _apart(results, network)
    if apart.max() <= ALIKE:
        return (
            f"With {network} the losses of the first {FIRST} updates differ by at most "
            f"{apart.max() / ROUNDING:.0f} float32 roundings."
        )
    updates = np.arange(1.0, 1 + apart.shape[1])
    first = Spread.of(np.fmin.reduce(np.where(apart > ALIKE, updates, np.nan), axis=1))
    return (
        f"With {network} the losses first differ by more than {ALIKE:g} of the loss at update "
        f"{first:.0f}."
    )


def _same_losses(results: Results) -> Verdict:
    most = [_apart(results, network).max() for network in NETWORKS]
    words = [
        f"up to {each:.0e} of the loss with {name}"
        for each, name in zip(most, NETWORKS, strict=True)
    ]
    found = [bool(each <= ALIKE) for each in most]
    return Verdict.of_each(
        "the same weights and batches give PyTorch's losses", found, "; ".join(words)
    )


def _same_accuracy(results: Results) -> Verdict:
    """Compare the frameworks' difference in a run with the range over our runs."""
    found, words = [], []
    for network in NETWORKS:
        ours, theirs = (_accuracy(results, network, side) for side in SIDES)
        apart, between = np.abs(ours - theirs).max(), ours.max() - ours.min()
        found.append(bool(apart <= between))
        words.append(
            f"up to {100 * apart:.2f} points apart with {network}, our runs {100 * between:.2f}"
        )
    return Verdict.of_each("training ends at PyTorch's accuracy", found, "; ".join(words))


def _as_fast(results: Results) -> Verdict:
    ratio = [ratios(results, OURS, THEIRS, network) for network in NETWORKS]
    words = [
        f"ratio {Spread.of(each):.2f} with {name}"
        for each, name in zip(ratio, NETWORKS, strict=True)
    ]
    found = [bool(each <= 1.0) for each in np.concatenate(ratio)]
    return Verdict.of_each("an epoch takes no longer than in PyTorch", found, "; ".join(words))


def _apart(results: Results, network: str) -> Numbers:
    """Return the relative difference of the first losses: shape (seeds, updates)."""
    ours, theirs = (results.curve(network, f"first loss of {side}").values for side in SIDES)
    apart: Numbers = np.abs(ours - theirs) / theirs
    return apart


def _accuracy(results: Results, network: str, side: str) -> Numbers:
    return results.last(network, f"test accuracy of {side}")


experiment = Experiment(
    name="frameworks",
    question="Does PyTorch give the same results with the same weights, batches and optimizer?",
    variants=grid(network=NETWORKS),
    run=run,
    figure=figure,
    finding=finding,
    alone=True,
)
