"""ConvNeXt: a convnet of large depthwise kernels, layer normalization, GELU and layer scale.

A block is a 7 × 7 depthwise convolution, a normalization of the channels of each pixel, two linear
layers that widen and narrow them, a learned scale that starts small, and a shortcut whose branch is
skipped at random (Liu et al., 2022). Run it from the repository:

    python examples/convnext.py

It prints the number of parameters, the loss and the accuracy on the shapes: color images of ten
classes, drawn by this package.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of each pixel of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Return the result, of the shape of `x`."""
        return self.norm(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


class Block(nn.Module):
    """The block: x + scale · narrow(GELU(widen(norm(depthwise(x)))))."""

    def __init__(self, channels: int, drop: float, scale: float = 1e-6) -> None:
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.widen = nn.Linear(channels, 4 * channels)
        self.narrow = nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(np.full(channels, scale, "f4"))
        self.drop = drop
        self.rng = np.random.default_rng(0)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        """Return the result, of the shape of `x`."""
        y = self.depthwise(x).transpose(0, 2, 3, 1)  # (N, H, W, C): Linear acts on the last axis
        y = self.scale * self.narrow(tg.gelu(self.widen(self.norm(y))))
        if self.training and self.drop > 0:  # stochastic depth: whole images skip the branch
            kept = self.rng.random((len(x), 1, 1, 1)) >= self.drop
            y = y * (kept / (1 - self.drop)).astype("f4")
        return x + y.transpose(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """A stem of patches, stages of blocks with downsampling between them, and a linear layer."""

    def __init__(
        self, depths: tuple[int, ...] = (1, 1, 2), widths: tuple[int, ...] = (16, 32, 64),
        classes: int = 10, drop: float = 0.05, scale: float = 0.1,
    ) -> None:  # fmt: skip
        stages: list[nn.Module] = [nn.Conv2d(3, widths[0], 2, stride=2), ChannelNorm(widths[0])]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if stage > 0:
                before = widths[stage - 1]
                stages += [ChannelNorm(before), nn.Conv2d(before, width, 2, stride=2)]
            stages += [Block(width, drop, scale) for _ in range(depth)]
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: np.ndarray) -> tg.Tensor:
        """Return logits, (N, classes), for images, (N, 3, H, W)."""
        return self.head(self.norm(tg.global_avgpool(self.stages(x))))


def centered(images: np.ndarray) -> np.ndarray:
    """Return pixels as values from −1 to 1."""
    return images / np.float32(127.5) - 1


def main(steps: int = 300, batch_size: int = 32) -> tuple[list[float], float]:
    """Return the losses, and the accuracy on test images."""
    rng = tg.manual_seed(0)
    data = tg.data.load("shapes")
    model = ConvNeXt()
    print(f"{model.summary().parameters} parameters")
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = optim.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    losses: list[float] = []
    for step in range(steps):
        batch = rng.integers(len(data.train), size=batch_size)
        logits = model(centered(data.train.images[batch]))
        loss = tg.cross_entropy(logits, data.train.labels[batch], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1}   loss {np.mean(losses[-50:]):.3f}")
    model.eval()
    images, labels = centered(data.test.images[:500]), data.test.labels[:500]
    with tg.no_grad():
        accuracy = float((model(images).numpy().argmax(axis=1) == labels).mean())
    print(f"accuracy {accuracy:.1%}")
    return losses, accuracy


if __name__ == "__main__":
    main()
