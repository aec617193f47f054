"""The same training run in PyTorch: equal weights, examples, order and optimizer."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.bench.process import Worker, WorkerError
from tinygrad_cnn.bench.worker.course import Course
from tinygrad_cnn.bench.worker.task import Task
from tinygrad_cnn.bench.workloads import LENET5
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.experiments.experiment import Experiment, Record, Unavailable, grid
from tinygrad_cnn.experiments.figures import COLORS, GRAY, draw_curve, name_lines
from tinygrad_cnn.experiments.gallery.common import normalize
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.nn import LeNet5

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, THEIRS = "tinygrad_cnn", "torch"
VARIABLE = "TINYGRAD_CNN_PYTHON_TORCH"
EPOCHS, BATCH, LEARNING_RATE = 5, 64, 0.05
FIRST = 100  # the losses of the first updates are compared one by one
SMOOTH, KINKED = "tanh and averages", "ReLU and maxima"
ROUNDING = float(np.finfo("f4").eps)


def run(
    record: Record,
    seed: int,
    framework: str,
    network: str,
    epochs: int = EPOCHS,
    lr: float = LEARNING_RATE,
    decay: bool = False,
) -> None:
    """Train LeNet-5 in its own process; the steps are updates. `decay` lowers the rate to 0.

    ``first_loss`` is the loss before each of the first updates; ``loss`` is its mean over an epoch.
    """
    python = os.environ.get(VARIABLE, sys.executable) if framework == THEIRS else sys.executable
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "course.npz")
        course = _course(record, seed, network, epochs, lr, decay)
        course.write(path)
        answer = _trained(framework, python, path)
    losses = answer["losses"]
    for update, loss in enumerate(losses[:FIRST], start=1):
        record(update, first_loss=loss)
    every = course.test_every
    for epoch, (accuracy, seconds) in enumerate(
        zip(answer["accuracies"], answer["seconds"], strict=True), start=1
    ):
        mean = float(np.mean(losses[(epoch - 1) * every : epoch * every]))
        record(epoch * every, loss=mean, test_accuracy=accuracy, training_seconds=seconds)


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
    task = Task(layers, [p.numpy() for p in model.parameters()], images, labels, 1, "")
    rates = lr * np.linspace(1.0, 0.0 if decay else 1.0, len(batches), endpoint=False)
    return Course(task, rates, np.stack(batches), *tested, test_every=len(order))


def _smooth(layer: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a smooth layer: tanh instead of ReLU, average pooling instead of max pooling."""
    match layer:
        case ["relu"]:
            return ("tanh",)
        case ["maxpool", size]:
            return ("avgpool", size)
    return layer


def _trained(framework: str, python: str, path: Path) -> dict[str, list[float]]:
    try:
        with Worker(framework, python, threads=1) as worker:
            if not worker.ask("hello")["installed"]:
                raise Unavailable(
                    f"{framework} is not installed for {python}: pip install {framework}, or name "
                    f"an interpreter that has it in {VARIABLE}"
                )
            return worker.ask("train", path=str(path), threads=1)
    except WorkerError as error:
        if "cannot be started" in str(error):
            raise Unavailable(f"{error}; see {VARIABLE}") from error
        raise


def figure(results: Results, figure: Figure) -> None:
    """Draw the first losses, their difference, and the accuracy against seconds."""
    figure.set_size_inches(11.0, 6.6)
    for row, network in zip(figure.subplots(2, 3), (SMOOTH, KINKED), strict=True):
        first, apart, whole = row
        for framework, color, style in ((OURS, COLORS[1], "-"), (THEIRS, COLORS[0], "--")):
            variant = f"{framework}, {network}"
            if variant not in results.variants:
                continue
            draw_curve(
                first, results, variant, "first_loss",
                color=color, label=framework, linestyle=style,
            )  # fmt: skip
            seconds = results.curve(variant, "training_seconds").median
            accuracy = results.curve(variant, "test_accuracy")
            whole.plot(seconds, accuracy.median, style, color=color, label=framework, marker="o")
            whole.fill_between(
                seconds, accuracy.low, accuracy.high, color=color, alpha=0.16, linewidth=0
            )
        first.set(xlabel="update", ylabel=network, yscale="log")
        first.yaxis.set_major_formatter("{x:g}")
        first.yaxis.set_minor_formatter("")
        if f"{THEIRS}, {network}" in results.variants:
            _draw_apart(apart, results, network)
        whole.set_xlabel("seconds of training, one thread")
        whole.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        name_lines(whole)
        if network == SMOOTH:
            first.set_title("loss of the first updates", loc="left")
            apart.set_title("relative difference, each seed", loc="left")
            whole.set_title("accuracy on the test set", loc="left")
            first.legend(frameon=False, labelcolor="linecolor")


def _draw_apart(axes: Axes, results: Results, network: str) -> None:
    apart = _apart(results, network)
    steps = np.arange(1, apart.shape[1] + 1)
    for row in apart:
        axes.plot(steps, np.maximum(row, ROUNDING / 10), color=GRAY, alpha=0.6, linewidth=1)
    axes.axhline(ROUNDING, color=COLORS[2], linestyle="--")
    axes.annotate(
        "one rounding in float32", (steps[-1], ROUNDING), xytext=(0, 5),
        textcoords="offset points", ha="right", color=COLORS[2], fontsize=9,
    )  # fmt: skip
    axes.set(xlabel="update", yscale="log", ylim=(ROUNDING / 12, 1.0))


def finding(results: Results) -> str:
    """Describe the difference of the losses, and whether both end alike."""
    if not any(variant.startswith(THEIRS) for variant in results.variants):
        return "PyTorch was not installed for this measurement."
    smooth, kinked = (_apart(results, network).max(axis=1) for network in (SMOOTH, KINKED))
    ends = []
    for network in (SMOOTH, KINKED):
        ours, theirs = (
            Spread.of(results.last(f"{framework}, {network}", "test_accuracy"))
            for framework in (OURS, THEIRS)
        )
        within = "within" if ours.low <= theirs.median <= ours.high else "outside"
        ends.append(
            f"with {network} our test accuracy is {ours:.2%} and PyTorch's {theirs:.2%}, whose "
            f"median is {within} our range over seeds"
        )
    seconds = [
        Spread.of(
            results.last(f"{OURS}, {network}", "training_seconds")
            / results.last(f"{THEIRS}, {network}", "training_seconds")
        )
        for network in (SMOOTH, KINKED)
    ]
    return (
        "LeNet-5 with the same weights, the same batches in the same order and plain gradient "
        f"descent. With {SMOOTH} the losses of the first {FIRST} updates differ by at most "
        f"{Spread.of(smooth / ROUNDING):.0f} float32 roundings. With {KINKED} so do they, until "
        "a sum that is 0 up to rounding, or two equal maxima, are resolved differently by the "
        "two frameworks: a unit then gets a gradient in only one of them, and the losses "
        f"diverge, by at most {Spread.of(kinked):.0e} of the loss in these "
        f"updates. After {EPOCHS} epochs {'; '.join(ends)}. On one thread we take "
        f"{seconds[0]:.2g} and {seconds[1]:.2g} times as long as PyTorch."
    )


def _apart(results: Results, network: str) -> NDArray[np.float64]:
    """Return the relative difference of the first losses: shape (seeds, updates)."""
    ours, theirs = (
        results.curve(f"{framework}, {network}", "first_loss").values
        for framework in (OURS, THEIRS)
    )
    return np.abs(ours - theirs) / theirs


experiment = Experiment(
    name="frameworks",
    question="Does PyTorch give the same results with the same weights, batches and optimizer?",
    variants=grid(framework=(OURS, THEIRS), network=(SMOOTH, KINKED)),
    run=run,
    figure=figure,
    finding=finding,
    separate=True,
)
