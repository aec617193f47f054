"""The embedded digits, and drawn ones in the European styles that MNIST lacks.

MNIST was written in America: few of its 1s have an upstroke or a foot, and few of its 7s a bar.
This file draws some of both as strokes. They have the same bytes everywhere: the random numbers are
raw output of PCG64, and pixels come from operations that IEEE 754 rounds exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.dataset import Split
from tinygrad_cnn.data.idx_sets import digits
from tinygrad_cnn.data.shapes import uniform

__all__ = ["european_digits"]

_Floats: TypeAlias = NDArray[np.float32]

EACH = 300
"""Drawn images of either digit; of each, the embedded training images have 1,000."""

SIDE, BOX = 28, 20
_DRAWS = 14  # random numbers per image


def european_digits() -> Split:
    """Load the embedded digits, and draw 1s with an upstroke and 7s with a bar for training.

    300 of each are drawn: 1s with upstrokes of any length, with and without a foot; 7s with a bar,
    with and without a serif. The test images are those of `digits`.

    Returns
    -------
    Split
        10,600 and 2,000 images of shape (1, 28, 28), white on black.

    Examples
    --------
    >>> european_digits().train
    Dataset('european-digits': 10600 images of 1x28x28 in 10 classes)
    """
    embedded = digits()
    bits = np.random.PCG64(0)
    drawn = np.concatenate([_images(strokes, bits) for strokes in (_one, _seven)])
    train = replace(
        embedded.train,
        images=np.concatenate([embedded.train.images, drawn]),
        labels=np.concatenate([embedded.train.labels, np.repeat([1, 7], EACH)]),
        name="european-digits",
    )
    return Split(train, embedded.test)


class _Draws:
    """Random numbers, one for each image at a time."""

    def __init__(self, bits: np.random.PCG64) -> None:
        self._left = iter(uniform(bits, _DRAWS, EACH))

    def between(self, low: float, high: float) -> _Floats:
        number: _Floats = np.float32(low) + np.float32(high - low) * next(self._left)
        return number

    def some(self, share: float) -> NDArray[np.bool_]:
        """Return True for about this share of the images."""
        chosen: NDArray[np.bool_] = next(self._left) < np.float32(share)
        return chosen


_Point: TypeAlias = tuple[_Floats, _Floats]
"""Coordinates (x, y) of a point in each image; a digit is 1 high, and y points down."""


def _one(draws: _Draws) -> list[_Point]:
    """Return the corners of 1s with an upstroke, and of the foot that some have: pairs of ends."""
    half = np.float32(0.5)
    lean = draws.between(-0.03, 0.06)
    top, bottom = (lean, 0 * lean - half), (-lean, 0 * lean + half)
    middle = (draws.between(-0.03, 0.03), 0 * lean)
    across, down = draws.between(0.1, 0.36), draws.between(0.06, 0.4)
    start = (top[0] - across, top[1] + down)
    bend = ((start[0] + top[0]) * half, (start[1] + top[1]) * half + draws.between(-0.03, 0.06))
    foot = np.where(draws.some(0.35), draws.between(0.14, 0.3), 0)
    left, right = ((bottom[0] + sign * foot, bottom[1]) for sign in (-1, 1))
    return [start, bend, bend, top, top, middle, middle, bottom, left, right]


def _seven(draws: _Draws) -> list[_Point]:
    """Return the corners of 7s with a bar, and of the serif that some have: pairs of ends."""
    half = np.float32(0.5)
    width = draws.between(0.2, 0.36)
    right = (width, 0 * width - half)
    left = (-width, draws.between(-0.54, -0.42))
    serif = (left[0], left[1] + np.where(draws.some(0.35), draws.between(0.1, 0.22), 0))
    bottom = (draws.between(-0.2, 0.1), 0 * width + half)
    middle = (
        (right[0] + bottom[0]) * half + draws.between(-0.1, 0.04),
        draws.between(-0.06, 0.06),
    )
    slope = draws.between(-0.06, 0.06)
    bar = [
        (middle[0] + sign * draws.between(0.13, 0.28), middle[1] - sign * slope) for sign in (-1, 1)
    ]
    return [serif, left, left, right, right, middle, middle, bottom, *bar]


def _images(strokes: Callable[[_Draws], list[_Point]], bits: np.random.PCG64) -> NDArray[np.uint8]:
    """Draw images (300, 1, 28, 28), fitted into 20×20 and centered by mass, as MNIST's are."""
    draws = _Draws(bits)
    thick = draws.between(1.6, 4.0)
    x, y = (np.stack(each, axis=1).astype(np.float32) for each in zip(*strokes(draws), strict=True))
    spans = [each.max(axis=1) - each.min(axis=1) for each in (x, y)]
    scale = (np.float32(BOX - 1) - thick) / np.maximum(*spans)
    x, y = (
        (each - (each.max(axis=1) + each.min(axis=1))[:, None] / 2) * scale[:, None]
        for each in (x, y)
    )
    middle = np.float32(SIDE / 2)
    for _ in range(2):  # first about the middle of its box, then about its center of mass
        pixels = _inked(x + middle, y + middle, thick)
        mass = pixels.sum(axis=(1, 2), dtype=np.int64)
        places = 2 * np.arange(SIDE) + 1
        for each, axis in ((x, 1), (y, 2)):
            center = pixels.sum(axis=axis, dtype=np.int64) @ places
            each -= (center / (2 * mass)).astype(np.float32)[:, None] - middle - np.float32(0.5)
    return pixels[:, np.newaxis]


def _inked(x: _Floats, y: _Floats, thick: _Floats) -> NDArray[np.uint8]:
    """Draw lines between pairs of points (N, 2 lines) as images (N, 28, 28)."""
    centers = np.arange(SIDE, dtype=np.float32) + np.float32(0.5)
    nearest = np.full((len(x), SIDE, SIDE), np.inf, np.float32)
    for line in range(0, x.shape[1], 2):
        ax, bx, ay, by = (each[:, line + end, None, None] for each in (x, y) for end in (0, 1))
        ux, uy = bx - ax, by - ay
        px, py = centers - ax, centers[:, None] - ay
        length = np.maximum(ux * ux + uy * uy, np.float32(1e-6))
        share = np.clip((px * ux + py * uy) / length, 0, 1)
        dx, dy = px - share * ux, py - share * uy
        nearest = np.minimum(nearest, dx * dx + dy * dy)
    cover = np.clip(thick[:, None, None] / 2 - np.sqrt(nearest) + np.float32(0.5), 0, 1)
    inked: NDArray[np.uint8] = np.rint(cover * np.float32(255)).astype(np.uint8)
    return inked
