"""What the transforms share: the check of their images, and arithmetic on uint8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.data.warp import Floats
from tinygrad_cnn.support.arguments import number, whole

__all__ = ["Floats", "Images", "check", "height_and_width", "in_floats", "interval", "white"]

Images: TypeAlias = NDArray[Any]


def check(name: str, images: Images, integers: bool = True) -> None:
    """Raise TypeError unless `images` are a batch of float32, float64 or, if allowed, uint8."""
    known = ("float32", "float64", *(["uint8"] if integers else []))
    if not isinstance(images, np.ndarray) or images.dtype not in known or images.ndim != 4:
        came = (
            f"{images.dtype} of shape {images.shape}"
            if isinstance(images, np.ndarray)
            else type(images).__name__
        )
        raise TypeError(
            f"{name}: got {came}; expected {', '.join(known[:-1])} or {known[-1]} of shape "
            "(B, C, H, W); one image is image[None], and the result [0]"
        )


def in_floats(images: Images, compute: Callable[[Floats], Floats]) -> Images:
    """Return ``compute(images)``; uint8 is computed in float32 and rounded once, at the end."""
    if images.dtype != np.uint8:
        return compute(images)
    result = compute(images.astype(np.float32))
    return np.rint(result).clip(0, 255).astype(np.uint8)


def white(images: Images) -> int:
    """Return the largest value of a pixel: 255 of uint8, 1 of floats."""
    return 255 if images.dtype == np.uint8 else 1


def height_and_width(owner: str, size: Any) -> tuple[int, int]:
    """Return an integer, or a pair (H, W), as a pair; else raise ValueError."""
    if isinstance(size, Sequence) and len(size) == 2:
        return whole(owner, "size[0]", size[0]), whole(owner, "size[1]", size[1])
    return (whole(owner, "size", size),) * 2


def interval(
    owner: str, argument: str, value: Any, least: float, center: float = 0.0, below: float = np.inf
) -> tuple[float, float]:
    """Return a half-width around `center`, or a pair (low, high), as a pair; else raise."""
    if not isinstance(value, Sequence):
        half = number(owner, argument, value)
        return max(least, center - half), number(owner, argument, center + half, least, below)
    if len(value) != 2:
        raise ValueError(f"{owner}: {argument} is {value!r}, expected a number or (low, high)")
    low, high = (
        number(owner, f"{argument}[{i}]", part, least, below) for i, part in enumerate(value)
    )
    if low > high:
        raise ValueError(f"{owner}: {argument} is {value!r}, expected low <= high")
    return low, high


def as_pixels(value: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return colors in the dtype of images; for uint8 they are rounded, and clipped to 0 to 255."""
    if dtype != np.uint8:
        return np.asarray(value, dtype)
    pixels: NDArray[Any] = np.rint(np.asarray(value)).clip(0, 255).astype(np.uint8)
    return pixels
