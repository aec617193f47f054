"""The effect of the softmax's temperature, in training and after it."""

from __future__ import annotations

from collections.abc import Sequence
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
    name_lines,
)
from tinygrad_cnn.experiments.gallery.common import (
    logit_gradients,
    normalize,
    train,
)
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.nn import MLP
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table
from tinygrad_cnn.train import TrainingDiverged

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPERATURES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
EPOCHS, BATCH, LEARNING_RATE = 10, 64, 0.1
SIZES = (784, 64, 10)
BINS = 15
AFTERWARDS = "trained at 1"
TITLES = {
    "entropy": "entropy after training",
    "test_accuracy": "test accuracy after training",
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
    figure.set_size_inches(11.5, 6.6)
    panels = figure.subplots(2, 3)
    epochs, seconds, gradient = panels[0]
    for variant, color in zip(VARIANTS, COLORS, strict=False):
        for axes in (epochs, seconds):
            draw_curve(
                axes, results, variant, "test_accuracy",
                color=color, label=variant, seconds=axes is seconds,
            )  # fmt: skip
    for axes, label in ((epochs, "epoch"), (seconds, "seconds")):
        accuracy_axis(axes, 0.0, 0.98)
        axes.set_xlabel(label)
    epochs.set_title("test accuracy, trained at T", loc="left")
    spreads = [Spread.of(results.last(variant, "logit_gradient")) for variant in VARIANTS]
    gradient.plot(TEMPERATURES, [s.median for s in spreads], "o-", color=COLORS[1], label="ours")
    one = spreads[TEMPERATURES.index(1.0)].median
    gradient.plot(TEMPERATURES, [one / t for t in TEMPERATURES], "--", color=GRAY, label="1 / T")
    gradient.set(xscale="log", yscale="log", xlabel="T")
    gradient.set_title("‖∂E/∂z‖ before training", loc="left")
    for axes, measure in zip(panels[1], TITLES, strict=True):
        trained = [Spread.of(_trained(results, variant, measure)) for variant in VARIANTS]
        after = results.curve(AT_ONE, f"{measure}_at")
        for label, color, (median, low, high) in (
            ("trained at T", COLORS[0], _columns(trained)),
            (AFTERWARDS, COLORS[1], (after.median, after.low, after.high)),
        ):
            axes.plot(TEMPERATURES, median, "o-", color=color, label=label)
            axes.fill_between(TEMPERATURES, low, high, color=color, alpha=0.16, linewidth=0)
        axes.set_xscale("log")
        axes.set_xlabel("T")
        axes.set_title(TITLES[measure], loc="left")
    for axes in (*panels[1], gradient):
        axes.set_xticks(TEMPERATURES, [f"{t:g}" for t in TEMPERATURES])
        axes.minorticks_off()
    name_lines(gradient)
    name_lines(seconds)
    name_lines(panels[1, 2])


def finding(results: Results) -> str:
    """Describe the effect of temperature on gradients, probabilities and accuracy."""
    start = [results.last(variant, "logit_gradient") for variant in VARIANTS]
    at_one = start[TEMPERATURES.index(1.0)]
    rows = []
    for variant, t, gradient in zip(VARIANTS, TEMPERATURES, start, strict=True):
        after = [_afterwards(results, f"{measure}_at", t) for measure in TITLES]
        trained = [Spread.of(_trained(results, variant, measure)) for measure in TITLES]
        rows.append(
            [
                f"{t:g}",
                f"{Spread.of(gradient / at_one):.3g}",
                f"{trained[1]:.1%}",
                f"{trained[0]:.2g}",
                f"{trained[2]:.1%}",
                f"{after[1]:.1%}",
                f"{after[0]:.2g}",
                f"{after[2]:.1%}",
            ]
        )
    scaled = [
        float(np.median(gradient / at_one)) * t
        for t, gradient in zip(TEMPERATURES, start, strict=True)
    ]
    best = _best_afterwards(results)
    plain = _afterwards(results, "ece_at", 1.0)
    header = [
        "T", "gradient over T = 1's", "accuracy", "entropy", "ECE", "accuracy, T after training",
        "entropy", "ECE",
    ]  # fmt: skip
    return (
        f"{markdown_table(header, rows)}\n\n"
        "After training a smaller T favors the greater z, as the text says: the entropy falls, "
        "while the most probable class, and so the accuracy, stays. The calibration error of "
        f"the network trained at T = 1 is {plain:.1%}; it is smallest at "
        f"T = {best:g}.\n\n"
        "In training, T divides the logits and, by the chain rule, their gradient. "
        f"Before training ‖∂E/∂z‖·T is {min(scaled):.2f} to {max(scaled):.2f} times what it is at "
        "T = 1: the gradient is proportional to 1/T, except that a small T makes the untrained "
        "network more confident in wrong classes. With the same learning rate "
        f"({LEARNING_RATE:g}), a small T thus means large steps: the accuracy is "
        f"{_accuracy(results, 0)} at T = {TEMPERATURES[0]:g} and {_accuracy(results, -1)} at "
        f"T = {TEMPERATURES[-1]:g}."
    )


def _accuracy(results: Results, place: int) -> str:
    return f"{Spread.of(_trained(results, VARIANTS[place], 'test_accuracy')):.1%}"


def _trained(results: Results, variant: str, measure: str) -> NDArray[np.float64]:
    """Return a measure after training; NaN for a diverged run."""
    if not results.has(variant, measure):
        return np.full(1, np.nan)
    return results.last(variant, measure)


def _afterwards(results: Results, measure: str, temperature: float) -> Spread:
    curve = results.curve(AT_ONE, measure)
    return Spread.of(curve.values[:, curve.steps == temperature])


def _best_afterwards(results: Results) -> Spread:
    curve = results.curve(AT_ONE, "ece_at")
    return Spread.of(curve.steps[curve.values.argmin(axis=1)])


def _columns(spreads: Sequence[Spread]) -> tuple[list[float], ...]:
    """Return the medians, minima and maxima."""
    columns = zip(*((s.median, s.low, s.high) for s in spreads), strict=True)
    return tuple(list(column) for column in columns)


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
