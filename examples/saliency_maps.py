"""Four maps of the pixels by which a network decides: saliency, guided, integrated and Grad-CAM.

1. Saliency: the gradient of the class's logit in each pixel (Simonyan et al., 2014).
2. Guided backpropagation: the same, but each ReLU passes positive gradients only (Springenberg et
   al., 2015); a hook on the modules does it.
3. Integrated gradients: the mean gradient on the way from a black image, times the image. The map's
   sum is the difference of both logits (Sundararajan et al., 2017).
4. Grad-CAM: feature maps weighted by their mean gradient (Selvaraju et al., 2017); a hook keeps
   them.

Run it from the repository:

    python examples/saliency_maps.py

It trains a small convnet on digits, and prints one test digit beside its four maps, and the sum of
the integrated gradients beside the difference of logits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim


class Convnet(nn.Module):
    """Two convolutions and the mean of each map; the activations are modules, for hooks."""

    def __init__(self) -> None:
        self.conv1, self.relu1 = nn.Conv2d(1, 8, 5, padding=2), nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2, self.relu2 = nn.Conv2d(8, 32, 5, padding=2), nn.ReLU()
        self.fc = nn.Linear(32, 10)

    def forward(self, x: tg.Tensor | np.ndarray) -> tg.Tensor:
        """Return logits, (N, 10), for images, (N, 1, 28, 28)."""
        x = self.pool(self.relu1(self.conv1(x)))  # (N, 8, 14, 14)
        x = self.relu2(self.conv2(x))  # (N, 32, 14, 14)
        return self.fc(tg.global_avgpool(x))


def train(model: Convnet, data: tg.data.Dataset, steps: int, rng: np.random.Generator) -> None:
    """Train on random batches with Adam."""
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        batch = rng.integers(len(data), size=32)
        images = data.images[batch] / np.float32(255)
        loss = tg.cross_entropy(model(images), data.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def saliency(model: Convnet, image: np.ndarray, k: int) -> np.ndarray:
    """Return the gradient of logit `k` in each pixel of an image (1, 1, H, W)."""
    x = tg.Tensor(image, requires_grad=True)
    (gradient,) = tg.grad(model(x)[:, k].sum(), [x])
    return gradient


def positive(
    module: nn.Module, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Return the gradients of the inputs without their negative values: a backward hook."""
    return tuple(np.maximum(g, 0) for g in inputs)


def guided_backprop(model: Convnet, image: np.ndarray, k: int) -> np.ndarray:
    """Return the gradient of logit `k` to which only positive gradients behind ReLU add."""
    first = model.relu1.register_full_backward_hook(positive)
    second = model.relu2.register_full_backward_hook(positive)
    x = tg.Tensor(image, requires_grad=True)
    with first, second:  # removed at the end
        model(x)[:, k].sum().backward()
    model.zero_grad()
    assert x.grad is not None
    return x.grad


def integrated_gradients(model: Convnet, image: np.ndarray, k: int, steps: int = 100) -> np.ndarray:
    """Return each pixel times its mean gradient between a black image and this one."""
    shares = (np.arange(steps, dtype="f4") + 0.5) / steps  # the middles of the steps
    return image * saliency(model, shares[:, None, None, None] * image, k).mean(0, keepdims=True)


def grad_cam(model: Convnet, image: np.ndarray, k: int) -> np.ndarray:
    """Return the weighted sum of the last feature maps, without its negative part, (H, W)."""
    kept: list[tg.Tensor] = []

    def keep(module: nn.Module, args: tuple[object, ...], output: tg.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    with model.relu2.register_forward_hook(keep):
        model(image)[:, k].sum().backward()
    model.zero_grad()
    (maps,) = kept
    assert maps.grad is not None
    weights = maps.grad.mean(axis=(2, 3), keepdims=True)
    return np.maximum((weights * maps.numpy()).sum(axis=1)[0], 0)


def as_text(values: np.ndarray) -> list[str]:
    """Return a map as 14 lines of characters, brighter where its size is larger."""
    values = np.abs(values)
    values = values.reshape(14, values.shape[0] // 14, 14, -1).max(axis=(1, 3))
    values = values / max(float(values.max()), 1e-12)
    return ["".join(" .:*#"[int(4.99 * value)] * 2 for value in row) for row in values]


def main(steps: int = 300) -> tuple[dict[str, np.ndarray], float, float]:
    """Return the maps, the sum of the integrated gradients, and the difference of logits."""
    rng = tg.manual_seed(0)
    data = tg.data.digits()
    model = Convnet()
    train(model, data.train, steps, rng)
    model.eval()
    image, k = data.test.images[:1] / np.float32(255), int(data.test.labels[0])
    maps = {
        "digit": image[0, 0],
        "saliency": saliency(model, image, k)[0, 0],
        "guided": guided_backprop(model, image, k)[0, 0],
        "integrated": integrated_gradients(model, image, k)[0, 0],
        "Grad-CAM": grad_cam(model, image, k),
    }
    print("".join(f"{name:30}" for name in maps))
    for lines in zip(*map(as_text, maps.values()), strict=True):
        print("".join(f"{line:30}" for line in lines).rstrip())
    with tg.no_grad():
        difference = float((model(image) - model(0 * image)).numpy()[0, k])
    total = float(maps["integrated"].sum())
    print(f"sum of integrated gradients {total:.3f}, difference of logits {difference:.3f}")
    return maps, total, difference


if __name__ == "__main__":
    main()
