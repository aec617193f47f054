"""The effect of the softmax's temperature, in training and after it."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data import DataLoader
from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import (
    COLORS,
    GRAY,
    accuracy_axis,
    draw_curve,
    log_axis,
    name_lines,
    shades,
)
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import (
    logit_gradients,
    normalize,
    train,
)
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table
from tinygrad_cnn.train import TrainingDiverged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEMPERATURES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
EPOCHS, BATCH, LEARNING_RATE = 10, 64, 0.1
SIZES = (784, 64, 10)
BINS = 15
AFTERWARDS = "trained at 1"
TITLES = {
    "test_accuracy": "final test accuracy",
    "entropy": "entropy",
    "ece": "calibration error (ECE)",
}


def cross_entropy_at(z: Tensor, labels: NDArray[Any], temperature: float) -> Tensor:
    """Return the cross-entropy of softmax(z / T), averaged over the batch (eq 36)."""
    return ops.cross_entropy(z * (1.0 / temperature), labels)


class Quality(NamedTuple):
    """Quality measures of predicted probabilities.

    Attributes
    ----------
    entropy : float
        −Σ S ln S, the mean over the examples: 0 for a certain prediction, ln 10 for ten equal
        probabilities.
    accuracy : float
    ece : float
        The expected calibration error: the difference of accuracy and confidence in bins of equal
        confidence, weighted by their share of the examples (Guo et al., "On calibration of modern
        neural networks", 2017, eq 3).
    """

    entropy: float
    accuracy: float
    ece: float


def quality(logits: NDArray[Any], labels: NDArray[Any], temperature: float) -> Quality:
    """Return the quality of softmax(z / T).

    Examples
    --------
    >>> certain = quality(np.array([[99.0, 0.0], [0.0, 99.0]]), np.array([0, 0]), 1.0)
    >>> round(certain.entropy, 6), certain.accuracy, round(certain.ece, 6)
    (0.0, 0.5, 0.5)
    """
    logarithms = ops.log_softmax(Tensor(logits.astype(np.float64)), temperature=temperature)._array
    probabilities = np.exp(logarithms)
    entropy = -(probabilities * logarithms).sum(axis=1).mean()
    right = probabilities.argmax(axis=1) == labels
    confidence = probabilities.max(axis=1)
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    off = np.bincount(places, right - confidence, BINS)  # Σ over the bin: correct − confidence
    return Quality(float(entropy), float(right.mean()), float(np.abs(off).sum() / len(labels)))


def run(record: Record, seed: int, temperature: float, epochs: int = EPOCHS) -> None:
    """Train at one temperature; T = 1 is evaluated at all temperatures, which are its steps."""
    model = MLP(SIZES, "relu", rng=np.random.default_rng(seed))
    loss = partial(cross_entropy_at, temperature=temperature)
    data = record.data
    transform = normalize(data.train)
    tested = next(iter(DataLoader(data.test, None, transform=transform)))
    with no_grad():
        first = model(Tensor(tested[0]))._array
    gradients = logit_gradients(loss, first, tested[1])
    record(0, logit_gradient=float(np.linalg.norm(gradients, axis=1).mean()))
    try:
        train(
            record, model, SGD(model.parameters(), LEARNING_RATE), epochs=epochs, batch_size=BATCH,
            seed=seed, loss=loss,
        )  # fmt: skip
    except TrainingDiverged:
        record(epochs, test_accuracy=math.nan, entropy=math.nan, ece=math.nan)
        return
    with no_grad():
        logits = model(Tensor(tested[0]))._array
        found = quality(logits, tested[1], temperature)
        record(epochs, entropy=found.entropy, ece=found.ece)
        if temperature == 1.0:
            for other in TEMPERATURES:
                found = quality(logits, tested[1], other)
                record(
                    other,
                    entropy_at=found.entropy,
                    test_accuracy_at=found.accuracy,
                    ece_at=found.ece,
                )


def figure(results: Results, figure: Figure) -> None:
    """Draw the training curves at each temperature, and the quality of the probabilities."""
    figure.set_size_inches(11.0, 6.6)
    panels = figure.subplots(2, 3)
    epochs, gradient, accuracy = panels.flat[:3]
    for variant, color in zip(VARIANTS, shades(len(VARIANTS)), strict=True):
        draw_curve(epochs, results, variant, "test_accuracy", color=color, label=variant)
    epochs.set_title("test accuracy, trained at T", loc="left")
    epochs.set_xlabel("epochs")
    accuracy_axis(epochs, 0.0, 0.96)
    _draw(gradient, [results.last(variant, "logit_gradient") for variant in VARIANTS], COLORS[1],
          "measured")  # fmt: skip
    one = float(np.median(results.last(AT_ONE, "logit_gradient")))
    gradient.plot(TEMPERATURES, [one / t for t in TEMPERATURES], "--", color=GRAY, label="1 / T")
    gradient.set_title("‖∂E/∂z‖ before training", loc="left")
    log_axis(gradient.yaxis)
    for axes, (measure, title) in zip(panels.flat[2:], TITLES.items(), strict=False):
        trained = [results.last(variant, measure) for variant in VARIANTS]
        _draw(axes, trained, COLORS[0], "trained at T")
        after = [_afterwards(results, f"{measure}_at", t) for t in TEMPERATURES]
        _draw(axes, after, COLORS[1], AFTERWARDS)
        axes.set_title(title, loc="left")
    accuracy_axis(accuracy, 0.0, 0.96)
    for axes in panels.flat[1:5]:
        axes.set_xscale("log")
        axes.set_xticks(TEMPERATURES, [f"{t:g}" for t in TEMPERATURES])
        axes.minorticks_off()
        axes.set_xlabel("T")
    panels[1, 2].remove()
    name_lines(*panels.flat[:5])


def _draw(axes: Axes, values: list[Numbers], color: str, label: str) -> None:
    spreads = [Spread.of(each) for each in values]
    axes.plot(TEMPERATURES, [s.median for s in spreads], "o-", color=color, label=label)
    low, high = [s.low for s in spreads], [s.high for s in spreads]
    axes.fill_between(TEMPERATURES, low, high, color=color, alpha=0.16, linewidth=0)


def finding(results: Results) -> Finding:
    """Describe the effect of temperature on gradients, probabilities and accuracy."""
    header = ["T", "‖∂E/∂z‖·T over T = 1's", "accuracy", "entropy", "ECE",
              "accuracy, T after training", "entropy", "ECE"]  # fmt: skip
    scaled = {t: Spread.of(_scaled(results, t)) for t in TEMPERATURES}
    rows = []
    for variant, t in zip(VARIANTS, TEMPERATURES, strict=True):
        both = [
            *(results.last(variant, measure) for measure in TITLES),
            *(_afterwards(results, f"{measure}_at", t) for measure in TITLES),
        ]
        qualities = [
            format(Spread.of(values), kind)
            for values, kind in zip(both, (".1%", ".2g", ".1%") * 2, strict=True)
        ]
        rows.append([f"{t:g}", f"{scaled[t]:.2f}", *qualities])
    trained = {v: Spread.of(results.last(v, "test_accuracy")) for v in VARIANTS}
    best = max(trained, key=lambda variant: np.nan_to_num(trained[variant].median))
    text = (
        f"The first columns are of networks trained at T, the last three of the network trained at "
        f"T = 1 and evaluated at T.\n\n{markdown_table(header, rows)}\n\n"
        f"Evaluated at T, the accuracy is {_same(results)}; the calibration error is smallest at "
        f"T = {_best_calibrated(results):g}. Before training, ‖∂E/∂z‖·T is "
        f"{min(each.low for each in scaled.values()):.2f} to "
        f"{max(each.high for each in scaled.values()):.2f} times its value at T = 1; if the "
        f"gradient were proportional to 1/T, all would be 1. Trained with the same learning rate "
        f"({LEARNING_RATE:g}), the median accuracy is highest at {best}."
    )
    return Finding(text, (_favors(results),))


def _same(results: Results) -> str:
    accuracy = results.curve(AT_ONE, "test_accuracy_at").values
    changed = 100 * (accuracy.max(axis=1) - accuracy.min(axis=1))
    if not changed.any():
        return "the same at every T"
    return f"not the same at every T, by up to {changed.max():.1f} points"


def _favors(results: Results) -> Verdict:
    """Judge whether the probabilities are the more certain, the smaller the temperature."""
    entropy = results.curve(AT_ONE, "entropy_at")
    rising = np.diff(entropy.values, axis=1) > 0
    lowest, highest = (Spread.of(entropy.values[:, column]) for column in (0, -1))
    return Verdict.of(
        "a smaller temperature favors the greater z",
        bool(rising.all()),
        f"entropy {lowest:.2g} at T = {entropy.steps[0]:g}, {highest:.2g} at "
        f"T = {entropy.steps[-1]:g}",
    )


def _scaled(results: Results, temperature: float) -> Numbers:
    """Return ‖∂E/∂z‖·T before training, relative to its value at T = 1."""
    variant = VARIANTS[TEMPERATURES.index(temperature)]
    gradient = results.last(variant, "logit_gradient")
    return temperature * gradient / results.last(AT_ONE, "logit_gradient")


def _afterwards(results: Results, measure: str, temperature: float) -> Numbers:
    curve = results.curve(AT_ONE, measure)
    values: Numbers = curve.values[:, curve.steps == temperature]
    return values


def _best_calibrated(results: Results) -> Spread:
    curve = results.curve(AT_ONE, "ece_at")
    return Spread.of(curve.steps[curve.values.argmin(axis=1)])


VARIANTS = tuple(f"T = {t:g}" for t in TEMPERATURES)
AT_ONE = f"T = {1.0:g}"

experiment = Experiment(
    name="temperature",
    question="What does the temperature of the softmax change?",
    claim="“There is also an idea of **Temperature** T which adds another layer of non-linearity "
    "to S. A smaller temperature favors greater z_i and vice-versa.” (section 0.3.2.3, eq 36)",
    variants={v: {"temperature": t} for v, t in zip(VARIANTS, TEMPERATURES, strict=True)},
    run=run,
    figure=figure,
    finding=finding,
)
