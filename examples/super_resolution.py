"""Super-resolution: a network doubles the height and width of images by sub-pixel convolution.

It computes in the small image; its last convolution returns four channels, which `pixel_shuffle`
lays out as the pixels of an image twice as large (Shi et al., 2016). Bilinear interpolation is the
comparison, and the network learns what to add to it. Run it from the repository:

    python examples/super_resolution.py

It prints the peak signal-to-noise ratio (PSNR) on new digits of both.
"""

from __future__ import annotations

import math

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


class SubPixelNet(nn.Module):
    """Three convolutions and a pixel shuffle, added to the interpolated image."""

    def __init__(self, scale: int = 2, width: int = 16) -> None:
        self.scale = scale
        self.conv1 = nn.Conv2d(1, width, kernel_size=5, padding=2)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(width, scale**2, kernel_size=3, padding=1, init=nn.init.zeros)

    def forward(self, x: np.ndarray) -> tg.Tensor:
        """Return images (N, 1, 2·H, 2·W) for images (N, 1, H, W)."""
        y = tg.relu(self.conv1(x))
        y = tg.relu(self.conv2(y))
        details = tg.pixel_shuffle(self.conv3(y), self.scale)  # (N, 4, H, W) → (N, 1, 2·H, 2·W)
        return details + bilinear(x, self.scale)


def bilinear(x: np.ndarray, scale: int) -> np.ndarray:
    """Return interpolated images."""
    return tg.interpolate(x, scale_factor=scale, mode="bilinear")


def psnr(prediction: np.ndarray, target: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio in decibels, for values from 0 to 1."""
    return -10 * math.log10(float(np.mean((prediction - target) ** 2)))


def main(steps: int = 200) -> tuple[list[float], float, float]:
    """Return the losses, and the PSNR on test images by interpolation and by the network."""
    rng = tg.manual_seed(0)
    data = tg.data.digits()
    large = data.train.images / np.float32(255)
    small = tg.avgpool(large, 2)
    model = SubPixelNet()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    losses: list[float] = []
    for step in range(steps):
        batch = rng.integers(len(large), size=16)
        loss = tg.mse(model(small[batch]), large[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1}   loss {np.mean(losses[-50:]):.4f}")
    target = data.test.images[:500] / np.float32(255)
    source = tg.avgpool(target, 2)
    with tg.no_grad():
        by_network = psnr(model(source).numpy(), target)
    by_interpolation = psnr(bilinear(source, 2), target)
    print(f"PSNR: {by_interpolation:.1f} dB by interpolation, {by_network:.1f} dB by the network")
    return losses, by_interpolation, by_network


if __name__ == "__main__":
    main()
