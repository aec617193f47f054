"""Transforms that select or rearrange pixels: crops, flips, shifts, erased rectangles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.core.random import generator
from tinygrad_cnn.data.transforms.base import Images, as_pixels, check, height_and_width, interval
from tinygrad_cnn.support.arguments import choice, flag, number, share, whole

__all__ = [
    "CenterCrop",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "Shift",
]

_ATTEMPTS = 10  # rectangles drawn for an image until one fits


@dataclass(frozen=True)
class CenterCrop:
    """Cut out the center of each image.

    Parameters
    ----------
    size : int or tuple (H, W)
        The size of the result. A smaller image is surrounded with zeros.

    Raises
    ------
    ValueError
        If `size` is not positive.

    Examples
    --------
    >>> CenterCrop(1)(np.arange(9.0).reshape(1, 1, 3, 3))
    array([[[[4.]]]])
    """

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        height_and_width("CenterCrop", self.size)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Crop a batch (B, C, H, W); `rng` is not used."""
        check("CenterCrop", images)
        size = height_and_width("CenterCrop", self.size)
        lacking = [max(0, to - n) for to, n in zip(size, images.shape[2:], strict=True)]
        if any(lacking):
            sides = [(n // 2, n - n // 2) for n in lacking]
            images = np.pad(images, ((0, 0), (0, 0), *sides))
        # rounded to even, as torchvision does
        top, left = (round((n - to) / 2) for to, n in zip(size, images.shape[2:], strict=True))
        return images[:, :, top : top + size[0], left : left + size[1]].copy()


@dataclass(frozen=True)
class RandomCrop:
    """Cut out each image at a random place.

    Parameters
    ----------
    size : int or tuple (H, W)
        The size of the result.
    padding : int or sequence of 2 or 4 ints, optional
        The border to add before: on all sides, (left and right, top and bottom), or (left, top,
        right, bottom).
    pad_if_needed : bool
        Whether to enlarge images that are smaller than `size`, on both sides as much as needed.
    fill : float
        The value of added pixels.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
        What to add: `fill`, the pixels at the edge, or the mirrored image.

    Raises
    ------
    ValueError
        If an argument is out of range, or an image is smaller than `size`.

    Examples
    --------
    >>> RandomCrop(28, padding=2)(np.ones((64, 1, 28, 28), np.float32)).shape
    (64, 1, 28, 28)
    """

    size: int | tuple[int, int]
    padding: int | tuple[int, ...] | None = None
    pad_if_needed: bool = False
    fill: float = 0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        height_and_width("RandomCrop", self.size)
        given = self.padding if isinstance(self.padding, Sequence) else (self.padding or 0,)
        if len(given) not in (1, 2, 4):
            raise ValueError(
                f"RandomCrop: padding is {self.padding!r}, expected an integer, 2 or 4 of them"
            )
        for value in given:
            whole("RandomCrop", "padding", value, 0)
        flag("RandomCrop", "pad_if_needed", self.pad_if_needed)
        number("RandomCrop", "fill", self.fill, -math.inf)
        modes = ("constant", "edge", "reflect", "symmetric")
        choice("RandomCrop", "padding_mode", self.padding_mode, modes)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Crop a batch (B, C, H, W)."""
        check("RandomCrop", images)
        size = height_and_width("RandomCrop", self.size)
        given = self.padding if isinstance(self.padding, Sequence) else (self.padding or 0,)
        left, top, right, bottom = tuple(given) * (4 // len(given))
        sides = [(top, bottom), (left, right)]
        if self.pad_if_needed:
            for axis, (before, after) in enumerate(sides):
                lacking = max(0, size[axis] - images.shape[2 + axis] - before - after)
                sides[axis] = before + lacking, after + lacking
        if any(map(any, sides)):
            mode: Any = self.padding_mode
            color = as_pixels(self.fill, images.dtype)
            fill = {"constant_values": color} if mode == "constant" else {}
            images = np.pad(images, ((0, 0), (0, 0), *sides), mode, **fill)
        H, W = images.shape[2:]
        height, width = size
        if height > H or width > W:
            raise ValueError(
                f"RandomCrop: images are {H}x{W} with their padding, smaller than the size "
                f"{height}x{width}; expected larger ones, padding or pad_if_needed=True"
            )
        rng = generator("RandomCrop", rng)
        tops = rng.integers(H - height + 1, size=len(images))
        lefts = rng.integers(W - width + 1, size=len(images))
        return cut(images, tops, lefts, size)


def cut(
    images: Images, tops: NDArray[np.intp], lefts: NDArray[np.intp], size: tuple[int, int]
) -> Images:
    """Return the window of each image (B, C, H, W) with this corner and size."""
    # (B, C, H-h+1, W-w+1, h, w)
    windows = np.lib.stride_tricks.sliding_window_view(images, size, axis=(2, 3))
    chosen: Images = windows[np.arange(len(images)), :, tops, lefts]
    return chosen


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
        check("Shift", images)
        m = self.max_pixels
        rows, columns = generator("Shift", rng).integers(2 * m + 1, size=(2, len(images)))
        padded = np.pad(images, ((0, 0), (0, 0), (m, m), (m, m)))
        return cut(padded, 2 * m - rows, 2 * m - columns, images.shape[2:])


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Flip each image left to right at random.

    Parameters
    ----------
    p : float
        The probability of a flip.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1].

    Examples
    --------
    >>> RandomHorizontalFlip(p=1.0)(np.array([[[[1.0, 2.0]]]]))
    array([[[[2., 1.]]]])
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        share("RandomHorizontalFlip", "p", self.p)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Flip a batch (B, C, H, W)."""
        check("RandomHorizontalFlip", images)
        mirrored = _chosen("RandomHorizontalFlip", images, rng, self.p)
        return _replaced(images, images[..., ::-1], mirrored)


@dataclass(frozen=True)
class RandomVerticalFlip:
    """Flip each image top to bottom at random.

    Parameters
    ----------
    p : float
        The probability of a flip.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1].

    Examples
    --------
    >>> RandomVerticalFlip(p=1.0)(np.array([[[[1.0], [2.0]]]]))
    array([[[[2.],
             [1.]]]])
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        share("RandomVerticalFlip", "p", self.p)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Flip a batch (B, C, H, W)."""
        check("RandomVerticalFlip", images)
        mirrored = _chosen("RandomVerticalFlip", images, rng, self.p)
        return _replaced(images, images[:, :, ::-1], mirrored)


def _chosen(
    name: str, images: Images, rng: np.random.Generator | None, p: float
) -> NDArray[np.bool_]:
    """Draw which images to change: (B, 1, 1, 1)."""
    return generator(name, rng).random((len(images), 1, 1, 1)) < p


def _replaced(images: Images, others: Images, chosen: NDArray[np.bool_]) -> Images:
    """Return `images` with the chosen ones from `others`; one by one is faster than a mask."""
    result = np.empty_like(images)
    for i, other in enumerate(chosen.ravel().tolist()):
        result[i] = others[i] if other else images[i]
    return result


@dataclass(frozen=True)
class RandomErasing:
    """Overwrite a random rectangle of each image (Zhong et al. 2020).

    Parameters
    ----------
    p : float
        The probability of erasing.
    scale : tuple (low, high)
        The area of the rectangle, as a fraction of the image.
    ratio : tuple (low, high)
        Its height divided by its width; the logarithm is uniformly distributed. If ten rectangles
        in a row do not fit into the image, it stays as it is.
    value : float, sequence of float or "random"
        The new value, or one per channel; or noise for each pixel: normal for floats, uniform for
        uint8.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Z. Zhong, L. Zheng, G. Kang, S. Li, Y. Yang, "Random erasing data augmentation", AAAI 2020.

    Examples
    --------
    >>> erased = RandomErasing(p=1.0)(np.ones((8, 3, 32, 32)), np.random.default_rng(0))
    >>> (1 - erased.mean(axis=(1, 2, 3))).round(2)
    array([0.19, 0.31, 0.27, 0.02, 0.3 , 0.04, 0.25, 0.07])
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: float | tuple[float, ...] | str = 0

    def __post_init__(self) -> None:
        share("RandomErasing", "p", self.p)
        interval("RandomErasing", "scale", tuple(self.scale), 0, below=math.nextafter(1, 2))
        interval("RandomErasing", "ratio", tuple(self.ratio), math.nextafter(0, 1))
        if isinstance(self.value, str):
            choice("RandomErasing", "value", self.value, ("random",))
        elif isinstance(self.value, Sequence):
            for i, part in enumerate(self.value):
                number("RandomErasing", f"value[{i}]", part, -math.inf)
        else:
            number("RandomErasing", "value", self.value, -math.inf)

    def __call__(self, images: Images, rng: np.random.Generator | None = None) -> Images:
        """Erase in a batch (B, C, H, W)."""
        check("RandomErasing", images)
        rng = generator("RandomErasing", rng)
        B, _, H, W = images.shape
        chosen = _chosen("RandomErasing", images, rng, self.p)
        low, high = self.ratio
        area = H * W * rng.uniform(*self.scale, (_ATTEMPTS, B))
        ratio = np.exp(rng.uniform(math.log(low), math.log(high), (_ATTEMPTS, B)))
        heights, widths = (
            np.rint(np.sqrt(side)).astype(int) for side in (area * ratio, area / ratio)
        )
        fits = (heights < H) & (widths < W)
        first = fits.argmax(axis=0), np.arange(B)
        height, width = np.where(fits[first], (heights[first], widths[first]), 0)
        erased = chosen & rectangles(
            rng.integers(H - height + 1), rng.integers(W - width + 1), height, width, (H, W)
        )
        return np.where(erased, self._values(images, rng), images)

    def _values(self, images: Images, rng: np.random.Generator) -> Images:
        """Return the new values, (B, C, H, W) or (C, 1, 1)."""
        if self.value == "random":
            if images.dtype == np.uint8:
                return rng.integers(256, size=images.shape, dtype=np.uint8)
            return rng.standard_normal(images.shape, images.dtype.type)
        values = as_pixels(self.value, images.dtype).reshape(-1, 1, 1)
        if len(values) not in (1, images.shape[1]):
            raise ValueError(
                f"RandomErasing: images of shape {images.shape} have {images.shape[1]} channels; "
                f"value has {len(values)}"
            )
        return values


def rectangles(
    top: NDArray[Any],
    left: NDArray[Any],
    height: NDArray[Any],
    width: NDArray[Any],
    size: tuple[int, int],
) -> NDArray[np.bool_]:
    """Return a mask (B, 1, H, W): True inside the rectangle of each image."""

    def inside(start: NDArray[Any], length: NDArray[Any], n: int) -> NDArray[np.bool_]:
        place = np.arange(n) - start[:, None]
        within: NDArray[np.bool_] = (place >= 0) & (place < length[:, None])
        return within

    rows, columns = inside(top, height, size[0]), inside(left, width, size[1])
    mask: NDArray[np.bool_] = (rows[:, :, None] & columns[:, None, :])[:, None]
    return mask
