"""Transforms that sample images at other places: resizing, rotation, affine and elastic maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.data.transforms.base import Floats, Images, check, in_floats, interval
from tinygrad_cnn.data.warp import resample, sample, smooth
from tinygrad_cnn.support.arguments import choice, flag, number, positive, whole

__all__ = ["Elastic", "RandomAffine", "Resize", "Rotate"]


@dataclass(frozen=True)
class Resize:
    """Scale images to a size.

    Parameters
    ----------
    size : int or tuple (H, W)
        The new size; an integer is that of the shorter side, and the other keeps the proportion.
    interpolation : {"bilinear", "bicubic", "nearest"}
        How pixels between pixels are computed.
    antialias : bool
        Whether a pixel of a smaller image averages all those that it covers, as Pillow does. Has no
        effect on "nearest".

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    The two axes are scaled one after the other: ``R images Cᵀ``. The rows of R have sum 1: row i
    holds a kernel around the place of pixel i in the image, ``(i + 1/2) H / H' - 1/2``, as wide as
    the scale if it is reduced, and cut off at the borders.

    Examples
    --------
    >>> ramp = np.arange(8.0).reshape(1, 1, 1, 8)
    >>> Resize((1, 4))(ramp).round(2)
    array([[[[0.71, 2.5 , 4.5 , 6.29]]]])
    >>> Resize((1, 4), antialias=False)(ramp)
    array([[[[0.5, 2.5, 4.5, 6.5]]]])
    """

    size: int | tuple[int, int]
    interpolation: str = "bilinear"
    antialias: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.size, Sequence):
            if len(self.size) != 2:
                raise ValueError(f"Resize: size is {self.size!r}, expected an integer or (H, W)")
            for i, value in enumerate(self.size):
                whole("Resize", f"size[{i}]", value)
        else:
            whole("Resize", "size", self.size)
        kernels = ("bilinear", "bicubic", "nearest")
        choice("Resize", "interpolation", self.interpolation, kernels)
        flag("Resize", "antialias", self.antialias)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Scale a batch (B, C, H, W); `rng` is not used."""
        check("Resize", images)
        H, W = images.shape[2:]
        if isinstance(self.size, Sequence):
            height, width = self.size
        else:
            short = self.size
            height, width = short * H // min(H, W), short * W // min(H, W)
        if (height, width) == (H, W):
            return images.copy()
        return resample(images, (height, width), self.interpolation, self.antialias)


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
        check("Rotate", images)
        limit = self.max_degrees
        angle = np.radians(generator("Rotate", rng).uniform(-limit, limit, (len(images), 1, 1)))
        return in_floats(images, lambda floats: self._turned(floats, angle))

    @staticmethod
    def _turned(images: Floats, angle: NDArray[Any]) -> Floats:
        H, W = images.shape[2:]
        cos, sin = (f(angle).astype(images.dtype) for f in (np.cos, np.sin))
        middle = (H - 1) / 2, (W - 1) / 2
        y, x = (np.arange(n, dtype=images.dtype) - m for n, m in zip((H, W), middle, strict=True))
        y = y[:, None]
        # Inverse rotation: the source position of each output pixel. Rows point down.
        return sample(images, cos * y + sin * x + middle[0], cos * x - sin * y + middle[1])


@dataclass(frozen=True)
class RandomAffine:
    """Rotate, shift, scale and shear each image at random, about its center.

    Parameters
    ----------
    degrees : float or tuple (low, high)
        The angle, uniformly distributed; a number d means from -d to d. Positive angles turn
        clockwise.
    translate : tuple (x, y), optional
        The largest shift, as a fraction of width and of height; shifts are whole pixels.
    scale : tuple (low, high), optional
        The factor of both axes.
    shear : float, tuple (low, high) or (x_low, x_high, y_low, y_high), optional
        The angle of shear, in degrees, along the rows, and with four values along the columns too.
    fill : float
        The value outside the image. Between pixels, values are interpolated bilinearly.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    A pixel at the offset p from the center moves to ``R(angle) S(shear) scale p + translation``,
    where R and S are those of torchvision's ``affine``.

    Examples
    --------
    >>> images = np.random.default_rng(0).random((2, 1, 28, 28))
    >>> wobble = RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5)
    >>> wobble(images, np.random.default_rng(1)).shape
    (2, 1, 28, 28)
    >>> np.array_equal(RandomAffine(0)(images), images)
    True
    """

    degrees: float | tuple[float, float]
    translate: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    shear: float | tuple[float, ...] | None = None
    fill: float = 0

    def __post_init__(self) -> None:
        self._angles(self.degrees, "degrees")
        if self.translate is not None:
            interval(
                "RandomAffine", "translate", sorted(self.translate), 0, below=math.nextafter(1, 2)
            )
        if self.scale is not None:
            interval("RandomAffine", "scale", tuple(self.scale), math.nextafter(0, 1))
        self._shears()
        number("RandomAffine", "fill", self.fill, -math.inf)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Change a batch (B, C, H, W)."""
        check("RandomAffine", images)
        rng = generator("RandomAffine", rng)
        B, _, H, W = images.shape
        angle = rng.uniform(*self._angles(self.degrees, "degrees"), (B,))
        x, y = self.translate or (0.0, 0.0)
        shift = np.rint(rng.uniform(-1, 1, (2, B)) * [[x * W], [y * H]])
        factor = rng.uniform(*(self.scale or (1.0, 1.0)), (B,))
        shear = np.stack([rng.uniform(*bounds, (B,)) for bounds in self._shears()])
        return in_floats(images, lambda floats: self._moved(floats, angle, shift, factor, shear))

    def _moved(
        self,
        images: Floats,
        angle: NDArray[Any],
        shift: NDArray[Any],
        factor: NDArray[Any],
        shear: NDArray[Any],
    ) -> Floats:
        (a, b), (c, d) = inverse_affine(angle, factor, shear)[..., None, None]
        H, W = images.shape[2:]
        # offsets from the center, after the shift is undone: (B, 1, W) and (B, H, 1)
        x = np.arange(W) - (W - 1) / 2 - shift[0, :, None, None]
        y = (np.arange(H) - (H - 1) / 2)[:, None] - shift[1, :, None, None]
        rows, columns = c * x + d * y + (H - 1) / 2, a * x + b * y + (W - 1) / 2
        if not self.fill:
            return sample(images, rows, columns)
        fill = images.dtype.type(self.fill)
        return sample(images - fill, rows, columns) + fill

    @staticmethod
    def _angles(value: Any, name: str) -> tuple[float, float]:
        return interval("RandomAffine", name, value, -math.inf)

    def _shears(self) -> list[tuple[float, float]]:
        """Return the bounds of the shear along x and along y."""
        if not isinstance(self.shear, Sequence):
            return [self._angles(self.shear or 0.0, "shear"), (0.0, 0.0)]
        if len(self.shear) not in (2, 4):
            raise ValueError(
                f"RandomAffine: shear is {self.shear!r}, expected a number, 2 or 4 of them"
            )
        pairs = [self._angles(self.shear[i : i + 2], "shear") for i in range(0, len(self.shear), 2)]
        return [*pairs, (0.0, 0.0)][:2]


def inverse_affine(
    angle: NDArray[Any], factor: NDArray[Any], shear: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the inverse of rotation · shear · factor, in degrees: (2, 2, B), for (x, y)."""
    turn, (along_x, along_y) = np.radians(angle), np.radians(shear)
    cos_y, tan_x = np.cos(along_y), np.tan(along_x)
    a, b = np.cos(turn - along_y) / cos_y, -np.cos(turn - along_y) * tan_x / cos_y - np.sin(turn)
    c, d = np.sin(turn - along_y) / cos_y, -np.sin(turn - along_y) * tan_x / cos_y + np.cos(turn)
    # the determinant of [[a, b], [c, d]] is 1
    inverse: NDArray[np.float64] = np.array([[d, -b], [-c, a]]) / factor
    return inverse


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
        check("Elastic", images)
        rng = generator("Elastic", rng)
        return in_floats(images, lambda floats: self._bent(floats, rng))

    def _bent(self, images: Floats, rng: np.random.Generator) -> Floats:
        B, _, H, W = images.shape
        noise = 2 * rng.random((2, B, H, W), images.dtype.type) - 1
        down, right = smooth(noise, self.sigma) * images.dtype.type(self.alpha)
        down += np.arange(H, dtype=images.dtype)[:, None]
        right += np.arange(W, dtype=images.dtype)
        return sample(images, down, right)
