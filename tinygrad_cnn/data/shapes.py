"""The shapes: a set of color images drawn by this file, so that a network trains offline.

Ten classes of 32x32 images: six shapes and four textures with random colors, size, angle, place,
shading and noise. The set is computed whenever it is loaded. It has the same bytes everywhere: the
random numbers are raw output of PCG64, and pixels come from operations that IEEE 754 rounds
exactly (no sine, no sum whose order NumPy may choose).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.dataset import Dataset, Split

__all__ = ["shapes"]

_Floats: TypeAlias = NDArray[np.float32]
_Cover: TypeAlias = Callable[[_Floats, _Floats, _Floats], _Floats]

TRAIN, TEST = 10_000, 2_000  # as many as the embedded digits
SIZE = 32
_BLOCK = 200  # images drawn at a time: the temporaries fit into the cache
_DRAWS = 13  # random numbers per image


def shapes() -> Split:
    """Draw the shapes: color images of ten classes, made by this package.

    Circles, squares, triangles, stars, rings, crosses, stripes, checkerboards, dots and gradients.
    Nothing is downloaded or stored: drawing takes about a second, and gives the same bytes
    everywhere. The license is that of this package.

    Returns
    -------
    Split
        10,000 and 2,000 images of shape (3, 32, 32), as many of each class.

    Examples
    --------
    >>> shapes().test  # draws all 12,000  # doctest: +SKIP
    Dataset('shapes': 2000 images of 3x32x32 in 10 classes)
    """
    return Split(draw(TRAIN, seed=0), draw(TEST, seed=1))


def draw(count: int, seed: int) -> Dataset:
    """Draw a set of `count` images; image `i` is of class ``i % 10``.

    Parameters
    ----------
    count : int
        The number of images.
    seed : int
        Each seed gives another set.

    Returns
    -------
    Dataset
        Images of shape (3, 32, 32), named "shapes".

    Examples
    --------
    >>> draw(20, seed=2)
    Dataset('shapes': 20 images of 3x32x32 in 10 classes)
    """
    labels = np.arange(count) % len(_COVERS)
    images = np.empty((count, 3, SIZE, SIZE), np.uint8)
    bits = np.random.PCG64(seed)
    for label, cover in enumerate(_COVERS.values()):
        places = np.flatnonzero(labels == label)
        for start in range(0, len(places), _BLOCK):
            block = places[start : start + _BLOCK]
            images[block] = _images(cover, len(block), bits)
    return Dataset(images, labels.astype(np.int64), tuple(_COVERS), "shapes")


def _images(cover: _Cover, count: int, bits: np.random.PCG64) -> NDArray[np.uint8]:
    """Draw images (count, 3, 32, 32) of one class."""
    draws = iter(uniform(bits, _DRAWS, count)[:, :, None, None])  # each (count, 1, 1)

    def between(low: float, high: float) -> _Floats:
        number: _Floats = np.float32(low) + np.float32(high - low) * next(draws)
        return number

    size = between(8, 14)  # the radius in pixels
    # A place at which most of the shape is inside the image.
    free = np.float32(SIZE / 2) - np.float32(0.9) * size
    x0, y0 = (np.float32((SIZE - 1) / 2) + free * between(-1, 1) for _ in range(2))
    # (1 - t², 2t) / (1 + t²) is a point of the unit circle: a rotation without sine and cosine.
    t = between(-0.3, 0.3)  # up to 33 degrees
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    x = np.arange(SIZE, dtype=np.float32) - x0
    y = np.arange(SIZE, dtype=np.float32)[:, None] - y0
    u, v = (cos * x + sin * y) / size, (cos * y - sin * x) / size
    inside = cover(u, v, size)[:, None]  # (count, 1, 32, 32)

    colors = np.stack([next(draws) for _ in range(6)], axis=1)  # (count, 6, 1, 1)
    colors *= np.float32(0.6)
    front, back = colors[:, :3] + np.float32(0.4), colors[:, 3:]  # a lighter and a darker color
    # Light that changes linearly across the image.
    across = np.arange(1 - SIZE, SIZE, 2, dtype=np.float32) / np.float32(SIZE - 1)  # -1 to 1
    light = between(-0.2, 0.2) * across + between(-0.2, 0.2) * across[:, None]
    image = back + inside * (front - back) + light[:, None]
    amount = between(0.05, 0.4)[:, None]
    noise = _bytes(bits, image.shape).astype(np.float32) / np.float32(255) - np.float32(0.5)
    image += amount * noise
    pixels: NDArray[np.uint8] = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
    return pixels


def uniform(bits: np.random.PCG64, *shape: int) -> _Floats:
    """Draw float32 numbers from 0 to 1 out of raw bits, which no version of NumPy changes."""
    raw = bits.random_raw(int(np.prod(shape))).reshape(shape)
    numbers: _Floats = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return numbers


def _bytes(bits: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Draw bytes, eight from each raw number."""
    count = int(np.prod(shape))
    raw = bits.random_raw(-(-count // 8))
    stream: NDArray[np.uint8] = raw.astype("<u8").view(np.uint8)
    return stream[:count].reshape(shape)


# What each class covers: u and v are coordinates (count, 32, 32) in units of the size, turned and
# centered; the result is the share of each pixel that is covered, 0 to 1.


def _within(distance: _Floats, size: _Floats | np.float32) -> _Floats:
    """Return the share covered where `distance` to the edge is negative inside."""
    share: _Floats = np.clip(np.float32(0.5) - distance * size, 0, 1)
    return share


def _length(u: _Floats, v: _Floats) -> _Floats:
    return np.sqrt(u * u + v * v)


def _circle(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    return _within(_length(u, v) - np.float32(0.9), size)


def _square(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    return _within(np.maximum(abs(u), abs(v)) - np.float32(0.8), size)


def _triangle(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    slanted = np.float32(0.8660254) * abs(u) + np.float32(0.5) * v
    return _within(np.maximum(-v, slanted) - np.float32(0.6), size)


def _star(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    # A pentagram is what lies within all lines of its five sides but one.
    first = second = np.full_like(u, -np.inf)
    for a, b in _PENTAGON:
        side = np.float32(a) * u + np.float32(b) * v
        second = np.maximum(second, np.minimum(first, side))
        first = np.maximum(first, side)
    return _within(second - np.float32(0.37), size)


_PENTAGON = (
    (0.0, 1.0),
    (0.95105652, 0.30901699),
    (0.58778525, -0.80901699),
    (-0.58778525, -0.80901699),
    (-0.95105652, 0.30901699),
)


def _ring(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    return _within(abs(_length(u, v) - np.float32(0.75)) - np.float32(0.22), size)


def _cross(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    a, b, long, wide = abs(u), abs(v), np.float32(1.0), np.float32(0.3)
    upright, level = np.maximum(a - wide, b - long), np.maximum(a - long, b - wide)
    return _within(np.minimum(upright, level), size)


def _wave(u: _Floats) -> _Floats:
    """Return the distance of u to the nearest integer: a triangle wave from 0 to 0.5."""
    return abs(u - np.rint(u))


def _bands(u: _Floats, size: _Floats) -> _Floats:
    return _within(_wave(u) - np.float32(0.25), size)


def _stripes(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    return _bands(u, size)


def _checkerboard(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    a, b = _bands(u, size), _bands(v, size)
    either: _Floats = a + b - np.float32(2) * a * b
    return either


def _dots(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    return _within(_length(_wave(u), _wave(v)) - np.float32(0.275), size)


def _gradient(u: _Floats, v: _Floats, size: _Floats) -> _Floats:
    return _within(-u / np.float32(3), np.float32(1))


_COVERS: dict[str, _Cover] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "stripes": _stripes,
    "checkerboard": _checkerboard,
    "dots": _dots,
    "gradient": _gradient,
}

SHAPES = tuple(_COVERS)
"""The classes."""
