"""The documentation's pictures: ``python -m tinygrad_cnn.drawing docs/pictures``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.drawing.drawing import Drawing
from tinygrad_cnn.drawing.gallery import GALLERY
from tinygrad_cnn.drawing.lessons import SLIDES, fan_out, perceptron
from tinygrad_cnn.drawing.step_drawing import StepDrawing
from tinygrad_cnn.drawing.text import duration


def lenet() -> Drawing:
    """Draw LeNet-5, folded to its layers."""
    model = _lenet("relu")
    return tg.draw(_loss(model), depth=1, names=model, title="LeNet-5")


def lenet_gradients() -> Drawing:
    """Draw LeNet-5, each call and each parameter, with the gradients of a batch."""
    model = _lenet("relu")
    return tg.draw(_loss(model), gradients=True, names=model)


def lenet_heat() -> Drawing:
    """Draw LeNet-5 with sigmoids, colored by gradient: it vanishes toward the input."""
    model = _lenet("sigmoid")
    title = "LeNet-5 with sigmoids"
    return tg.draw(_loss(model), depth=1, heat="gradient", names=model, title=title)


def deep(activation: str) -> Drawing:
    """Draw ten hidden layers, colored by gradient."""
    model = nn.MLP((784, *[32] * 10, 10), activation, rng=np.random.default_rng(0))
    title = f"ten layers of {activation}"
    return tg.draw(_loss(model), depth=1, heat="gradient", names=model, title=title)


def repeats() -> Drawing:
    """Draw twelve equal blocks, shown once."""
    rng = np.random.default_rng(0)
    blocks = [nn.Sequential(nn.Linear(32, 32, rng=rng), nn.ReLU()) for _ in range(12)]
    model = nn.Sequential(*blocks, nn.Linear(32, 10, rng=rng))
    x = tg.Tensor(rng.standard_normal((8, 32)).astype("f4"), name="x")
    return tg.draw(model(x), depth=1, names=model)


def unet() -> Drawing:
    """Draw a U-Net, folded to its layers, as a U."""
    model = nn.models.UNet(rng=np.random.default_rng(0))
    return tg.draw(model(np.zeros((1, 3, 64, 64), "f4")), depth=1, names=model)


def failed() -> Drawing:
    """Draw a forward pass that stopped at an error."""
    model = _lenet("relu")
    try:
        with tg.trace() as trace:
            model(np.zeros((8, 1, 20, 28), "f4"))  # the images are cut off
    except ValueError:
        return trace.draw(depth=1)
    raise AssertionError("the model accepted images of the wrong size")


PICTURES: dict[str, Callable[[], Drawing]] = {
    "fan-out": fan_out,
    "perceptron": perceptron,
    "lenet5": lenet,
    "lenet5-gradients": lenet_gradients,
    "lenet5-heat": lenet_heat,
    "deep-sigmoid": lambda: deep("sigmoid"),
    "deep-relu": lambda: deep("relu"),
    "repeats": repeats,
    "unet": unet,
    "failed": failed,
}
"""Functions that draw the pictures, by file name."""


def compiled_step() -> StepDrawing:
    """Draw a captured training step of LeNet-5, and the memory that its values share."""
    model = _lenet("relu")
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

    @tg.compile
    def step(images: tg.Tensor, labels: NDArray[np.int64]) -> tg.Tensor:
        loss: tg.Tensor = tg.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step(tg.Tensor(np.zeros((64, 1, 28, 28), "f4")), np.zeros(64, np.int64))
    return tg.draw(step, title="A training step of LeNet-5, 64 images")


STEPS: dict[str, Callable[[], StepDrawing]] = {"compiled-step": compiled_step}
"""Functions that draw captured steps, by file name."""


def main(folder: Path) -> None:
    """Write all pictures to a folder as SVG, and print how long the layout of each takes."""
    for name, picture in (PICTURES | GALLERY | SLIDES | STEPS).items():
        drawing, started = picture(), perf_counter()
        print(drawing.render(folder / f"{name}.svg"), duration(perf_counter() - started))


def _lenet(activation: str) -> nn.LeNet5:
    return nn.LeNet5(activation=activation, rng=np.random.default_rng(0))


def _loss(model: nn.Module) -> tg.Tensor:
    """Return the loss on eight of the embedded digits."""
    digits = tg.data.digits().train
    images = digits.images[:8].astype(np.float32) / 255
    loss: tg.Tensor = tg.cross_entropy(model(images), digits.labels[:8])
    return loss


if __name__ == "__main__":
    main(Path(*sys.argv[1:2]))
