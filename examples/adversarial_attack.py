"""Adversarial examples: changes of pixels too small to matter to people mislead a digit classifier.

FGSM moves each pixel by ε in the direction that raises the loss, sign(∇ₓ loss) (Goodfellow et al.,
2015). PGD repeats small moves and stays within ε of the image (Madry et al., 2018). Training on
attacked images makes a network robust. Run it from the repository:

    python examples/adversarial_attack.py

It prints the accuracy on test digits: as they are, with random noise of the same size, and
attacked; of a network that was trained as usual, and of one that was trained on attacked images.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

Attack = Callable[[nn.Module, np.ndarray, np.ndarray], np.ndarray]
EPS = 0.1


def gradient_sign(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the sign of the gradient of the loss in each pixel."""
    x = tg.Tensor(images, requires_grad=True)
    (gradient,) = tg.grad(tg.cross_entropy(model(x), labels), [x])
    return np.sign(gradient)


def fgsm(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return images attacked by one step of size ε."""
    return np.clip(images + np.float32(EPS) * gradient_sign(model, images, labels), 0, 1)


def pgd(model: nn.Module, images: np.ndarray, labels: np.ndarray, steps: int = 7) -> np.ndarray:
    """Return images attacked by several steps, each followed by a projection to ±ε."""
    x, low, high = images, np.maximum(images - EPS, 0), np.minimum(images + EPS, 1)
    for _ in range(steps):
        moved = x + np.float32(2.5 * EPS / steps) * gradient_sign(model, x, labels)
        x = np.clip(moved, low, high).astype("f4")
    return x


def noise(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return images with ±ε added to each pixel at random, for comparison."""
    signs = np.random.default_rng(0).choice([-EPS, EPS], images.shape)
    return np.clip(images + signs, 0, 1).astype("f4")


def convnet() -> nn.Sequential:
    """Return two strided convolutions and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(16 * 5 * 5, 10),
    )  # fmt: skip


def train(data: tg.data.Dataset, steps: int, attack: Attack | None = None) -> nn.Module:
    """Return a network trained on the images, or on what an attack makes of them."""
    rng = tg.manual_seed(0)
    model = convnet()
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = rng.integers(len(data), size=32)
        x, labels = data.images[batch] / np.float32(255), data.labels[batch]
        if attack is not None:
            x = attack(model, x, labels)
        loss = tg.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def accuracy(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of images whose largest logit is that of their label."""
    with tg.no_grad():
        return float((model(images).numpy().argmax(axis=1) == labels).mean())


def main(steps: int = 500) -> dict[str, dict[str, float]]:
    """Return the accuracy of both networks on each kind of image."""
    data = tg.data.digits()
    images, labels = data.test.images[:500] / np.float32(255), data.test.labels[:500]
    attacks: dict[str, Attack] = {"noise": noise, "FGSM": fgsm, "PGD": pgd}
    networks = {"usual": train(data.train, steps), "robust": train(data.train, steps, fgsm)}
    results: dict[str, dict[str, float]] = {}
    for name, model in networks.items():
        results[name] = {"clean": accuracy(model, images, labels)}
        for kind, attack in attacks.items():
            results[name][kind] = accuracy(model, attack(model, images, labels), labels)
        print(f"{name:8}", "   ".join(f"{k} {share:.1%}" for k, share in results[name].items()))
    return results


if __name__ == "__main__":
    main()
