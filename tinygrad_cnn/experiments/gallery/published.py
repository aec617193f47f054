"""Networks from books and papers, reproduced and compared with their published figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_cnn.experiments.experiment import Experiment
from tinygrad_cnn.experiments.figures import COLORS, log_axis
from tinygrad_cnn.experiments.finding import Finding, Holds, Verdict
from tinygrad_cnn.experiments.gallery import lenets, nielsen
from tinygrad_cnn.experiments.gallery.recipes import Recipe, run
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.nn import Module, ReLU
from tinygrad_cnn.support.text import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEST, VALIDATION = "test_accuracy", "validation_accuracy"


class PublishedResult(NamedTuple):
    """A published accuracy, and the recipe that reproduces it.

    Attributes
    ----------
    source, network : str
        The address of the publication, and the network.
    accuracy : float
    recipe : Recipe
    measure : str
        The measure that the source reports.
    chosen_by : str
        The measure whose maximum selects the epoch in the source; empty for the last epoch.
    best_of : int
        The number of runs from which the source selects, by the same measure.
    otherwise : str
        Differences of the recipe from the source.
    """

    source: str
    network: str
    accuracy: float
    recipe: Recipe
    measure: str = TEST
    chosen_by: str = ""
    best_of: int = 1
    otherwise: str = ""

    @property
    def notes(self) -> list[str]:
        """Differences from the source, in words."""
        said = self.otherwise, BEST_OF.format(self.best_of) if self.best_of > 1 else ""
        return [note for note in said if note]


NIELSEN = "http://neuralnetworksanddeeplearning.com/chap{}.html"
LECUN = "http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf"
FASHION = "https://github.com/zalandoresearch/fashion-mnist#benchmark"
SQUARED = "Gradient descent, mini-batch 10; sigmoid outputs"
LENET = (
    "Adam, one-cycle, mini-batch 64, instead of second derivatives and single examples; "
    "cross-entropy, average pooling without weights, full second convolution; for LeNet-1, images "
    "not scaled down to 16×16"
)
BEST_OF = "The source reports the best of {} runs; ours is the median"
LENET5, DISTORTED = "LeCun: LeNet-5", 0.992
IMAGES = 10_000  # of each test set and held-out set
RULES = {"": "last", TEST: "best on test", VALIDATION: "best on validation"}


def _first(network: str, accuracy: float, hidden: int) -> PublishedResult:
    recipe = Recipe(model=nielsen.perceptron, options={"hidden": hidden}, loss=nielsen.quadratic,
                    epochs=30, lr=3.0, held_out=10_000)  # fmt: skip
    return PublishedResult(NIELSEN.format(1), network, accuracy, recipe, TEST, TEST, 3)


def _third() -> PublishedResult:
    recipe = Recipe(
        model=nielsen.perceptron, options={"hidden": 100, "sigmoid_outputs": False},
        loss=nielsen.binary_cross_entropy, epochs=60, lr=0.1, decay=5 / 50_000, held_out=10_000,
    )  # fmt: skip
    network = "784-100-10, cross-entropy, λ = 5"
    return PublishedResult(NIELSEN.format(3), network, 0.9804, recipe, VALIDATION, VALIDATION)


def _sixth(network: str, accuracy: float, *channels: int, relu: bool = False) -> PublishedResult:
    options: dict[str, Any] = {"channels": channels} | ({"activation": ReLU} if relu else {})
    lr, decay = (0.03, 0.1 / 5_000) if relu else (0.1, 0.0)
    recipe = Recipe(model=nielsen.convolutional, options=options, epochs=60, held_out=10_000,
                    shuffle=False, lr=lr, decay=decay)  # fmt: skip
    return PublishedResult(NIELSEN.format(6), network, accuracy, recipe, TEST, VALIDATION, 3)


def _lenet(network: str, accuracy: float, model: Callable[..., Module]) -> PublishedResult:
    recipe = Recipe(model=model, epochs=20, batch_size=64, lr=0.003, adam=True, normalized=True)
    return PublishedResult(LECUN, network, accuracy, recipe, otherwise=LENET)


def _squared(network: str, accuracy: float, *hidden: int) -> PublishedResult:
    recipe = Recipe(model=lenets.sigmoids, options={"hidden": hidden}, loss=nielsen.quadratic,
                    epochs=20, lr=0.1, normalized=True)  # fmt: skip
    return PublishedResult(LECUN, network, accuracy, recipe, otherwise=SQUARED)


def _fashion(
    network: str, accuracy: float, otherwise: str, epochs: int, model: Callable[..., Module],
    **options: Any,
) -> PublishedResult:  # fmt: skip
    recipe = Recipe(model=model, options=options, epochs=epochs, batch_size=100, lr=0.003,
                    adam=True, source="fashion-mnist", normalized=True)  # fmt: skip
    return PublishedResult(FASHION, network, accuracy, recipe, otherwise=otherwise)


ROWS = {
    "Nielsen 1: 30 hidden": _first("784-30-10", 0.9542, 30),
    "Nielsen 1: 100 hidden": _first("784-100-10", 0.9659, 100),
    "Nielsen 3: cross-entropy": _third(),
    "LeCun: linear": _squared("784-10", 0.88),
    "LeCun: 300 hidden": _squared("784-300-10, squared error", 0.953, 300),
    "Fashion: perceptron": _fashion(
        "784-256-128-100-10", 0.8833,
        "Adam, one-cycle, mini-batch 100; the source does not say",
        20, lenets.perceptron, hidden=(256, 128, 100),
    ),
    "LeCun: LeNet-1": _lenet("LeNet-1", 0.983, lenets.lenet1),
    "LeCun: LeNet-4": _lenet("LeNet-4", 0.989, lenets.lenet4),
    LENET5: _lenet("LeNet-5", 0.9905, lenets.lenet5),
    "Nielsen 6: no convolution": _sixth("784-100-10, softmax", 0.9780),
    "Nielsen 6: 1 convolution": _sixth("20@5×5, pool, 100, softmax", 0.9878, 20),
    "Fashion: 2 convolutions": _fashion(
        "32@5×5, pool, 64@5×5, pool, 10", 0.925,
        "One-cycle, mini-batch 100, instead of 30 epochs of Adam with mini-batch 1000",
        10, lenets.two_convolutions,
    ),
    "Nielsen 6: 2 convolutions": _sixth("20@5×5, pool, 40@5×5, pool, 100", 0.9906, 20, 40),
    "Nielsen 6: 2 convolutions, ReLU": _sixth("the same, ReLU, λ = 0.1", 0.9923, 20, 40, relu=True),
}  # fmt: skip
"""Rows by label, the slowest last."""

SLOW = ("Nielsen 6: 1 convolution", "Fashion: 2 convolutions", "Nielsen 6: 2 convolutions",
        "Nielsen 6: 2 convolutions, ReLU")  # fmt: skip
"""Rows with one run, of more than ten minutes; the others have three."""


class Reproduction(NamedTuple):
    """Our own figures for a row, one per seed.

    Attributes
    ----------
    row : PublishedResult
    accuracy, epochs : ndarray
        The reported measure at the epoch selected by the source's rule, and that epoch.
    validated : ndarray or None
        The test accuracy at the epoch that validation selects; None if the source does the same, or
        there are no held-out images.
    """

    row: PublishedResult
    accuracy: Numbers
    epochs: Numbers
    validated: Numbers | None

    @property
    def shortfall(self) -> float:
        """How far our median accuracy is below the published one."""
        return self.row.accuracy - Spread.of(self.accuracy).median

    @property
    def deviation(self) -> float:
        """The standard deviation of our median accuracy over choices of the images."""
        accuracy = Spread.of(self.accuracy).median
        return math.sqrt(accuracy * (1.0 - accuracy) / IMAGES)


def ours(results: Results, label: str) -> Reproduction:
    """Return our own figures for a row."""
    row = ROWS[label]
    accuracy, epochs = _selected(results, label, row.measure, row.chosen_by)
    validated = None
    if row.recipe.held_out and (row.measure, row.chosen_by) != (TEST, VALIDATION):
        validated, _ = _selected(results, label, TEST, VALIDATION)
    return Reproduction(row, accuracy, epochs, validated)


def _selected(results: Results, label: str, measure: str, by: str) -> tuple[Numbers, Numbers]:
    """Return a measure at the epoch with the highest `by`, or at the last; and this epoch."""
    curve = results.curve(label, measure)
    backward = results.curve(label, by).values[:, ::-1] if by else curve.values[:, :1]
    place = len(curve.steps) - 1 - backward.argmax(axis=1)  # the last of equal values
    return curve.values[np.arange(len(place)), place], curve.steps[place]


def finding(results: Results) -> Finding:
    """Return the table, the rows that fall short, and the notes."""
    found = {label: ours(results, label) for label in ROWS if label in results.variants}
    short = {label: each for label, each in found.items() if each.shortfall > 0.0}
    near = [each for each in short.values() if each.shortfall <= 2.0 * each.deviation]
    reached = f"{len(found) - len(short)} of {len(found)} rows"
    listed = ", ".join(
        f"{label} {100 * each.shortfall:.2f} ± {100 * each.deviation:.2f}"
        for label, each in short.items()
    )
    text = (
        f"By the median, {reached} reach the published accuracy. Points below it, with the "
        f"standard deviation that the choice of {IMAGES:,} images alone has: {listed or 'none'}. "
        "LeCun's accuracies, like ours, are without distorted training images; with them LeNet-5 "
        f"reaches {100 * DISTORTED:.2f} %. Where the source chooses the epoch on the test set, or "
        "reports validation accuracy, the table adds our test accuracy at the epoch chosen on "
        "validation. Rows of more than ten minutes a run have one run. One row alone: "
        f"`tinygrad-cnn experiment published --only '{LENET5}'`."
    )
    outcome: Holds = "depends" if short else "holds"
    if len(short) == len(found):
        outcome = "does not hold"
    further = f", {len(near)} more within two standard deviations" if near else ""
    verdicts = [Verdict("published accuracies are reached", outcome, reached + further)]
    if LENET5 in found:
        claim = f"LeNet-5 reaches LeCun's {100 * ROWS[LENET5].accuracy:.2f} % without distortions"
        accuracy = f"{Spread.of(found[LENET5].accuracy):.2%}"
        verdicts.append(Verdict.of(claim, LENET5 not in short, accuracy))
    return Finding(f"{text}\n\n{_table(found)}", tuple(verdicts))


def _table(found: Mapping[str, Reproduction]) -> str:
    """Return the table of all rows, and its notes."""
    notes = list(dict.fromkeys(note for each in found.values() for note in each.row.notes))
    rows = []
    for label, each in found.items():
        row = each.row
        marks = [f"[{notes.index(note) + 1}]" for note in row.notes]
        rows.append(
            [
                f"[{label}]({row.source})",
                " ".join([row.network, *marks]),
                f"{100 * row.accuracy:.2f} %",
                f"{Spread.of(each.accuracy):.2%}",
                f"{RULES[row.chosen_by]}: {Spread.of(each.epochs):.0f} of {row.recipe.epochs}",
                "" if each.validated is None else f"{Spread.of(each.validated):.2%}",
                str(len(each.epochs)),
            ]
        )
    header = ("source", "network", "published", "ours", "chosen epoch",
              "test, chosen on validation", "runs")  # fmt: skip
    listed = "".join(f"\n\n[{number}] {note}." for number, note in enumerate(notes, start=1))
    return markdown_table(header, rows, "<<>><>>") + listed


def figure(results: Results, figure: Figure) -> None:
    """Draw the error of each row, ours next to the published one."""
    labels = [label for label in ROWS if label in results.variants]
    figure.set_size_inches(9.0, 0.9 + 0.34 * len(labels))
    axes = figure.subplots()
    marks: dict[str, dict[str, Any]] = {
        "published": {"marker": "o", "color": COLORS[0], "fillstyle": "none"},
        "ours, chosen as in the source": {"marker": "o", "color": COLORS[1]},
        "ours, chosen on validation": {"marker": "|", "color": COLORS[1], "markersize": 14},
    }
    for place, label in enumerate(labels):
        found = ours(results, label)
        spread = Spread.of(100.0 * (1.0 - found.accuracy))
        axes.hlines(place, spread.low, spread.high, color=COLORS[1], linewidth=4, alpha=0.3)
        shown = [100 * (1 - ROWS[label].accuracy), spread.median]
        axes.plot(shown, [place, place], color="#d8d8d8", zorder=1)
        if found.validated is not None:
            shown.append(Spread.of(100.0 * (1.0 - found.validated)).median)
        for error, style in zip(shown, marks.values(), strict=False):
            axes.plot(error, place, **style)
    for name, style in marks.items():
        axes.plot([], [], linestyle="none", label=name, **style)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    log_axis(axes.xaxis)
    axes.set_xlabel("error in %")
    axes.legend(frameon=False, labelcolor="linecolor", loc="lower right")


experiment = Experiment(
    name="published",
    question="How close does the package come to published results?",
    variants={label: {"recipe": row.recipe} for label, row in ROWS.items()},
    run=run,
    figure=figure,
    finding=finding,
    seeds={label: 1 if label in SLOW else 3 for label in ROWS},
    source="",
    separate=True,
)
