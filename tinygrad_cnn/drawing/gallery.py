"""The gallery of the documentation: networks of every kind, as `python -m` draws them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import tinygrad_cnn as tg
from tinygrad_cnn import nn
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.drawing.drawing import Drawing
from tinygrad_cnn.drawing.style import Style

__all__ = ["ACROSS", "GALLERY"]

_SLIDE, ACROSS = Style(page="slide"), Style(page="slide", rankdir="LR")


class RecurrentCell(nn.Module):
    """A time step of a recurrent network: h ← tanh(W x + U h)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.of_input = nn.Linear(8, 16, rng=rng)
        self.of_state = nn.Linear(16, 16, rng=rng)

    def forward(self, x: tg.Tensor, state: tg.Tensor) -> tg.Tensor:
        return tg.tanh(self.of_input(x) + self.of_state(state))


class RecurrentNetwork(nn.Module):
    """A recurrent network that classifies a sequence by its last state."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.cell = RecurrentCell(rng)
        self.out = nn.Linear(16, 4, rng=rng)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        state = tg.Tensor(np.zeros((x.shape[0], 16), "f4"), name="state")
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.out(state)


class ConvNeXtBlock(nn.Module):
    """A block of ConvNeXt (Liu et al., 2022): 7×7 depthwise, norm, a wide layer and back."""

    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels, rng=rng)
        self.norm: nn.Module = nn.GroupNorm(1, channels)
        self.wide = nn.Conv2d(channels, 4 * channels, 1, rng=rng)
        self.narrow = nn.Conv2d(4 * channels, channels, 1, rng=rng)
        self.scale = nn.Parameter(np.full((channels, 1, 1), 1e-6, "f4"))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        y: tg.Tensor = self.norm(self.depthwise(x))
        return x + self.scale * self.narrow(tg.gelu(self.wide(y)))


def resnet20() -> Drawing:
    """Draw ResNet-20, block by block."""
    model = nn.models.resnet20(rng=_rng())
    return tg.draw(model(_images(2, 32)), depth=2, names=model, style=ACROSS, title="ResNet-20")


def mobilenet() -> Drawing:
    """Draw MobileNetV2, its blocks folded."""
    model = nn.models.MobileNetV2(10, stem="small", rng=_rng())
    return tg.draw(model(_images(2, 32)), depth=2, names=model, title="MobileNetV2")


def gan() -> Drawing:
    """Draw the generator's loss of a GAN: through the discriminator, back into the generator."""
    rng = _rng()
    generator = nn.models.DCGANGenerator(64, width=8, image_size=32, rng=rng)
    discriminator = nn.models.DCGANDiscriminator(width=8, image_size=32, rng=rng)
    noise = tg.Tensor(rng.standard_normal((4, 64, 1, 1)).astype("f4"), name="noise")
    with tg.scope("generator"):
        images = generator(noise)
    with tg.scope("discriminator"):
        scores = discriminator(images)
    loss = tg.mse(scores, np.ones(scores.shape, "f4"))  # of a least-squares GAN
    title = "A GAN's generator, judged by its discriminator"
    return tg.draw(loss, depth=2, title=title)


def recurrent() -> Drawing:
    """Draw thirty time steps of a recurrent network, as one."""
    model = RecurrentNetwork(_rng())
    x = tg.Tensor(_rng().standard_normal((2, 30, 8)).astype("f4"), requires_grad=True, name="x")
    return tg.draw(model(x), depth=1, names=model, style=ACROSS, title="A recurrent network")


def convnext() -> Drawing:
    """Draw a block of ConvNeXt, call by call."""
    model = ConvNeXtBlock(16, _rng())
    x = tg.Tensor(_images(2, 14, channels=16), name="x")
    return tg.draw(model(x), names=model, style=_SLIDE, title="A ConvNeXt block")


def own_op() -> Drawing:
    """Draw an op of one's own, with its formula and derivative, forward and backward."""

    @tg.op(formula="x·exp(−x²)", elementwise=True)
    def ricker(x: Array) -> Array:
        return x * np.exp(-(x * x))

    @ricker.derivative("x", formula="g·(1 − 2x²)·exp(−x²)")
    def _(g: Array, *, x: Array) -> Array:
        return g * (1.0 - 2.0 * x * x) * tg.exp(-(x * x))

    del tg.OPS["ricker"]  # an op of this picture only
    x = tg.Tensor([-1.0, 0.0, 0.5], requires_grad=True, name="x")
    with tg.trace() as trace:
        ricker(x).sum().backward()
    return trace.draw(values=True, title="An op of one's own")


def not_a_number() -> Drawing:
    """Draw a network whose loss is NaN: the call that made it is marked."""
    rng = _rng()
    model = nn.Sequential(nn.Linear(8, 16, rng=rng), nn.ReLU(), nn.Linear(16, 4, rng=rng))
    x = rng.standard_normal((4, 8)).astype("f4")
    with tg.trace() as trace, np.errstate(all="ignore"):
        share = tg.softmax(model(x) * 200.0)
        entropy = -(share * tg.log(share)).sum()  # 0 · ln 0
        entropy.backward()
    return trace.draw(
        depth=1, heat="gradient", names=model, style=ACROSS, title="Where a NaN began"
    )


GALLERY: dict[str, Callable[[], Drawing]] = {
    "gallery-resnet20": resnet20,
    "gallery-mobilenet": mobilenet,
    "gallery-gan": gan,
    "gallery-recurrent": recurrent,
    "gallery-convnext": convnext,
    "gallery-own-op": own_op,
    "gallery-nan": not_a_number,
}
"""Functions that draw the gallery's pictures, by file name."""


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _images(count: int, size: int, channels: int = 3) -> NDArray[np.float32]:
    return _rng().standard_normal((count, channels, size, size)).astype("f4")
