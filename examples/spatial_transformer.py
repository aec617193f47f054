"""A spatial transformer: a network that learns to turn its input upright before it classifies it.

A small network predicts an affine map of each image; `affine_grid` and `grid_sample` read the image
through it, so that the gradient of the classification reaches the map (Jaderberg et al., 2015). The
digits are rotated by up to 60 degrees. Run it from the repository:

    python examples/spatial_transformer.py

It prints the loss, the accuracy on rotated test digits, and how far the angles of the digits differ
before and after the transformer, as the standard deviation in degrees.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


class SpatialTransformer(nn.Module):
    """A localization network, a sampler, and a convnet that classifies the sampled images."""

    def __init__(self) -> None:
        self.localization = nn.Sequential(
            nn.AvgPool2d(2), nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(8 * 5 * 5, 32), nn.ReLU(),
        )  # fmt: skip
        self.angle = nn.Linear(32, 1, init=nn.init.zeros)  # starts as the identity map
        self.classifier = nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(16 * 5 * 5, 10),
        )  # fmt: skip

    def upright(self, x: np.ndarray) -> tuple[tg.Tensor, tg.Tensor]:
        """Return the images rotated by the predicted angles, and the angles (N,)."""
        angle = self.angle(self.localization(x))[:, 0]
        return rotate(x, angle), angle

    def forward(self, x: np.ndarray) -> tg.Tensor:
        """Return logits, (N, 10), for images, (N, 1, 28, 28)."""
        return self.classifier(self.upright(x)[0])


def rotate(x: np.ndarray, angle: tg.Tensor) -> tg.Tensor:
    """Return each image rotated by its angle in radians."""
    cos, sin, zero = tg.cos(angle), tg.sin(angle), 0.0 * angle
    theta = tg.stack([cos, -sin, zero, sin, cos, zero], axis=1).reshape(len(x), 2, 3)
    return tg.grid_sample(x, tg.affine_grid(theta, x.shape))


def main(steps: int = 400) -> tuple[list[float], float, tuple[float, float]]:
    """Return the losses, the test accuracy, and the spread of angles before and after."""
    rng = tg.manual_seed(0)
    data = tg.data.digits()

    def rotated(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        angle = rng.uniform(-np.pi / 3, np.pi / 3, len(images)).astype("f4")
        return rotate(images / np.float32(255), tg.Tensor(angle)).numpy(), angle

    model = SpatialTransformer()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    losses: list[float] = []
    for step in range(steps):
        batch = rng.integers(len(data.train), size=32)
        x, _ = rotated(data.train.images[batch])
        loss = tg.cross_entropy(model(x), data.train.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"step {step + 1}   loss {np.mean(losses[-50:]):.3f}")
    x, labels = data.test.images[:500], data.test.labels[:500]
    x, angle = rotated(x)
    with tg.no_grad():
        accuracy = float((model(x).numpy().argmax(axis=1) == labels).mean())
        total = angle + model.upright(x)[1].numpy()
    spread = (float(np.degrees(angle.std())), float(np.degrees(total.std())))
    print(
        f"accuracy {accuracy:.1%}; spread of angles {spread[0]:.0f}° before, {spread[1]:.0f}° after"
    )
    return losses, accuracy, spread


if __name__ == "__main__":
    main()
