"""Networks of books and papers, trained as described there, beside the figures published there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.data import DataError, DataLoader, Dataset, load
from tinygrad_cnn.efficiency.drawing import COLOURS, GREY
from tinygrad_cnn.efficiency.experiment import Experiment, Record, Unavailable, slug
from tinygrad_cnn.efficiency.experiments import lenets, nielsen
from tinygrad_cnn.efficiency.experiments.common import EVALUATION_BATCH, normalise
from tinygrad_cnn.efficiency.results import Results, Spread
from tinygrad_cnn.nn import Module, ReLU
from tinygrad_cnn.optim import Adam, OneCycle, Optimizer, Schedule
from tinygrad_cnn.train import Callback, Epoch, History, evaluate, fit
from tinygrad_cnn.train.evaluation import Loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes
    ----------
    model : callable
        ``model(rng, **options)`` makes it.
    options : mapping
    epochs, batch_size : int
    lr : float
        Of gradient descent, or the highest of Adam's one-cycle schedule.
    adam : bool
        Whether it is trained by Adam rather than by gradient descent.
    decay : float
        What gradient descent adds to the gradient of each weight, times the weight: λ / n.
    loss : callable
    source : str
        What the data are loaded from.
    held_out : int
        How many of the training images, the last ones, are kept for validation.
    shuffle : bool
    normalised : bool
        Whether pixels are given mean 0 and standard deviation 1; otherwise they are 0 to 1.
    """

    model: Callable[..., Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    epochs: int
    batch_size: int = 10
    lr: float
    adam: bool = False
    decay: float = 0.0
    loss: Loss = ops.cross_entropy
    source: str = "mnist"
    held_out: int = 0
    shuffle: bool = True
    normalised: bool = False

    def optimizer(self, model: Module) -> Optimizer:
        """Return the optimiser of a model's parameters."""
        if self.adam:
            return Adam(model.parameters(), self.lr)
        return nielsen.DecayedWeights(model.parameters(), self.lr, weight_decay=self.decay)

    def schedule(self, optimizer: Optimizer, updates: int) -> Schedule | None:
        """Return the schedule of a training of so many updates."""
        return OneCycle(optimizer, updates, lr_max=self.lr) if self.adam else None


class Row(NamedTuple):
    """A published figure, and the recipe for one of our own.

    Attributes
    ----------
    source, network : str
        Where it is published, as Markdown, and what was trained.
    accuracy : float
    recipe : Recipe
    measure : str
        What is compared.
    chosen_by : str
        The measure whose highest value chooses the epoch; empty for the last one.
    otherwise : str
        What the recipe does otherwise than the source.
    """

    source: str
    network: str
    accuracy: float
    recipe: Recipe
    measure: str = "test_accuracy"
    chosen_by: str = ""
    otherwise: str = ""


def _nielsen(chapter: int) -> str:
    return f"[Nielsen, ch. {chapter}](http://neuralnetworksanddeeplearning.com/chap{chapter}.html)"


def _first(hidden: int) -> Recipe:
    return Recipe(
        model=nielsen.perceptron, options={"hidden": hidden}, loss=nielsen.quadratic,
        epochs=30, lr=3.0, held_out=10_000,
    )  # fmt: skip


def _sixth(*channels: int, relu: bool = False) -> Recipe:
    options: dict[str, Any] = {"channels": channels} | ({"activation": ReLU} if relu else {})
    return Recipe(
        model=nielsen.convolutional, options=options, epochs=60, held_out=10_000, shuffle=False,
        lr=0.03 if relu else 0.1, decay=0.1 / 5_000 if relu else 0.0,
    )  # fmt: skip


def _lenet(model: Callable[..., Module]) -> Recipe:
    return Recipe(model=model, epochs=20, batch_size=64, lr=0.003, adam=True, normalised=True)


def _squared(hidden: tuple[int, ...], lr: float) -> Recipe:
    return Recipe(
        model=lenets.sigmoids, options={"hidden": hidden}, loss=nielsen.quadratic,
        epochs=20, lr=lr, normalised=True,
    )  # fmt: skip


def _fashion(model: Callable[..., Module], epochs: int, **options: Any) -> Recipe:
    return Recipe(
        model=model, options=options, epochs=epochs, batch_size=100, lr=0.003, adam=True,
        source="fashion-mnist", normalised=True,
    )  # fmt: skip


LECUN = "[LeCun et al. 1998](http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf)"
FASHION = "[Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist#benchmark)"
SQUARED = "gradient descent, mini-batch 10; sigmoid outputs"
ADAM = "Adam, one-cycle, mini-batch 64, in place of second derivatives and single examples"
LENET = f"{ADAM}; cross-entropy, average pooling without weights, full second convolution"
EXAMPLES = 10_000  # of each test set, and of what is held out
BEST, VALIDATED = "test_accuracy", "validation_accuracy"

ROWS = {
    "Nielsen 1: 30 hidden": Row(_nielsen(1), "784-30-10", 0.9542, _first(30), chosen_by=BEST),
    "Nielsen 1: 100 hidden": Row(_nielsen(1), "784-100-10", 0.9659, _first(100), chosen_by=BEST),
    "Nielsen 3: cross-entropy": Row(
        _nielsen(3),
        "784-100-10, cross-entropy, λ = 5",
        0.9804,
        Recipe(
            model=nielsen.perceptron,
            options={"hidden": 100, "sigmoid_outputs": False},
            loss=nielsen.binary_cross_entropy,
            epochs=60,
            lr=0.1,
            decay=5 / 50_000,
            held_out=10_000,
        ),
        measure=VALIDATED,
        chosen_by=VALIDATED,
    ),
    "LeCun: linear": Row(LECUN, "784-10", 0.88, _squared((), 0.1), otherwise=SQUARED),
    "LeCun: 300 hidden": Row(
        LECUN, "784-300-10, squared error", 0.953, _squared((300,), 0.1), otherwise=SQUARED
    ),
    "Fashion: perceptron": Row(
        FASHION,
        "784-256-128-100-10",
        0.8833,
        _fashion(lenets.perceptron, 20, hidden=(256, 128, 100)),
        otherwise="Adam, one-cycle, mini-batch 100; the source does not say",
    ),
    "LeCun: LeNet-1": Row(LECUN, "LeNet-1", 0.983, _lenet(lenets.lenet1), otherwise=LENET),
    "LeCun: LeNet-4": Row(LECUN, "LeNet-4", 0.989, _lenet(lenets.lenet4), otherwise=LENET),
    "LeCun: LeNet-5": Row(LECUN, "LeNet-5", 0.9905, _lenet(lenets.lenet5), otherwise=LENET),
    "Nielsen 6: no convolution": Row(
        _nielsen(6), "784-100-10, softmax", 0.9780, _sixth(), chosen_by=VALIDATED
    ),
    "Nielsen 6: 1 convolution": Row(
        _nielsen(6), "20@5×5, pool, 100, softmax", 0.9878, _sixth(20), chosen_by=VALIDATED
    ),
    "Fashion: 2 convolutions": Row(
        FASHION,
        "32@5×5, pool, 64@5×5, pool, 10",
        0.925,
        _fashion(lenets.two_convolutions, 10),
        otherwise="one-cycle, mini-batch 100, in place of 30 epochs of Adam with mini-batch 1000",
    ),
    "Nielsen 6: 2 convolutions": Row(
        _nielsen(6), "20@5×5, pool, 40@5×5, pool, 100", 0.9906, _sixth(20, 40), chosen_by=VALIDATED
    ),
    "Nielsen 6: 2 convolutions, ReLU": Row(
        _nielsen(6),
        "the same with ReLU, λ = 0.1",
        0.9923,
        _sixth(20, 40, relu=True),
        chosen_by=VALIDATED,
    ),
}
"""By label, those that take longest last."""


def run(record: Record, seed: int, recipe: Recipe, epochs: int = 0) -> None:
    """Train by a recipe, and take down every epoch; an interrupted run goes on where it was."""
    epochs = epochs or recipe.epochs
    record.steps = epochs
    with record.aside():
        train, held_out, test = _data(recipe)
        model = recipe.model(np.random.default_rng(seed), **recipe.options)
        optimizer = recipe.optimizer(model)
        transform = normalise(train) if recipe.normalised else None
        loader = DataLoader(
            train, recipe.batch_size, shuffle=recipe.shuffle, seed=seed, transform=transform
        )
        schedule = recipe.schedule(optimizer, epochs * len(loader))
        parts: dict[str, Any] = {"model": model, "optimizer": optimizer}
        parts |= {"schedule": schedule} if schedule else {}
        sets = {
            name: DataLoader(dataset, EVALUATION_BATCH, transform=transform)
            for name, dataset in (("validation_accuracy", held_out), ("test_accuracy", test))
            if dataset is not None
        }
        history = History()
        if record.state is not None:
            for name, part in parts.items():
                part.load_state_dict(record.state[name])
            history = History([Epoch.from_dict(row) for row in record.state["history"]])
            loader.epoch = len(history)
    keeper = _Keeper(record, parts, sets, recipe.loss)
    fit(model, recipe.loss, optimizer, loader, epochs=epochs, schedule=schedule,
        callbacks=[keeper], history=history)  # fmt: skip


class _Keeper(Callback):
    """Takes down each epoch, and keeps what the next ones need."""

    def __init__(
        self, record: Record, parts: Mapping[str, Any], sets: Mapping[str, DataLoader], loss: Loss
    ) -> None:
        self.record = record
        self.parts = parts
        self.sets = sets
        self.loss = loss

    def epoch(self, history: History) -> None:
        with self.record.aside():
            model: Module = self.parts["model"]
            accuracies = {
                name: evaluate(model, loader, self.loss).accuracy
                for name, loader in self.sets.items()
            }
            last = history[-1]
            self.record(last.epoch, loss=last.loss, accuracy=last.accuracy, **accuracies)
            state = {name: part.state_dict() for name, part in self.parts.items()}
            self.record.save(state | {"history": [epoch.as_dict() for epoch in history]})


def _data(recipe: Recipe) -> tuple[Dataset, Dataset | None, Dataset]:
    """Return what to train with, what is held out, and what to test with."""
    try:
        split = load(recipe.source)
    except DataError as error:
        raise Unavailable(f"{recipe.source}: {error}") from error
    kept = len(split.train) - recipe.held_out
    return split.train[:kept], split.train[kept:] if recipe.held_out else None, split.test


# --- what was found ------------------------------------------------------------------------------


class Ours(NamedTuple):
    """Our own figures for a row, one for each seed."""

    accuracy: NDArray[np.float64]
    epochs: NDArray[np.float64]
    seconds: NDArray[np.float64]


def ours(results: Results, label: str) -> Ours:
    """Return our own figures, at the epoch that the row's rule chooses, and what training took."""
    row = ROWS[label]
    curve = results.curve(label, row.measure)
    chosen = np.full(len(curve.seeds), len(curve.steps) - 1)
    if row.chosen_by:
        backwards = results.curve(label, row.chosen_by).values[:, ::-1]
        chosen = len(curve.steps) - 1 - backwards.argmax(axis=1)  # of equal ones the last
    seeds = np.arange(len(curve.seeds))
    return Ours(curve.values[seeds, chosen], curve.steps[chosen], curve.seconds[:, -1])


def finding(results: Results) -> str:
    """Return the table, and a line for each row that falls short."""
    lines = [
        "| source | network | published | ours | epoch | seconds | seeds | again |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    short, notes = [], dict[str, int]()
    for label, row in ROWS.items():
        if label not in results.variants:
            continue
        found = ours(results, label)
        accuracy = Spread.of(found.accuracy)
        seeds = results.curve(label, row.measure).seeds
        mark = ""
        if row.otherwise:
            mark = f" [{notes.setdefault(row.otherwise, len(notes) + 1)}]"
        what = "validation" if row.measure == VALIDATED else "test"
        lines.append(
            f"| {row.source} | {row.network}{mark} | {100 * row.accuracy:.2f} % "
            f"| {accuracy:.2%} {what} | {Spread.of(found.epochs):.0f} of {row.recipe.epochs} "
            f"| {Spread.of(found.seconds):.0f} | {', '.join(map(str, seeds))} "
            f"| `tinygrad-cnn experiment published --only {slug(label)}` |"
        )
        if accuracy.median < row.accuracy:
            error = 1.0 - accuracy.median
            scatter = math.sqrt(error * (1.0 - error) / EXAMPLES)
            short.append(
                f"{label} falls short by {100 * (row.accuracy - accuracy.median):.2f} points, "
                f"where the choice of {EXAMPLES:,} images alone scatters by {100 * scatter:.2f}."
            )
    reached = len(lines) - 2 - len(short)
    said = f"{reached} of {len(lines) - 2} rows reach the published figure. {' '.join(short)}"
    listed = "".join(f"\n\n[{number}] {note}." for note, number in notes.items())
    return "\n".join(lines) + f"\n\n{said.rstrip()}{listed}"


def figure(results: Results, figure: Figure) -> None:
    """Draw the error of each row, ours beside the published one."""
    labels = [label for label in ROWS if label in results.variants]
    figure.set_size_inches(9.0, 0.9 + 0.34 * len(labels))
    axes = figure.subplots()
    for place, label in enumerate(labels):
        errors = 100 * (1 - ours(results, label).accuracy)
        published = 100 * (1 - ROWS[label].accuracy)
        found = Spread.of(errors)
        axes.plot([published, found.median], [place, place], color="#d8d8d8", zorder=1)
        axes.plot([found.low, found.high], [place, place], color=COLOURS[1], linewidth=4, alpha=0.3)
        axes.plot(published, place, "o", color=GREY, markersize=7, fillstyle="none")
        axes.plot(found.median, place, "o", color=COLOURS[1], markersize=7)
    axes.plot([], [], "o", color=GREY, markersize=7, fillstyle="none", label="published")
    axes.plot([], [], "o", color=COLOURS[1], markersize=7, label="ours")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 5, 10, 20]
    axes.set_xticks(ticks, [f"{tick:g} %" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("error")
    axes.legend(frameon=False, labelcolor="linecolor", loc="lower right")


experiment = Experiment(
    name="published",
    question="How near does the package come to what others have published?",
    variants={label: {"recipe": row.recipe} for label, row in ROWS.items()},
    run=run,
    figure=figure,
    finding=finding,
    seeds=1,
    source="",
    separate=True,
)
