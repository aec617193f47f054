"""A U-Net that marks the pixels of drawn shapes, trained with Dice + binary cross-entropy.

Each image has a disk or a square in a random color on a ground of stripes and noise, and a
distractor: a ring, which does not belong to the mask. Run it from the repository:

    python examples/unet_segmentation.py

It prints the loss and the intersection over union (IoU) of new images, and one image's mask beside
the prediction.
"""

from __future__ import annotations

import numpy as np

import tinygrad_cnn as tg
from tinygrad_cnn import nn, optim

SIZE = 32


def scenes(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return images (count, 3, SIZE, SIZE) and masks (count, 1, SIZE, SIZE)."""
    rows, columns = np.indices((SIZE, SIZE))

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, (count, *shape))

    def away(power: np.ndarray) -> np.ndarray:  # the distance from a random center
        y = np.abs(rows - uniform(8, SIZE - 8, 1, 1))
        x = np.abs(columns - uniform(8, SIZE - 8, 1, 1))
        return np.where(power, np.hypot(y, x), np.maximum(y, x))

    wave = np.sin(uniform(0.2, 0.8, 1, 1) * rows + uniform(0.2, 0.8, 1, 1) * columns)
    images = uniform(0, 1, 3, 1, 1) * 0.4 + 0.1 * wave[:, None]
    ring = np.abs(away(np.array(True)) - uniform(4, 7, 1, 1)) < 1
    images = np.where(ring[:, None], uniform(0.5, 1, 3, 1, 1), images)
    masks = (away(uniform(0, 1, 1, 1) < 0.5) < uniform(3, 7, 1, 1))[:, None]
    images = np.where(masks, uniform(0.5, 1, 3, 1, 1), images)
    images += rng.normal(0, 0.1, images.shape)
    return images.astype("f4"), masks.astype("f4")


def dice_loss(logits: tg.Tensor, masks: np.ndarray, smooth: float = 1.0) -> tg.Tensor:
    """Return the mean over the images of 1 − (2·Σ p·t + s) / (Σ p + Σ t + s)."""
    p, axes = tg.sigmoid(logits), (1, 2, 3)
    overlap = (p * masks).sum(axes)
    return (1.0 - (2.0 * overlap + smooth) / (p.sum(axes) + masks.sum(axes) + smooth)).mean()


def iou(logits: np.ndarray, masks: np.ndarray) -> float:
    """Return the intersection of predicted and true pixels over their union."""
    predicted, true = logits > 0, masks > 0
    return float((predicted & true).sum() / (predicted | true).sum())


def main(steps: int = 200, width: int = 8) -> tuple[list[float], float]:
    """Return the losses, and the IoU of new images."""
    rng = tg.manual_seed(0)
    model = nn.models.UNet(1, in_channels=3, width=width, depth=2)
    optimizer = optim.Adam(model.parameters(), lr=3e-3)
    losses: list[float] = []
    for step in range(steps):
        images, masks = scenes(8, rng)
        logits = model(images)
        loss = tg.binary_cross_entropy_with_logits(logits, masks) + dice_loss(logits, masks)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step % 25 == 24:
            print(f"step {step + 1}   loss {np.mean(losses[-25:]):.3f}")
    images, masks = scenes(50, rng)
    model.eval()
    with tg.no_grad():
        logits = model(images).numpy()
    share = iou(logits, masks)
    for true, predicted in zip(masks[0, 0, ::2], logits[0, 0, ::2] > 0, strict=True):
        print("".join(".#"[int(v)] for v in true), "".join(".#"[int(v)] for v in predicted))
    print(f"IoU of new images: {share:.1%}")
    return losses, share


if __name__ == "__main__":
    main()
