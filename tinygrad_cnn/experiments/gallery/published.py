"""Networks from books and papers, reproduced, beside their published figures."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.experiments.experiment import Experiment, slug
from tinygrad_cnn.experiments.figures import COLORS, GRAY
from tinygrad_cnn.experiments.gallery import lenets, nielsen
from tinygrad_cnn.experiments.gallery.recipes import Recipe, run
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.nn import Module, ReLU
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PublishedResult(NamedTuple):
    """A published figure, and the recipe that reproduces it.

    Attributes
    ----------
    source, network : str
        The publication, as Markdown, and the network.
    accuracy : float
    recipe : Recipe
    measure : str
        The measure to compare.
    chosen_by : str
        The measure whose maximum selects the epoch; empty for the last epoch.
    best_of : int
        The number of runs from which the source selects, by the same measure.
    otherwise : str
        Differences of the recipe from the source.
    """

    source: str
    network: str
    accuracy: float
    recipe: Recipe
    measure: str = "test_accuracy"
    chosen_by: str = ""
    best_of: int = 1
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
    return Recipe(model=model, epochs=20, batch_size=64, lr=0.003, adam=True, normalized=True)


def _squared(hidden: tuple[int, ...], lr: float) -> Recipe:
    return Recipe(
        model=lenets.sigmoids, options={"hidden": hidden}, loss=nielsen.quadratic,
        epochs=20, lr=lr, normalized=True,
    )  # fmt: skip


def _fashion(model: Callable[..., Module], epochs: int, **options: Any) -> Recipe:
    return Recipe(
        model=model, options=options, epochs=epochs, batch_size=100, lr=0.003, adam=True,
        source="fashion-mnist", normalized=True,
    )  # fmt: skip


LECUN = "[LeCun et al. 1998](http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf)"
FASHION = "[Fashion-MNIST](https://github.com/zalandoresearch/fashion-mnist#benchmark)"
SQUARED = "Gradient descent, mini-batch 10; sigmoid outputs"
ADAM = "Adam, one-cycle, mini-batch 64, instead of second derivatives and single examples"
LENET = f"{ADAM}; cross-entropy, average pooling without weights, full second convolution"
EXAMPLES = 10_000  # of each test set and held-out set
BEST_OF = "The source reports the best of {} runs, so our best is compared"
BEST, VALIDATED = "test_accuracy", "validation_accuracy"

ROWS = {
    "Nielsen 1: 30 hidden": PublishedResult(
        _nielsen(1), "784-30-10", 0.9542, _first(30), chosen_by=BEST, best_of=3
    ),
    "Nielsen 1: 100 hidden": PublishedResult(
        _nielsen(1), "784-100-10", 0.9659, _first(100), chosen_by=BEST, best_of=3
    ),
    "Nielsen 3: cross-entropy": PublishedResult(
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
    "LeCun: linear": PublishedResult(LECUN, "784-10", 0.88, _squared((), 0.1), otherwise=SQUARED),
    "LeCun: 300 hidden": PublishedResult(
        LECUN, "784-300-10, squared error", 0.953, _squared((300,), 0.1), otherwise=SQUARED
    ),
    "Fashion: perceptron": PublishedResult(
        FASHION,
        "784-256-128-100-10",
        0.8833,
        _fashion(lenets.perceptron, 20, hidden=(256, 128, 100)),
        otherwise="Adam, one-cycle, mini-batch 100; the source does not say",
    ),
    "LeCun: LeNet-1": PublishedResult(
        LECUN, "LeNet-1", 0.983, _lenet(lenets.lenet1), otherwise=LENET
    ),
    "LeCun: LeNet-4": PublishedResult(
        LECUN, "LeNet-4", 0.989, _lenet(lenets.lenet4), otherwise=LENET
    ),
    "LeCun: LeNet-5": PublishedResult(
        LECUN, "LeNet-5", 0.9905, _lenet(lenets.lenet5), otherwise=LENET
    ),
    "Nielsen 6: no convolution": PublishedResult(
        _nielsen(6), "784-100-10, softmax", 0.9780, _sixth(), chosen_by=VALIDATED, best_of=3
    ),
    "Nielsen 6: 1 convolution": PublishedResult(
        _nielsen(6),
        "20@5×5, pool, 100, softmax",
        0.9878,
        _sixth(20),
        chosen_by=VALIDATED,
        best_of=3,
    ),
    "Fashion: 2 convolutions": PublishedResult(
        FASHION,
        "32@5×5, pool, 64@5×5, pool, 10",
        0.925,
        _fashion(lenets.two_convolutions, 10),
        otherwise="One-cycle, mini-batch 100, instead of 30 epochs of Adam with mini-batch 1000",
    ),
    "Nielsen 6: 2 convolutions": PublishedResult(
        _nielsen(6),
        "20@5×5, pool, 40@5×5, pool, 100",
        0.9906,
        _sixth(20, 40),
        chosen_by=VALIDATED,
        best_of=3,
    ),
    "Nielsen 6: 2 convolutions, ReLU": PublishedResult(
        _nielsen(6),
        "the same with ReLU, λ = 0.1",
        0.9923,
        _sixth(20, 40, relu=True),
        chosen_by=VALIDATED,
        best_of=3,
    ),
}
"""Rows by label, the slowest last."""


class Reproduction(NamedTuple):
    """Our own figures for a row, one per seed.

    Attributes
    ----------
    seeds : tuple of int
    accuracy, epochs : ndarray
        At the selected epoch.
    chosen : ndarray
        The selecting measure at that epoch.
    seconds : ndarray
        Of the whole run.
    """

    seeds: tuple[int, ...]
    accuracy: NDArray[np.float64]
    epochs: NDArray[np.float64]
    chosen: NDArray[np.float64]
    seconds: NDArray[np.float64]

    def compared(self, row: PublishedResult) -> float:
        """Return our accuracy to compare: of the best run, or else the median."""
        if row.best_of > 1:
            return float(self.accuracy[self.chosen.argmax()])
        return float(np.median(self.accuracy))


def ours(results: Results, label: str) -> Reproduction:
    """Return our own figures for a row."""
    row = ROWS[label]
    curve = results.curve(label, row.measure)
    by = results.curve(label, row.chosen_by or row.measure)
    last = len(curve.steps) - 1
    chosen = np.full(len(curve.seeds), last)
    if row.chosen_by:
        chosen = last - by.values[:, ::-1].argmax(axis=1)  # the last of equal values
    at = np.arange(len(curve.seeds)), chosen
    return Reproduction(
        curve.seeds, curve.values[at], curve.steps[chosen], by.values[at], curve.seconds[:, -1]
    )


def finding(results: Results) -> str:
    """Return the table, and a line for each row that falls short."""
    rows, short, notes = [], [], dict[str, int]()
    for label, row in ROWS.items():
        if label not in results.variants:
            continue
        found = ours(results, label)
        said = [row.otherwise, BEST_OF.format(row.best_of) if row.best_of > 1 else ""]
        marks = [f"[{notes.setdefault(note, len(notes) + 1)}]" for note in said if note]
        what = "validation" if row.measure == VALIDATED else "test"
        rows.append(
            [
                row.source,
                " ".join([row.network, *marks]),
                f"{100 * row.accuracy:.2f} %",
                f"{Spread.of(found.accuracy):.2%} {what}",
                f"{Spread.of(found.epochs):.0f} of {row.recipe.epochs}",
                f"{Spread.of(found.seconds):.0f}",
                ", ".join(map(str, found.seeds)),
                f"`tinygrad-cnn experiment published --only {slug(label)}`",
            ]
        )
        compared = found.compared(row)
        if compared < row.accuracy:
            scatter = math.sqrt(compared * (1.0 - compared) / EXAMPLES)
            runs = f" in {len(found.seeds)} of {row.best_of} runs" if row.best_of > 1 else ""
            short.append(
                f"{label} falls short by {100 * (row.accuracy - compared):.2f} points{runs}; the "
                f"choice of {EXAMPLES:,} test images alone has a standard deviation of "
                f"{100 * scatter:.2f}."
            )
    header = "source", "network", "published", "ours", "epoch", "seconds", "seeds", "command"
    reached = len(rows) - len(short)
    verdict = f"{reached} of {len(rows)} rows reach the published figure. {' '.join(short)}"
    listed = "".join(f"\n\n[{number}] {note}." for note, number in notes.items())
    return f"{markdown_table(header, rows, '<<>>>>><')}\n\n{verdict.rstrip()}{listed}"


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
        axes.plot([found.low, found.high], [place, place], color=COLORS[1], linewidth=4, alpha=0.3)
        axes.plot(published, place, "o", color=GRAY, markersize=7, fillstyle="none")
        axes.plot(found.median, place, "o", color=COLORS[1], markersize=7)
    axes.plot([], [], "o", color=GRAY, markersize=7, fillstyle="none", label="published")
    axes.plot([], [], "o", color=COLORS[1], markersize=7, label="ours")
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
    question="How close does the package come to published results?",
    variants={label: {"recipe": row.recipe} for label, row in ROWS.items()},
    run=run,
    figure=figure,
    finding=finding,
    seeds=1,
    source="",
    separate=True,
)
