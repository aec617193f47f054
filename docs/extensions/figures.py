"""The figure of each example, drawn from what its `main` returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import tinygrad_cnn as tg

Values = Mapping[str, Any]
"""The global names of an example."""
Figure = Callable[[Any, Values], object]
"""A function that draws what `main` returned; it may use the example's own functions."""


def axes(x: str, y: str) -> Axes:
    """Return new axes with labels."""
    _, drawn = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    drawn.spines[["top", "right"]].set_visible(False)
    drawn.set(xlabel=x, ylabel=y)
    return drawn


def curve(values: Sequence[float], x: str = "step", y: str = "loss") -> Axes:
    """Draw values one after the other; of many, also their running mean."""
    drawn = axes(x, y)
    steps = np.arange(1, len(values) + 1)
    if len(values) < 60:
        drawn.plot(steps, values, marker="o")
    else:
        width = len(values) // 20
        drawn.plot(steps, values, alpha=0.3)
        smooth = np.convolve(values, np.ones(width) / width, "valid")
        drawn.plot(steps[width - 1 :], smooth, color="C0")
    return drawn


def curves(named: Mapping[str, Sequence[float]], x: str = "step", y: str = "loss") -> None:
    """Draw several series of values, with a legend."""
    drawn = axes(x, y)
    for name, values in named.items():
        drawn.plot(np.arange(1, len(values) + 1), values, label=name)
    drawn.legend(frameon=False)


def images(named: Mapping[str, Any], columns: int = 4) -> None:
    """Draw images (H, W) or (H, W, 3) side by side; signed values in blue and red."""
    columns = min(columns, len(named))
    rows = -(-len(named) // columns)
    size = (1.9 * columns, 2.1 * rows)
    _, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for place in grid.flat:
        place.set_axis_off()
    for place, (name, values) in zip(grid.flat, named.items(), strict=False):
        signed = values.min() < -1e-3
        limit = abs(values).max() if signed else None
        shown = np.clip(values, 0, 1) if values.ndim == 3 else values
        lowest = -limit if limit is not None else None
        place.imshow(shown, cmap="RdBu_r" if signed else "gray", vmin=lowest, vmax=limit)
        place.set_title(name, fontsize=9)


def bars(table: Mapping[str, Mapping[str, float]], y: str) -> None:
    """Draw groups of bars: a color for each row of the table, a place for each column."""
    drawn, width = axes("", y), 0.8 / len(table)
    for k, (name, row) in enumerate(table.items()):
        drawn.bar(np.arange(len(row)) + k * width, list(row.values()), width, label=name)
        drawn.set_xticks(np.arange(len(row)) + 0.4 - width / 2, list(row))
    if len(table) > 1:
        drawn.legend(frameon=False)


def numbered(stack: Any) -> dict[str, Any]:
    """Name the images of an array (N, H, W) by their numbers."""
    return {str(k + 1): image for k, image in enumerate(stack)}


def moons(results: Any, values: Values) -> None:
    """Draw the points of both moons, and what the network says of the plane."""
    _, _, model = values["separate"](100)
    points, classes = values["moons"](100, np.random.default_rng(0))
    x, y = np.meshgrid(np.linspace(-1.5, 2.5, 160), np.linspace(-1.0, 1.5, 100))
    with tg.no_grad():
        scores = model(np.stack([x.ravel(), y.ravel()], axis=1).astype("f4")).numpy()
    drawn = axes("x₁", "x₂")
    drawn.contourf(x, y, scores.reshape(x.shape), 20, cmap="RdBu_r", vmin=-3, vmax=3)
    drawn.scatter(points[:, 0], points[:, 1], c=classes, cmap="RdBu_r", edgecolor="black")


def swish(results: Any, values: Values) -> None:
    """Draw the new op, and its first two derivatives."""
    x = np.linspace(-5, 5, 201)
    drawn = axes("x", "")
    drawn.plot(x, values["swish"](x), label="swish(x)")
    drawn.plot(x, np.diag(tg.jacobian(values["swish"])(x)), label="derivative")
    second = tg.hessian(lambda x: values["swish"](x).sum())(x)
    drawn.plot(x, np.diag(second), label="second derivative")
    drawn.legend(frameon=False)


def gradient_norms(results: Any, values: Values) -> None:
    """Draw the norm of the gradient at each layer, of both networks."""
    drawn = axes("layer", "norm of the gradient")
    for activation, (table, _) in results.items():
        drawn.semilogy(range(1, len(table) + 1), [row[1] for row in table], "o-", label=activation)
    drawn.legend(frameon=False)


def both_moments(results: Any, values: Values) -> None:
    """Draw the error and the probability of the label, step by step."""
    errors, probabilities = np.array(results[1]).T
    curves({"error": errors, "probability of the label": probabilities}, y="")


def recurrent(results: Any, values: Values) -> None:
    """Draw the accuracy on trees of other sizes."""
    bars({"": {f"{n} leaves": right for n, (right,) in results["parity"].items()}}, "accuracy")


def first_weights(model: Any, values: Values) -> None:
    """Draw the weights of the first hidden units as images."""
    images(numbered(model[1].weight.numpy()[:16].reshape(16, 28, 28)), columns=8)


def errors(results: Any, values: Values) -> None:
    """Draw the relative errors of all gradients."""
    drawn = axes("", "relative error")
    worst = {name: max(row) for name, row in results.items()}
    drawn.bar(list(worst), list(worst.values()))
    drawn.set_yscale("log")
    drawn.tick_params(axis="x", rotation=20)


FIGURES: dict[str, Figure] = {
    "adversarial_attack": lambda results, _: bars(results, "accuracy"),
    "control_flow": recurrent,
    "convnext": lambda results, _: curve(results[0]),
    "dcgan": lambda results, _: images(numbered(results[2])),
    "digit_vae": lambda results, _: images(numbered(results[1])),
    "fast_style_transfer": lambda results, _: curve(results[0]),
    "image_processing": lambda results, _: images(results),
    "layers_by_hand": errors,
    "lenet_imperative": lambda results, _: curve(results[0], "epoch"),
    "moons": moons,
    "neural_style": lambda results, _: images({"stylized": results[0][0].transpose(1, 2, 0)}),
    "new_op": swish,
    "nielsen_network": lambda results, _: curve(results[0], "epoch", "right of 2,000"),
    "numpy_convnet": lambda results, _: curve(results[0], "epoch"),
    "own_losses": lambda results, _: bars(
        {"before": {"Dice loss": results[0][0]}, "after": {"Dice loss": results[0][1]}}, ""
    ),
    "perceptron_step_by_step": both_moments,
    "resnet_shapes": lambda results, _: curve(results[0], "epoch"),
    "resumable_loop": first_weights,
    "saliency_maps": lambda results, _: images(results[0], columns=5),
    "softmax_from_scratch": lambda results, _: curves(
        {name: history for name, (history, _) in results.items()}, "epoch"
    ),
    "spatial_transformer": lambda results, _: curve(results[0]),
    "super_resolution": lambda results, _: curve(results[0]),
    "text_cnn": lambda results, _: curves({name: row[0] for name, row in results.items()}),
    "training_loop_by_hand": lambda results, _: curve(results[0], "epoch"),
    "triplet_embedding": lambda results, _: curve(results[0]),
    "unet_segmentation": lambda results, _: curve(results[0]),
    "vanishing_gradient": gradient_norms,
    "wgan_gp": lambda results, _: curve(results[0], y="distance of both distributions"),
}
"""The functions that draw, by the name of the example."""
