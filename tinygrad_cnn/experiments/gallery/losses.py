"""Squared error on the softmax against cross-entropy: accuracy and gradients."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn import ops
from tinygrad_cnn.core.recording import no_grad
from tinygrad_cnn.core.tensor import Tensor
from tinygrad_cnn.data import DataLoader, one_hot
from tinygrad_cnn.experiments.experiment import Experiment, Record
from tinygrad_cnn.experiments.figures import (
    COLORS,
    accuracy_axis,
    draw_curve,
    log_axis,
    name_lines,
    outer_labels,
)
from tinygrad_cnn.experiments.finding import Finding, Verdict
from tinygrad_cnn.experiments.gallery.common import logit_gradients, normalize
from tinygrad_cnn.experiments.results import Numbers, Results, Spread
from tinygrad_cnn.nn import MLP, Module
from tinygrad_cnn.nn.init import Initializer, standard_normal, xavier_uniform
from tinygrad_cnn.optim import SGD
from tinygrad_cnn.support.text import markdown_table
from tinygrad_cnn.train import Callback, History, fit
from tinygrad_cnn.train.training_step import Loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZES = (784, 64, 10)
EPOCHS, BATCH = 10, 32
SQUARED, ENTROPY = "squared error", "cross-entropy"
RATES = {SQUARED: (0.5, 1.0, 2.0, 4.0, 8.0, 16.0), ENTROPY: (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)}
RATE = 0.5  # both losses are trained with it
WANTED = 0.9
BINS = np.linspace(0.0, 1.0, 11)


def squared_error(z: Tensor, labels: NDArray[Any]) -> Tensor:
    """Return Σ (S_i − y_i)² / 2 (eq 18), averaged over the batch."""
    targets = one_hot(labels, z.shape[1], z.dtype)
    return ops.squared_error(ops.softmax(z), targets) * (1.0 / len(labels))


LOSSES: dict[str, Loss] = {SQUARED: squared_error, ENTROPY: ops.cross_entropy}
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
    """Draw the accuracy at each rate, the curve at the best one, and the gradients."""
    figure.set_size_inches(11.0, 6.6)
    panels = figure.subplots(2, 3)
    for (rates, accuracy, gradient), start in zip(panels, STARTS, strict=True):
        wrong = "wrong_gradient" if start == "Glorot" else "gradient_by_truth"
        for loss, color in zip(LOSSES, (COLORS[0], COLORS[1]), strict=True):
            ends = [Spread.of(_accuracy(results, label(loss, start, r))) for r in RATES[loss]]
            rates.plot(RATES[loss], [end.median for end in ends], "o-", color=color, label="_")
            rates.fill_between(RATES[loss], [end.low for end in ends], [end.high for end in ends],
                               color=color, alpha=0.16, linewidth=0)  # fmt: skip
            variant = label(loss, start, best_rate(results, loss, start))
            draw_curve(accuracy, results, variant, "test_accuracy", color=color, label="_")
            draw_curve(gradient, results, variant, wrong, color=color, label=loss)
        rates.set_xlabel("learning rate")
        log_axis(rates.xaxis)
        for axes in (rates, accuracy):
            accuracy_axis(axes, 0.0, 0.96)
        gradient.set_ylim(bottom=0.0)
        gradient.set_xlabel("epochs" if start == "Glorot" else "probability S of the true class")
        accuracy.set_xlabel("epochs")
        titles = ("final test accuracy", "test accuracy at the best rate",
                  "‖∂E/∂z‖ of misclassified images" if start == "Glorot"
                  else "‖∂E/∂z‖ before training")  # fmt: skip
        for axes, title in zip((rates, accuracy, gradient), titles, strict=True):
            axes.set_title(title, loc="left")
    outer_labels(panels, [f"first weights {start}" for start in STARTS])
    name_lines(*panels[:, 2])


def finding(results: Results) -> Finding:
    """Compare the losses' accuracy, and the effect of the factor S(1 − S) on the gradients."""
    header = [
        "loss, first weights", "best rate", "accuracy", f"epochs to {100 * WANTED:g} %",
        "S(1 − S) where wrong", "‖∂E/∂z‖ where wrong, first", "last",
    ]  # fmt: skip
    rows, edges = [], []
    for start in STARTS:
        for loss in LOSSES:
            rate = best_rate(results, loss, start)
            variant = label(loss, start, rate)
            if rate in (RATES[loss][0], RATES[loss][-1]):
                edges.append(f"{loss}, {start}")
            rows.append(
                [
                    f"{loss}, {start}",
                    f"{rate:g}",
                    f"{Spread.of(_accuracy(results, variant)):.1%}",
                    f"{Spread.of(results.first(variant, 'test_accuracy', at_least=WANTED)):.0f}",
                    f"{Spread.of(_first(results, variant, 'wrong_factor')):.2g}",
                    f"{Spread.of(_first(results, variant, 'wrong_gradient')):.2g}",
                    f"{Spread.of(results.last(variant, 'wrong_gradient')):.2g}",
                ]
            )
    grids = "; ".join(f"{loss}: {', '.join(f'{r:g}' for r in RATES[loss])}" for loss in LOSSES)
    edge = (
        f"The best rate is the lowest or highest tried for {'; '.join(edges)}."
        if edges
        else "No best rate is the lowest or highest tried."
    )
    low, medium, high = (ratio for _, ratio in _ratios(results))
    gradients = "; ".join(f"{ratio:.2g} where S = {s:.2g}" for s, ratio in _ratios(results))
    text = (
        f"The text's perceptron ({'-'.join(map(str, SIZES))}, sigmoids), each loss at the rate "
        f"with the highest median test accuracy after {EPOCHS} epochs ({grids}). {edge}\n\n"
        f"{markdown_table(header, rows)}\n\n"
        "Before training, with weights from N(0, 1), ‖∂E/∂z‖ of the squared error over that of "
        f"cross-entropy, by the probability S of the true class: {gradients}.\n\n"
        f"Cross-entropy's lead in test accuracy, in points: {_leads(results)}."
    )
    verdict = Verdict.of(
        "with the squared error each step carries the factor S(1 − S)",
        max(low.high, high.high) < medium.low,
        f"‖∂E/∂z‖ over that of cross-entropy: {gradients}",
    )
    return Finding(text, (verdict,))


def _leads(results: Results) -> str:
    """Compare the accuracy at the shared rate, and at each loss's best rate."""
    said = []
    for start in STARTS:
        shared, best = (
            _accuracy(results, label(ENTROPY, start, rates[ENTROPY]))
            - _accuracy(results, label(SQUARED, start, rates[SQUARED]))
            for rates in (
                dict.fromkeys(LOSSES, RATE),
                {loss: best_rate(results, loss, start) for loss in LOSSES},
            )
        )
        said.append(
            f"from {start} {Spread.of(100 * shared):+.1f} at the rate {RATE:g} for both, "
            f"{Spread.of(100 * best):+.1f} at the best rates"
        )
    return "; ".join(said)


def _ratios(results: Results) -> list[tuple[float, Spread]]:
    """Compare the gradients before training, where S of the true class is low, medium and high."""
    squared, entropy = (
        results.curve(label(loss, "N(0, 1)", RATE), "gradient_by_truth") for loss in LOSSES
    )
    ratios = squared.values / entropy.values
    columns = (0, len(squared.steps) // 2, -1)
    return [(float(squared.steps[k]), Spread.of(ratios[:, k])) for k in columns]


def best_rate(results: Results, loss: str, start: str) -> float:
    """Return the rate with the highest final median accuracy."""
    return max(
        RATES[loss],
        key=lambda rate: float(np.median(_accuracy(results, label(loss, start, rate)))),
    )


def label(loss: str, start: str, rate: float) -> str:
    """Return the label of a variant."""
    return f"{loss}, {start}, rate {rate:g}"


def _accuracy(results: Results, variant: str) -> Numbers:
    return results.last(variant, "test_accuracy")


def _first(results: Results, variant: str, measure: str) -> Numbers:
    values: Numbers = results.curve(variant, measure).values[:, 0]
    return values


experiment = Experiment(
    name="losses",
    question="How does squared error on the softmax compare with cross-entropy?",
    claim="“(27) Δw_ij = ∂E_i/∂w_ij = (Y_i − y_i) · S(z_i)(1 − S(z_i)) · x_j”: the text takes the "
    "squared error (eq 17, 18), so that each step carries the factor S(1 − S).",
    variants={
        label(loss, start, rate): {"loss": loss, "start": start, "rate": rate}
        for loss in LOSSES
        for start in STARTS
        for rate in RATES[loss]
    },
    run=run,
    figure=figure,
    finding=finding,
)
