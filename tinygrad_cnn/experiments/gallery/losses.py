"""Squared error on the softmax against cross-entropy: accuracy and gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data import DataLoader, one_hot
from tinygrad_cnn.experiments.experiment import Experiment, Record, grid
from tinygrad_cnn.experiments.figures import (
    COLORS,
    accuracy_axis,
    draw_curve,
    name_lines,
)
from tinygrad_cnn.experiments.gallery.common import logit_gradients, normalize
from tinygrad_cnn.experiments.results import Results, Spread
from tinygrad_cnn.nn import MLP, Module
from tinygrad_cnn.nn.init import Initializer, standard_normal, xavier_uniform
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table
from tinygrad_cnn.train import Callback, History, fit
from tinygrad_cnn.train.evaluation import Loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (784, 64, 10)
EPOCHS, BATCH = 10, 32
RATES = (0.1, 0.5, 2.0, 8.0)
RATE = 0.5  # suits both losses
WANTED = 0.9
BINS = np.linspace(0.0, 1.0, 11)


def squared_error(z: Tensor, labels: NDArray[Any]) -> Tensor:
    """Return Σ (S_i − y_i)² / 2 (eq 18), averaged over the batch."""
    targets = one_hot(labels, z.shape[1], z.dtype)
    return ops.squared_error(ops.softmax(z), targets) * (1.0 / len(labels))


LOSSES: dict[str, Loss] = {"squared error": squared_error, "cross-entropy": ops.cross_entropy}
STARTS: dict[str, Initializer] = {"Glorot": xavier_uniform, "N(0, 1)": standard_normal}


def run(
    record: Record, seed: int, loss: str, start: str, rate: float, epochs: int = EPOCHS
) -> None:
    """Train the text's perceptron, and measure the gradients of the test images.

    ``gradient`` is ‖∂E/∂z‖, the mean over the images. ``wrong_gradient`` and ``wrong_factor`` are
    its mean, and the mean of S(1 − S) of the true class, over the misclassified images.
    ``gradient_by_truth`` is the mean gradient, before training, of the images whose true class has
    a certain probability; the step is that probability.
    """
    model = MLP(SIZES, "sigmoid", init=STARTS[start], rng=np.random.default_rng(seed))
    data = record.data
    transform = normalize(data.train)
    loader = DataLoader(data.train, BATCH, shuffle=True, seed=seed, transform=transform)
    images, labels = next(iter(DataLoader(data.test, None, transform=transform)))
    look = _Look(record, model, LOSSES[loss], images, labels)
    record.steps = epochs
    look.take(0)
    fit(model, LOSSES[loss], SGD(model.parameters(), rate), loader, epochs=epochs, callbacks=[look])


class _Look(Callback):
    """Callback that records accuracy and gradients on the test images."""

    def __init__(
        self, record: Record, model: Module, loss: Loss, images: NDArray[Any], labels: NDArray[Any]
    ) -> None:
        self.record = record
        self.model = model
        self.loss = loss
        self.images = images
        self.labels = labels

    def epoch(self, history: History) -> None:
        self.take(history[-1].epoch)

    def take(self, epoch: int) -> None:
        with no_grad():
            logits = self.model(Tensor(self.images))._array
            probabilities = ops.softmax(Tensor(logits))._array
        wrong = probabilities.argmax(axis=1) != self.labels
        true = probabilities[np.arange(len(wrong)), self.labels].astype(np.float64)
        gradient = np.linalg.norm(logit_gradients(self.loss, logits, self.labels), axis=1)
        measures = {"test_accuracy": 1.0 - float(wrong.mean()), "gradient": float(gradient.mean())}
        if wrong.any():
            measures["wrong_gradient"] = float(gradient[wrong].mean())
            measures["wrong_factor"] = float((true * (1.0 - true))[wrong].mean())
        self.record(epoch, **measures)
        if epoch == 0:
            for low, high in pairwise(BINS):
                within = gradient[(true >= low) & (true < high)]
                if within.size:
                    self.record(0.5 * (low + high), gradient_by_truth=float(within.mean()))


def figure(results: Results, figure: Figure) -> None:
    """Draw the accuracy of each loss at its best rate, and the gradients."""
    figure.set_size_inches(11.0, 6.6)
    panels = figure.subplots(2, 3)
    for row, start in zip(panels, STARTS, strict=True):
        accuracy, seconds, wrong = row
        for loss, color in zip(LOSSES, (COLORS[1], COLORS[0]), strict=True):
            variant = best(results, loss, start)
            for axes in (accuracy, seconds):
                draw_curve(
                    axes, results, variant, "test_accuracy",
                    color=color, label=loss, seconds=axes is seconds,
                )  # fmt: skip
            if start == "N(0, 1)":
                draw_curve(
                    wrong, results, variant, "gradient_by_truth",
                    color=color, label=loss, marker="o",
                )  # fmt: skip
            else:
                draw_curve(wrong, results, variant, "wrong_gradient", color=color, label=loss)
        for axes, label in ((accuracy, "epoch"), (seconds, "seconds")):
            accuracy_axis(axes, 0.0, 0.98)
            axes.set_xlabel(label)
        accuracy.set_ylabel(f"test accuracy, from {start}")
        name_lines(seconds)
        name_lines(wrong)
    panels[0, 2].set(xlabel="epoch", yscale="log")
    panels[0, 2].set_title("‖∂E/∂z‖ of what is taken for another class", loc="left", fontsize=10)
    panels[1, 2].set(xlabel="probability S of the true class", ylim=(0, None))
    panels[1, 2].set_title("‖∂E/∂z‖ before training", loc="left", fontsize=10)


def best(results: Results, loss: str, start: str) -> str:
    """Return the variant whose rate gives the highest final median accuracy."""
    variants = [f"{loss}, {start}, rate {rate:g}" for rate in RATES]
    return max(
        variants, key=lambda variant: float(np.median(results.last(variant, "test_accuracy")))
    )


def finding(results: Results) -> str:
    """Compare the losses' accuracy, and the effect of the factor S(1 − S) on the gradients."""
    rows = []
    for start in STARTS:
        for loss in LOSSES:
            variant = best(results, loss, start)
            soon = results.first(variant, "test_accuracy", at_least=WANTED)
            rows.append(
                [
                    f"{loss}, {start}",
                    variant.rpartition(" ")[2],
                    f"{Spread.of(results.last(variant, 'test_accuracy')):.1%}",
                    f"{Spread.of(soon):.0f}",
                    f"{Spread.of(_first(results, variant, 'wrong_factor')):.2g}",
                    f"{Spread.of(_first(results, variant, 'wrong_gradient')):.2g}",
                    f"{Spread.of(results.last(variant, 'wrong_gradient')):.2g}",
                ]
            )
    header = [
        "loss, first weights", "rate", "accuracy", f"epochs to {100 * WANTED:g} %",
        "S(1 − S) where wrong", "‖∂E/∂z‖ where wrong, first", "last",
    ]  # fmt: skip
    saturated = best(results, "squared error", "N(0, 1)")
    low = _by_truth(results, saturated, 0)
    entropy = _by_truth(results, best(results, "cross-entropy", "N(0, 1)"), 0)
    return (
        f"The text's perceptron ({'-'.join(map(str, SIZES))}, sigmoids), each loss at the best of "
        f"the rates {', '.join(f'{rate:g}' for rate in RATES)}:\n\n"
        f"{markdown_table(header, rows)}\n\n"
        "Eq 27 multiplies the error by S(1 − S). If the network is confident in a wrong class, S "
        "of the true class is near 0, and so is the product: for images whose true class has a "
        f"probability below {BINS[1]:.1g} under weights from N(0, 1), the gradient in z is "
        f"{low:.2g} with the squared error, but {entropy:.2g} with cross-entropy, whose gradient "
        f"S − y does not have the factor. {_verdict(results)}"
    )


def _verdict(results: Results) -> str:
    """Return the sentences that compare the accuracies."""
    best_of_each = {start: [best(results, loss, start) for loss in LOSSES] for start in STARTS}
    alike = {start: [f"{loss}, {start}, rate {RATE:g}" for loss in LOSSES] for start in STARTS}
    return (
        f"At the same rate, {RATE:g}, the accuracy of cross-entropy exceeds that of the squared "
        f"error by {_ahead(results, alike)}; each at its best rate, by "
        f"{_ahead(results, best_of_each)}: a larger rate makes up for part of the factor."
    )


def _ahead(results: Results, variants: Mapping[str, Sequence[str]]) -> str:
    """Return the lead of the second variant over the first in points, for each start."""
    said = []
    for start, pair in variants.items():
        squared, entropy = (np.median(results.last(name, "test_accuracy")) for name in pair)
        said.append(f"{100 * (entropy - squared):+.1f} points from {start}")
    return " and ".join(said)


def _first(results: Results, variant: str, measure: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = results.curve(variant, measure).values[:, 0]
    return values


def _by_truth(results: Results, variant: str, place: int) -> Spread:
    return Spread.of(results.curve(variant, "gradient_by_truth").values[:, place])


experiment = Experiment(
    name="losses",
    question="How does squared error on the softmax compare with cross-entropy?",
    claim="“(27) Δw_ij = ∂E_i/∂w_ij = (Y_i − y_i) · S(z_i)(1 − S(z_i)) · x_j”: the text takes the "
    "squared error (eq 17, 18), so that each step carries the factor S(1 − S).",
    variants=grid(
        loss=tuple(LOSSES), start=tuple(STARTS), rate={f"rate {rate:g}": rate for rate in RATES}
    ),
    run=run,
    figure=figure,
    finding=finding,
)
