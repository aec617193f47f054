"""Fast style transfer: a network learns to give any picture the style of one image in one pass.

Its parts are those of Johnson, Alahi and Fei-Fei (2016): reflection padding, instance
normalization, a strided convolution down, residual blocks, and an upsampling with a convolution up.
It is trained with the content and Gram losses of neural_style.py. Run it from the repository:

    python examples/fast_style_transfer.py

It prints the loss as training goes on, and the style loss of pictures that it never saw.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


def convolution(channels: int, filters: int, size: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution whose border mirrors the image, and its instance normalization."""
    return [
        nn.ReflectionPad2d(size // 2),
        nn.Conv2d(channels, filters, size, stride, bias=False),
        nn.InstanceNorm2d(filters, affine=True),
    ]


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, width: int) -> None:
        self.body = nn.Sequential(
            *convolution(width, width, 3), nn.ReLU(), *convolution(width, width, 3)
        )

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Return the result, of the shape of `x`."""
        return x + self.body(x)


def transformer(width: int = 8) -> nn.Sequential:
    """Return the network from images to images: (N, 3, H, W) with even H and W."""
    return nn.Sequential(
        *convolution(3, width, 5), nn.ReLU(),
        *convolution(width, 2 * width, 3, stride=2), nn.ReLU(),
        Residual(2 * width),
        nn.Upsample(scale_factor=2, mode="nearest"),
        *convolution(2 * width, width, 3), nn.ReLU(),
        nn.ReflectionPad2d(2), nn.Conv2d(width, 3, 5), nn.Sigmoid(),
    )  # fmt: skip


def gram(maps: tg.Tensor) -> tg.Tensor:
    """Return the mean products of each two feature maps: (N, C, H, W) → (N, C, C)."""
    n, c, h, w = maps.shape
    rows = maps.reshape(n, c, h * w)
    return rows @ rows.transpose(0, 2, 1) / (h * w)


def style_loss(maps: tg.Tensor, style: tg.Tensor) -> tg.Tensor:
    """Return the mean squared difference of Gram matrices, `style` being that of one image."""
    return tg.square(gram(maps) - style).mean()


def stripes(size: int) -> np.ndarray:
    """Return diagonal stripes in blue and yellow, (1, 3, size, size)."""
    rows, columns = np.indices((size, size))
    wave = 0.5 + 0.5 * np.sin((rows + columns) * 2 * np.pi / 8)
    return np.stack([wave, wave, 1 - wave])[None].astype("f4")


def main(steps: int = 150, weight: float = 10.0) -> tuple[list[float], float, float]:
    """Return the losses, and the style loss of new pictures: as they are, and transformed."""
    rng = tg.manual_seed(0)
    pictures = tg.data.load("shapes")
    images = pictures.train.images / np.float32(255)
    features = nn.Sequential(nn.Conv2d(3, 32, 5), nn.ReLU()).requires_grad_(False)
    style = gram(features(stripes(32)))
    model = transformer()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    losses: list[float] = []
    for step in range(steps):
        x = images[rng.integers(len(images), size=4)]
        maps = features(model(x))
        loss = tg.mse(maps, features(x)) + weight * style_loss(maps, style)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 25 == 24:
            print(f"step {step + 1}   loss {np.mean(losses[-25:]):.3f}")
    new = pictures.test.images[:20] / np.float32(255)
    with tg.no_grad():
        before = style_loss(features(new), style).item()
        after = style_loss(features(model(new)), style).item()
    print(f"style loss of new pictures: {before:.4f} as they are, {after:.4f} transformed")
    return losses, before, after


if __name__ == "__main__":
    main()
