"""Draws the pictures of the chapters on convolution and pooling in docs/derivations.

PYTHONPATH=tests python -m support.chapter_pictures docs/pictures
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import cbook, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import tinygrad_cnn as tg
from tinygrad_cnn.train.plots import STYLE

BLUE, ORANGE, GRAY = "#2b6777", "#c1440e", "#5c5c5c"
SETTINGS = {**STYLE, "font.size": 9, "svg.hashsalt": "chapters"}


def grid(axes: Axes, values: Any, title: str, *, signed: bool = False) -> None:
    """Draw a matrix as an image with its numbers."""
    values = np.asarray(values)
    limit = np.abs(values).max() or 1.0
    colors = ("PuOr_r", -1.6 * limit, 1.6 * limit) if signed else ("gray", -0.6, 1.0)
    image = axes.imshow(values, cmap=colors[0], vmin=colors[1], vmax=colors[2])
    for (i, j), value in np.ndenumerate(values):
        red, green, blue, _ = image.to_rgba(value)
        dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.55
        axes.text(j, i, f"{value:.3g}".replace("-", "−"), ha="center", va="center",
                  color="white" if dark else "black")  # fmt: skip
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xticks(np.arange(values.shape[1] + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(values.shape[0] + 1) - 0.5, minor=True)
    axes.grid(visible=False, which="major")
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0, labelbottom=False, labelleft=False)
    axes.spines[:].set_visible(False)


def frame(axes: Axes, row: int, column: int, size: int, color: str = ORANGE) -> None:
    """Draw a frame around a window."""
    place = column - 0.5, row - 0.5
    axes.add_patch(Rectangle(place, size, size, fill=False, edgecolor=color, linewidth=2.5))


def between(axes: Axes, text: str) -> None:
    """Write a sign between two grids."""
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=14, color=GRAY)


def window() -> Figure:
    """The window of one output, the kernel, and the result."""
    x = np.zeros((5, 5))
    x[1:4, 1:4] = 1.0
    x[2, 2] = 0.5
    w = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
    z = tg.conv2d(x[None, None], w[None, None], np.array([0.5]))[0, 0]
    figure = Figure(figsize=(7.0, 2.5), layout="constrained")
    axes = figure.subplots(1, 5, width_ratios=(5, 0.7, 3, 0.7, 3))
    grid(axes[0], x, "image x")
    frame(axes[0], 1, 2, 3)
    between(axes[1], "·")
    grid(axes[2], w, "kernel w, bias 0.5", signed=True)
    between(axes[3], "=")
    grid(axes[4], z, "result z", signed=True)
    frame(axes[4], 1, 2, 1)
    return figure


def input_gradient() -> Figure:
    """How one output's gradient goes to its window, and the sum over all outputs."""
    x = np.array([[1.0, 0, 2, 1], [0, 3, 1, 0], [2, 1, 0, 1], [1, 0, 1, 2]])
    w = np.array([[1.0, -1.0], [0.5, 2.0]])
    y = np.array([[1.0, 0, 2], [3, 1, 0], [0, 1, 1]])
    g = tg.conv2d(x[None, None], w[None, None], np.array([0.25]))[0, 0] - y
    one = np.zeros_like(g)
    one[1, 2] = g[1, 2]
    figure = Figure(figsize=(7.0, 2.2), layout="constrained")
    axes = figure.subplots(1, 5, width_ratios=(3, 0.7, 4, 0.7, 4))
    grid(axes[0], g, "g", signed=True)
    frame(axes[0], 1, 2, 1)
    between(axes[1], "→")
    shares = (tg.conv2d_input_gradient(each[None, None], w[None, None], (1, 1, 4, 4))[0, 0]
              for each in (one, g))  # fmt: skip
    grid(axes[2], next(shares), "the share of one output", signed=True)
    frame(axes[2], 1, 2, 2)
    between(axes[3], "→")
    grid(axes[4], next(shares), "∂E/∂x, all shares", signed=True)
    return figure


def pooling_gradient() -> Figure:
    """The gradient below and above a max pooling and an average pooling."""
    x = np.array([[1.0, 3, 2, 0], [5, 4, 1, 2], [0, 1, 7, 6], [2, 0, 5, 8]])
    g = np.array([[1.0, -2.0], [0.5, 3.0]])
    leaf = tg.Tensor(x[None, None], requires_grad=True)
    figure = Figure(figsize=(7.0, 2.2), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(4, 2, 4, 4))
    grid(axes[0], x / x.max(), "image x", signed=False)
    for text, value in zip(axes[0].texts, x.ravel(), strict=True):
        text.set_text(f"{value:g}")
    for row, column in np.ndindex(2, 2):
        frame(axes[0], 2 * row, 2 * column, 2, BLUE)
    grid(axes[1], g, "g", signed=True)
    for panel, pool, name in ((axes[2], tg.maxpool, "maximum"), (axes[3], tg.avgpool, "mean")):
        (found,) = tg.grad(pool(leaf, 2), [leaf], gradient=g[None, None])
        grid(panel, found[0, 0], f"∂E/∂x, {name}", signed=True)
    return figure


def kernels() -> Figure:
    """A photograph under chosen kernels, and under those of a trained first layer."""
    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as picture:
        gray = picture.convert("L").crop((68, 8, 452, 392)).resize((192, 192))
        x = np.asarray(gray, np.float32) / 255
    b = np.array([1, 8, 28, 56, 70, 56, 28, 8, 1]) / 256
    sobel = np.outer([1, 2, 1], [-1, 0, 1])
    sharpen = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])

    def filtered(kernel: Any) -> Any:
        return tg.conv2d(x[None, None], np.asarray(kernel, "f4")[None, None])[0, 0]

    across, down = filtered(sobel), filtered(sobel.T)
    upper = {
        "photograph": x, "blur": filtered(np.outer(b, b)), "sharpen": filtered(sharpen),
        "edges across": across, "edges down": down, "edge strength": -np.hypot(across, down),
    }  # fmt: skip
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    panels = figure.subplots(3, 6, height_ratios=(4, 1.3, 4))
    for axes in panels.flat:
        axes.set_axis_off()
    for axes, (name, values) in zip(panels[0], upper.items(), strict=True):
        signed = name.startswith("edges")
        limit = float(np.quantile(np.abs(values), 0.99))
        low, high = (-limit, limit if signed else 0.0) if name.startswith("edge") else (0.0, 1.0)
        axes.imshow(values, cmap="PuOr_r" if signed else "gray", vmin=low, vmax=high)
        axes.set_title(name, loc="left", fontsize=9)
    for column, kernel in enumerate(trained_kernels()):
        limit = float(np.abs(kernel).max())
        panels[1, column].imshow(kernel, cmap="PuOr_r", vmin=-limit, vmax=limit)
        values = filtered(kernel)
        limit = float(np.quantile(np.abs(values - values.mean()), 0.99))
        panels[2, column].imshow(values - values.mean(), cmap="PuOr_r", vmin=-limit, vmax=limit)
    panels[1, 0].text(-0.5, 1.15, "six learned kernels, and what they find", fontsize=9,
                      transform=panels[1, 0].transAxes, in_layout=False)  # fmt: skip
    return figure


def trained_kernels() -> Any:
    """Return the kernels of LeNet-5's first layer after one epoch on digits."""
    rng = tg.manual_seed(0)
    model = tg.nn.LeNet5(rng=rng)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = tg.data.DataLoader(tg.data.digits().train, batch_size=64, shuffle=True)
    for images, labels in loader:
        loss = tg.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.conv1.weight.numpy()[:, 0]


def network() -> tg.drawing.Drawing:
    """The graph of the network of page 10, with its gradients."""
    x = np.array([[1.0, 0, 2, 0, 1], [0, 1, 0, 3, 0], [2, 0, 0, 1, 1]])
    w1 = tg.Tensor(np.array([[[[1.0, -1.0], [0.5, 1.0]]]]), requires_grad=True, name="w¹")
    b1 = tg.Tensor(np.array([0.5]), requires_grad=True, name="b¹")
    w2 = tg.Tensor(np.array([[0.4, -0.2], [-0.6, 0.2]]), requires_grad=True, name="w²")
    b2 = tg.Tensor(np.array([0.2, -0.1]), requires_grad=True, name="b²")
    p = tg.maxpool(tg.relu(tg.conv2d(tg.Tensor(x[None, None], name="x"), w1, b1)), 2)
    Y = tg.softmax(tg.linear(p.reshape(1, 2), w2, b2))
    E = tg.squared_error(Y, np.array([[0.0, 1.0]]))
    return tg.draw(E, gradients=True)


def batch_normalization() -> tg.drawing.Drawing:
    """The normalization of page 11, with the gradient of each of its four numbers."""
    z = tg.Tensor(np.array([[1.0], [3.0], [-2.0], [0.5]]), requires_grad=True, name="z")
    gamma = tg.Tensor(np.array([1.5]), requires_grad=True, name="γ")
    beta = tg.Tensor(np.array([0.2]), requires_grad=True, name="β")
    y = tg.Tensor(np.array([[0.0], [1.0], [0.0], [1.0]]), name="y")
    with tg.trace() as trace:
        h = tg.batch_norm(z, gamma, beta)
        error = tg.squared_error(h, y)
        error.backward()
    return trace.draw(values=True, names={"h": h, "E": error})


def main(folder: str) -> None:
    """Write all pictures."""
    path = Path(folder)
    with rc_context(SETTINGS):
        for name, figure in (
            ("convolution-window.svg", window()),
            ("convolution-gradient.svg", input_gradient()),
            ("pooling-gradient.svg", pooling_gradient()),
        ):
            figure.savefig(path / name, metadata={"Date": None})
        kernels().savefig(pixels := BytesIO(), dpi=110)
    with Image.open(pixels) as picture:
        few = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        few.save(path / "kernels.png", optimize=True)
    network().render(path / "pixels-to-loss.svg")
    batch_normalization().render(path / "batch-normalization.svg")


if __name__ == "__main__":
    main(sys.argv[1])
