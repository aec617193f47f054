"""`as_mnist`: converts a picture of a handwritten digit to MNIST's form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.errors import DataError
from tinygrad_cnn.support.modules import needs_extra

__all__ = ["as_mnist"]

SIDE, BOX = 28, 20
LEAST_CONTRAST = 0.1
FAINTEST = 0.19  # fraction of full ink; anything below is paper


def as_mnist(gray: NDArray[np.floating[Any]], name: str) -> NDArray[np.uint8]:
    """Prepare a digit as in MNIST: light ink on black, fitted into 20×20, centered by mass.

    Parameters
    ----------
    gray : ndarray of float, shape (H, W)
        Gray values from 0 (black) to 1 (white), of any size. The ground is the majority of the
        border, and may be lighter or darker than the ink.
    name : str
        The name of the picture in the message.

    Returns
    -------
    ndarray of uint8, shape (28, 28)
        0 for the ground, 255 for the full ink; the ink's center of mass is at pixel
        (14, 14), as in MNIST, to the nearest pixel.

    Raises
    ------
    DataError
        If there is no ink.

    Notes
    -----
    A picture already in MNIST's form keeps its pixels: 28×28, full ink, a bounding box 19 or 20
    pixels long, and a center of mass within about half a pixel of (14, 14).

    Examples
    --------
    >>> page = np.ones((300, 200))
    >>> page[50:250, 90:110] = 0.0
    >>> digit = as_mnist(page, "one.png")
    >>> digit.shape, np.flatnonzero(digit.any(axis=1))[[0, -1]].tolist()
    ((28, 28), [4, 23])
    """
    ink = _ink(gray, name)
    if _is_mnist(ink):
        pixels: NDArray[np.uint8] = np.rint(ink * 255).astype(np.uint8)
        return pixels
    ink = ink / ink.max()
    ink = np.where(ink < FAINTEST / 2, 0.0, ink)
    rows, columns = (np.flatnonzero((ink >= FAINTEST).any(axis=axis)) for axis in (1, 0))
    cropped = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = _fitted(cropped)
    h, w = small.shape
    row, column = _center(small)
    top = min(max(round(SIDE / 2 - row), 0), SIDE - h)
    left = min(max(round(SIDE / 2 - column), 0), SIDE - w)
    result = np.zeros((SIDE, SIDE), np.uint8)
    result[top : top + h, left : left + w] = np.rint(small * 255)
    return result


def _ink(gray: NDArray[np.floating[Any]], name: str) -> NDArray[np.floating[Any]]:
    """Return the distance of each pixel from the ground, on the side with more ink."""
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    ground = np.median(border)
    darker, lighter = ground - gray.min(), gray.max() - ground
    ink: NDArray[np.floating[Any]] = ground - gray if darker > lighter else gray - ground
    most = max(darker, lighter)
    if most < LEAST_CONTRAST:
        raise DataError(f"{name}: is blank: its gray values differ by {most:.0%} at most")
    ink[ink < 0] = 0.0
    return ink


def _is_mnist(ink: NDArray[np.floating[Any]]) -> bool:
    """Return whether a picture has the properties common to all 70,000 MNIST images."""
    if ink.shape != (SIDE, SIDE) or ink.max() < 0.99:
        return False
    spans = [np.ptp(np.flatnonzero(ink.any(axis=axis))) + 1 for axis in (1, 0)]
    return max(spans) in (BOX - 1, BOX) and all(abs(c - SIDE / 2) < 0.55 for c in _center(ink))


def _fitted(ink: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Scale the longer side to 20 pixels."""
    with needs_extra("data", "reading image files"):
        import PIL.Image
    h, w = ink.shape
    scale = BOX / max(h, w)
    size = max(1, round(w * scale)), max(1, round(h * scale))
    image = PIL.Image.fromarray(ink.astype(np.float32))
    scaled = np.asarray(image.resize(size, PIL.Image.Resampling.BICUBIC), np.float64)
    return np.clip(scaled, 0.0, 1.0)


def _center(ink: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Return the center of mass: row, column."""
    mass = ink.sum()
    rows, columns = (ink.sum(axis=axis) for axis in (1, 0))
    return (
        float(rows @ np.arange(len(rows)) / mass),
        float(columns @ np.arange(len(columns)) / mass),
    )
