"""The step-through pages of the lessons: ``python -m tinygrad_cnn.drawing.lessons FOLDER``.

The pictures of their slides are written with those of the documentation.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim
from tinygrad_cnn.drawing.drawing import Drawing
from tinygrad_cnn.drawing.gallery import ACROSS

__all__ = ["LESSON_PAGES", "SLIDES", "main"]

HIDDEN = 6  # sigmoid layers between the image and the classes, enough for the gradient to vanish
TRAINING_STEPS = 60  # of LeNet-5, which then errs on some digits: the page shows one


def fan_out() -> Drawing:
    """Draw x·x + x: three edges leave x, and three gradients come back."""
    x = tg.Tensor(0.5, requires_grad=True, name="x")
    with tg.trace() as trace:
        tg.tanh(x * x + x).backward()
    return trace.draw(values=True)


def perceptron() -> Drawing:
    """Draw the text's perceptron (section 0.3), with all its numbers."""
    x = tg.Tensor(np.array([0.7, -0.6]), name="x")
    w1 = tg.Tensor(np.array([[0.5, -1.2], [0.9, 0.4]]), requires_grad=True, name="w¹")
    b1 = tg.Tensor(np.array([0.3, -0.2]), requires_grad=True, name="b¹")
    w2 = tg.Tensor(np.array([[1.1, -0.7], [0.3, 0.8], [-0.9, 0.6]]), requires_grad=True, name="w²")
    b2 = tg.Tensor(np.array([0.3, -0.2, 0.0]), requires_grad=True, name="b²")
    y = tg.Tensor(np.array([0.0, 0.0, 1.0]), name="y")
    with tg.trace() as trace:
        z1 = tg.linear(x, w1, b1)
        alpha = tg.sigmoid(z1)
        z2 = tg.linear(alpha, w2, b2)
        prediction = tg.softmax(z2)
        error = tg.squared_error(prediction, y)
        error.backward()
    names = {"z¹": z1, "α": alpha, "z²": z2, "Y": prediction, "E": error}
    return trace.draw(values=True, names=names, title="The text's perceptron")


def convolution() -> Drawing:
    """Draw one convolution with the numbers of equations (62) to (69)."""
    image = [[1.0, 0.0, 2.0, 1.0], [0.0, 3.0, 1.0, 0.0], [2.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 2.0]]
    kernel, target = [[1.0, -1.0], [0.5, 2.0]], [[1.0, 0.0, 2.0], [3.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
    x = tg.Tensor(np.array([[image]]), requires_grad=True, name="x")
    w = tg.Tensor(np.array([[kernel]]), requires_grad=True, name="w")
    b = tg.Tensor(np.array([0.25]), requires_grad=True, name="b")
    y = tg.Tensor(np.array([[target]]), name="y")
    with tg.trace() as trace:
        z = tg.conv2d(x, w, b)
        error = tg.squared_error(z, y)
        error.backward()
    return trace.draw(values=True, names={"z": z, "E": error}, title="One convolution")


def small_cnn() -> Drawing:
    """Draw the network of equations (80) to (91), from pixels to the loss."""
    image = [[1.0, 0.0, 2.0, 0.0, 1.0], [0.0, 1.0, 0.0, 3.0, 0.0], [2.0, 0.0, 0.0, 1.0, 1.0]]
    x = tg.Tensor(np.array([[image]]), name="x")
    w1 = tg.Tensor(np.array([[[[1.0, -1.0], [0.5, 1.0]]]]), requires_grad=True, name="w¹")
    b1 = tg.Tensor(np.array([0.5]), requires_grad=True, name="b¹")
    w2 = tg.Tensor(np.array([[0.4, -0.2], [-0.6, 0.2]]), requires_grad=True, name="w²")
    b2 = tg.Tensor(np.array([0.2, -0.1]), requires_grad=True, name="b²")
    y = tg.Tensor(np.array([[0.0, 1.0]]), name="y")
    with tg.trace() as trace:
        z1 = tg.conv2d(x, w1, b1)
        alpha = tg.relu(z1)
        pooled = tg.maxpool(alpha, 2)
        z2 = tg.linear(pooled.reshape(1, 2), w2, b2)
        prediction = tg.softmax(z2)
        error = tg.squared_error(prediction, y)
        error.backward()
    names = {"z¹": z1, "α": alpha, "p": pooled, "z²": z2, "Y": prediction, "E": error}
    return trace.draw(values=True, names=names, title="From pixels to the loss")


def lenet5() -> Drawing:
    """Draw a LeNet-5 after a short training, with a digit that it does not recognize yet."""
    model = nn.LeNet5(rng=np.random.default_rng(0))
    digits = tg.data.digits()
    optimizer = optim.Adam(model.parameters(), lr=0.002)
    pixels = digits.train.images[: TRAINING_STEPS * 64].astype("f4") / 255
    for k in range(0, len(pixels), 64):
        loss = tg.cross_entropy(model(pixels[k : k + 64]), digits.train.labels[k : k + 64])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.zero_grad()
    model.eval()
    images, labels = digits.test.images[:500].astype("f4") / 255, digits.test.labels[:500]
    with tg.no_grad():
        losses = tg.cross_entropy(model(images), labels, reduction="none").numpy()
    hardest = int(losses.argmax())
    with tg.trace() as trace:
        image = tg.Tensor(images[[hardest]], requires_grad=True, name="image")
        tg.cross_entropy(model(image), labels[[hardest]]).backward()
    return trace.draw(names=model, title=f"LeNet-5, and a {labels[hardest]} that it misreads")


def vanishing_gradient() -> Drawing:
    """Draw a network of sigmoids whose gradient vanishes, colored by the gradient's norm."""
    model = nn.MLP((784, *[32] * HIDDEN, 10), "sigmoid", rng=np.random.default_rng(0))
    digits = tg.data.digits().train
    images = digits.images[:8].astype("f4") / 255
    with tg.trace() as trace:
        tg.cross_entropy(model(images), digits.labels[:8]).backward()
    title = f"{HIDDEN} layers of sigmoids: the gradient vanishes"
    return trace.draw(names=model, heat="gradient", title=title)


LESSON_PAGES: dict[str, Callable[[], Drawing]] = {
    "perceptron": perceptron,
    "fan-out": fan_out,
    "convolution": convolution,
    "small-cnn": small_cnn,
    "lenet5": lenet5,
    "vanishing-gradient": vanishing_gradient,
}
"""Functions that draw the computations of the pages, by file name."""

SLIDES: dict[str, Callable[[], Drawing]] = {
    "slide-perceptron": lambda: replace(perceptron(), style=ACROSS),
    "slide-fan-out": lambda: replace(fan_out(), style=ACROSS),
    "slide-vanishing": lambda: replace(vanishing_gradient(), style=ACROSS, depth=1),
}
"""Functions that draw the pictures of the slides, from left to right, by file name."""


def main(folder: Path) -> list[Path]:
    """Write each page to a folder, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return [draw().render(folder / f"{name}.html") for name, draw in LESSON_PAGES.items()]


if __name__ == "__main__":
    for path in main(Path(*sys.argv[1:2])):
        print(path)
