"""Random transforms for augmentation: ``transform(images, rng) -> images``.

All take and return float32 or float64 of shape (B, C, H, W), keep the dtype, never modify their
input, and draw separate random values for each image. Without
`rng`, numbers come from the generator that `manual_seed` sets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.data.loader import Transform
from tinygrad_cnn.data.warp import sample, smooth
from tinygrad_cnn.support.arguments import number, positive, share, whole

__all__ = ["Compose", "Elastic", "Flip", "Normalize", "Rotate", "Shift"]

Images: TypeAlias = NDArray[np.floating[Any]]


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
        _check("Normalize", images)
        channels = max(np.size(self.mean), np.size(self.std))
        if channels not in (1, images.shape[1]):
            raise ValueError(
                f"Normalize: images of shape {images.shape} have {images.shape[1]} channels; "
                f"expected {channels}"
            )
        mean, std = (
            np.asarray(value, images.dtype).reshape(-1, 1, 1) for value in (self.mean, self.std)
        )
        result = images - mean
        result /= std
        return result


@dataclass(frozen=True)
class Shift:
    """Shift each image by whole pixels along both axes, filling with zeros.

    Parameters
    ----------
    max_pixels : int
        The largest shift, in either direction, per axis; all shifts are equally likely.

    Raises
    ------
    ValueError
        If `max_pixels` is not a nonnegative integer.

    Examples
    --------
    >>> image = np.zeros((1, 1, 3, 3), np.float32)
    >>> image[0, 0, 1, 1] = 1
    >>> Shift(1)(image, np.random.default_rng(3))[0, 0]
    array([[0., 0., 0.],
           [0., 0., 0.],
           [1., 0., 0.]], dtype=float32)
    """

    max_pixels: int

    def __post_init__(self) -> None:
        whole("Shift", "max_pixels", self.max_pixels, 0)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Shift a batch (B, C, H, W)."""
        _check("Shift", images)
        m = self.max_pixels
        B, _, H, W = images.shape
        rows, columns = generator("Shift", rng).integers(2 * m + 1, size=(2, B))
        padded = np.pad(images, ((0, 0), (0, 0), (m, m), (m, m)))
        # (B, C, 2m+1, 2m+1, H, W): every window of the padded image is a shifted image
        windows = np.lib.stride_tricks.sliding_window_view(padded, (H, W), axis=(2, 3))
        shifted: Images = windows[np.arange(B), :, 2 * m - rows, 2 * m - columns]
        return shifted


@dataclass(frozen=True)
class Rotate:
    """Rotate each image about its center, filling with zeros.

    Parameters
    ----------
    max_degrees : float
        The largest angle, in either direction; uniformly distributed. Positive angles turn
        counter-clockwise.

    Raises
    ------
    ValueError
        If `max_degrees` is not a finite number, 0 or more.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((2, 1, 28, 28))
    >>> np.array_equal(Rotate(0)(images, np.random.default_rng(1)), images)
    True
    """

    max_degrees: float

    def __post_init__(self) -> None:
        number("Rotate", "max_degrees", self.max_degrees)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Rotate a batch (B, C, H, W)."""
        _check("Rotate", images)
        B, _, H, W = images.shape
        limit = self.max_degrees
        angle = np.radians(generator("Rotate", rng).uniform(-limit, limit, (B, 1, 1)))
        cos, sin = (f(angle).astype(images.dtype) for f in (np.cos, np.sin))
        middle = (H - 1) / 2, (W - 1) / 2
        y, x = (np.arange(n, dtype=images.dtype) - m for n, m in zip((H, W), middle, strict=True))
        y = y[:, None]
        # Inverse rotation: the source position of each output pixel. Rows point down.
        return sample(images, cos * y + sin * x + middle[0], cos * x - sin * y + middle[1])


@dataclass(frozen=True)
class Elastic:
    """Distort each image by a smooth random field (Simard et al. 2003).

    Each pixel is sampled at its position plus ``alpha · G_σ * u``, where `u` is uniform noise in
    [-1, 1] per pixel and axis, and ``G_σ`` a Gaussian of sum 1.

    Parameters
    ----------
    alpha : float
        The strength, in pixels; 34 in the paper.
    sigma : float
        The smoothness, in pixels; 4 in the paper.

    Raises
    ------
    ValueError
        If `alpha` is not a finite number, 0 or more, or `sigma` is not positive.

    References
    ----------
    P. Y. Simard, D. Steinkraus, J. C. Platt, "Best practices for convolutional neural networks
    applied to visual document analysis", ICDAR 2003.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((2, 1, 28, 28))
    >>> Elastic(alpha=34, sigma=4)(images, np.random.default_rng(1)).shape
    (2, 1, 28, 28)
    """

    alpha: float
    sigma: float

    def __post_init__(self) -> None:
        number("Elastic", "alpha", self.alpha)
        positive("Elastic", "sigma", self.sigma)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Distort a batch (B, C, H, W)."""
        _check("Elastic", images)
        B, _, H, W = images.shape
        noise = 2 * generator("Elastic", rng).random((2, B, H, W), images.dtype.type) - 1
        down, right = smooth(noise, self.sigma) * images.dtype.type(self.alpha)
        down += np.arange(H, dtype=images.dtype)[:, None]
        right += np.arange(W, dtype=images.dtype)
        return sample(images, down, right)


@dataclass(frozen=True)
class Flip:
    """Flip each image left to right at random.

    Parameters
    ----------
    probability : float
        The probability of a flip.

    Raises
    ------
    ValueError
        If `probability` is not in [0, 1].

    Examples
    --------
    >>> Flip(1.0)(np.array([[[[1.0, 2.0]]]]))
    array([[[[2., 1.]]]])
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        share("Flip", "probability", self.probability)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Flip a batch (B, C, H, W)."""
        _check("Flip", images)
        mirrored = generator("Flip", rng).random((len(images), 1, 1, 1)) < self.probability
        return np.where(mirrored, images[..., ::-1], images)


@dataclass(frozen=True, init=False, repr=False)
class Compose:
    """Apply transforms in order.

    Parameters
    ----------
    *transforms : callable
        Each takes ``(images, rng)`` and returns images. They share one generator.

    Raises
    ------
    TypeError
        If one is not callable.

    Examples
    --------
    >>> Compose(Shift(2), Rotate(10))
    Compose(Shift(max_pixels=2), Rotate(max_degrees=10))
    """

    transforms: tuple[Transform, ...]

    def __init__(self, *transforms: Transform) -> None:
        for transform in transforms:
            if not callable(transform):
                raise TypeError(f"Compose: {transform!r} is not callable; expected transforms")
        object.__setattr__(self, "transforms", transforms)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Transform a batch (B, C, H, W)."""
        rng = generator("Compose", rng)
        for transform in self.transforms:
            images = transform(images, rng)
        return images

    def __repr__(self) -> str:
        return f"Compose({', '.join(map(repr, self.transforms))})"


def _check(name: str, images: Images) -> None:
    if images.dtype not in (np.float32, np.float64) or images.ndim != 4:
        raise TypeError(
            f"{name}: got {images.dtype} of shape {images.shape}; "
            "expected float32 or float64 of shape (B, C, H, W)"
        )
