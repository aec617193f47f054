"""Transforms of values: normalization and random color."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.data.transforms.base import Floats, Images, check, in_floats, interval, white

__all__ = ["ColorJitter", "Normalize"]

_LUMA = (0.2989, 0.587, 0.114)
_BLOCK = 131_072  # values changed at a time: the temporaries fit into the cache


@dataclass(frozen=True)
class Normalize:
    """Subtract a mean and divide by a standard deviation: ``(x - mean) / std``.

    Parameters
    ----------
    mean, std : float or sequence of float
        One value, or one per channel; `std` positive.

    Raises
    ------
    ValueError
        If a value is not finite, `std` is not positive, or the channel counts differ.

    Examples
    --------
    >>> scale = Normalize(mean=0.5, std=0.25)
    >>> scale
    Normalize(mean=0.5, std=0.25)
    >>> scale(np.ones((1, 1, 1, 2), np.float32))
    array([[[[2., 2.]]]], dtype=float32)
    """

    mean: float | tuple[float, ...]
    std: float | tuple[float, ...]

    def __post_init__(self) -> None:
        for field in ("mean", "std"):
            value = getattr(self, field)
            if isinstance(value, Iterable):
                value = tuple(map(float, value))
                object.__setattr__(self, field, value)
            if np.ndim(value) > 1 or np.size(value) == 0 or not np.isfinite(value).all():
                raise ValueError(f"Normalize: {field} is {value}; expected finite numbers")
        if np.min(self.std) <= 0:
            raise ValueError(f"Normalize: std is {self.std}; expected positive numbers")
        sizes = {len(value) for value in (self.mean, self.std) if isinstance(value, tuple)}
        if len(sizes) > 1:
            raise ValueError(
                f"Normalize: mean {self.mean} and std {self.std} have different numbers of channels"
            )

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Normalize a batch (B, C, H, W); `rng` is not used."""
        check("Normalize", images, integers=False)
        channels = max(np.size(self.mean), np.size(self.std))
        if channels not in (1, images.shape[1]):
            raise ValueError(
                f"Normalize: images of shape {images.shape} have {images.shape[1]} channels; "
                f"expected {channels}"
            )
        mean, std = (
            np.asarray(value, images.dtype).reshape(-1, 1, 1) for value in (self.mean, self.std)
        )
        result: Floats = images - mean
        result /= std
        return result


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast, saturation and hue of each image at random, in random order.

    Values are those of pictures: from 0 to 1, or to 255 for uint8; results outside are clipped. So
    apply it before `Normalize`.

    Parameters
    ----------
    brightness : float or tuple (low, high)
        The factor of all values; a number b means from max(0, 1 - b) to 1 + b.
    contrast : float or tuple (low, high)
        The factor of the differences from the mean gray of the image.
    saturation : float or tuple (low, high)
        The factor of the differences from the gray of the pixel.
    hue : float or tuple (low, high)
        The turn on the color circle, from -0.5 to 0.5; a number h means from -h to h.

    Raises
    ------
    ValueError
        If an argument is out of range.
    TypeError
        If images have neither 1 channel, of gray, nor 3, of red, green and blue.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(256, size=(4, 3, 8, 8), dtype=np.uint8)
    >>> jitter = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    >>> jitter(images, np.random.default_rng(1)).dtype
    dtype('uint8')
    """

    brightness: float | tuple[float, float] = 0.0
    contrast: float | tuple[float, float] = 0.0
    saturation: float | tuple[float, float] = 0.0
    hue: float | tuple[float, float] = 0.0

    def __post_init__(self) -> None:
        self._bounds()

    def _bounds(self) -> list[tuple[float, float]]:
        factors = ("brightness", "contrast", "saturation")
        bounds = [interval("ColorJitter", name, getattr(self, name), 0.0, 1.0) for name in factors]
        above = np.nextafter(0.5, 1)
        return [*bounds, interval("ColorJitter", "hue", self.hue, -0.5, below=above)]

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Change a batch (B, C, H, W)."""
        check("ColorJitter", images)
        if images.shape[1] not in (1, 3):
            raise TypeError(
                f"ColorJitter: images of shape {images.shape} have {images.shape[1]} channels; "
                "expected 1 (gray) or 3 (red, green, blue)"
            )
        rng = generator("ColorJitter", rng)
        B = len(images)
        bounds = self._bounds()
        factors = np.stack([rng.uniform(low, high, B) for low, high in bounds])
        orders = rng.permuted(np.tile(np.arange(len(bounds)), (B, 1)), axis=1)
        steps = [
            (k, change)
            for k, change in enumerate((_brightness, _contrast, _saturation, _hue))
            if bounds[k] != ((1.0, 1.0) if k < 3 else (0.0, 0.0))
        ]
        most = white(images)
        step = max(1, _BLOCK * B // max(1, images.size))

        def changed(floats: Floats) -> Floats:
            result = np.empty_like(floats)
            for start in range(0, B, step):
                block = slice(start, start + step)
                part = floats[block].copy()
                for position in range(len(bounds)):
                    for k, change in steps:
                        now = np.flatnonzero(orders[block, position] == k)
                        if now.size:
                            factor = factors[k, block][now, None, None, None].astype(part.dtype)
                            part[now] = change(part[now], factor).clip(0, most)
                result[block] = part
            return result

        return in_floats(images, changed)


def _brightness(images: Floats, factor: Floats) -> Floats:
    images *= factor
    return images


def _contrast(images: Floats, factor: Floats) -> Floats:
    return _blended(images, _gray(images).mean(axis=(1, 2, 3), keepdims=True), factor)


def _saturation(images: Floats, factor: Floats) -> Floats:
    return images if images.shape[1] == 1 else _blended(images, _gray(images), factor)


def _blended(images: Floats, center: Floats, factor: Floats) -> Floats:
    images -= center
    images *= factor
    images += center
    return images


def _hue(images: Floats, turn: Floats) -> Floats:
    """Turn the hue, in the model of hue, saturation and value."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.swapaxes(0, 1)
    value = images.max(axis=1)
    chroma = value - images.min(axis=1)
    divisor = np.where(chroma > 0, chroma, 1)
    sector = np.where(
        value == red,
        (green - blue) / divisor,
        np.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sector = sector + 6 * turn[:, 0]
    # a channel falls by the chroma in the sectors opposite to it
    places = np.stack([sector + n for n in (5, 3, 1)], axis=1) % 6
    fall = np.minimum(places, 4 - places).clip(0, 1)
    turned: Floats = value[:, None] - chroma[:, None] * fall
    return turned


def _gray(images: Floats) -> Floats:
    """Return the luma of each pixel, (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    B, _, H, W = images.shape
    gray: NDArray[Any] = np.array(_LUMA, images.dtype) @ images.reshape(B, 3, H * W)
    return gray.reshape(B, 1, H, W)
