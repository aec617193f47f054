"""JSON encoding of arrays and inputs."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import TypedDict

from tinygrad_cnn.studio.image_sets import IMAGE_SETS

__all__ = ["Maps", "decode", "decode_input", "encode", "encode_input"]

_by_size = {math.prod(images.input_shape): images.input_shape for images in IMAGE_SETS.values()}


class Maps(TypedDict):
    """An array as its shape, its range and a byte an entry.

    An entry is low + (high − low)·byte/255: off by at most a 510th of the range.
    """

    shape: list[int]
    low: float
    high: float
    bytes: str


def encode(array: ArrayLike, within: tuple[float, float] | None = None) -> Maps:
    """Encode an array of finite numbers for JSON, rounded to 256 levels of its range.

    Parameters
    ----------
    array : array_like
        An array of any shape.
    within : tuple of float, optional
        A range instead of that of the entries, which are clipped to it.

    Returns
    -------
    dict
        ``shape``, ``low``, ``high`` and ``bytes``: base64 of a byte per entry, in C order.

    Raises
    ------
    ValueError
        If an entry, or the difference of two entries, is not finite.

    Examples
    --------
    >>> encode([[0.0, 1.0], [2.0, 51.0]])
    {'shape': [2, 2], 'low': 0.0, 'high': 51.0, 'bytes': 'AAUK/w=='}
    """
    values = np.asarray(array, np.float64)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not math.isfinite(high - low):
        raise ValueError(f"encode: the entries go from {low} to {high}, expected finite numbers")
    if within is not None:
        low, high = within
        values = values.clip(low, high)
    levels = (values - low) / (high - low) * 255 if high > low else np.zeros(values.shape)
    codes = np.rint(levels).astype(np.uint8)
    text = base64.b64encode(codes.tobytes()).decode("ascii")
    return Maps(shape=list(values.shape), low=low, high=high, bytes=text)


def decode(maps: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the array passed to `encode`, rounded to its 256 levels.

    Examples
    --------
    >>> decode(encode([[0.0, 1.0], [2.0, 51.0]]))
    array([[ 0.,  1.],
           [ 2., 51.]])
    """
    codes = np.frombuffer(base64.b64decode(maps["bytes"], validate=True), np.uint8)
    low, high = maps["low"], maps["high"]
    values: NDArray[np.float64] = low + (high - low) * codes.reshape(maps["shape"]) / 255.0
    return values


def encode_input(image: NDArray[np.uint8]) -> str:
    """Encode a network's input, bytes of shape (C, H, W) or (H, W), as base64.

    Raises
    ------
    ValueError
        If no image set has images of this shape.

    Examples
    --------
    >>> len(encode_input(np.zeros((28, 28), np.uint8)))
    1048
    """
    if image.dtype != np.uint8 or _by_size.get(image.size) not in (image.shape, (1, *image.shape)):
        raise ValueError(
            f"encode_input: got {image.dtype} of shape {image.shape}, expected uint8 of shape "
            f"{' or '.join(map(str, _by_size.values()))}"
        )
    return base64.b64encode(image.tobytes()).decode("ascii")


def decode_input(text: str) -> NDArray[np.uint8]:
    """Decode an input of shape (C, H, W) from base64; the URL-safe alphabet is accepted too.

    Raises
    ------
    ValueError
        If the text is not base64 of as many bytes as the images of a set have.

    Examples
    --------
    >>> decode_input(encode_input(np.zeros((28, 28), np.uint8))).shape
    (1, 28, 28)
    """
    try:
        plain = text.translate({ord("-"): "+", ord("_"): "/"})
        contents = base64.b64decode(plain.ljust(-(-len(plain) // 4) * 4, "="), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the input is not base64") from None
    shape = _by_size.get(len(contents))
    if shape is None:
        sizes = (f"{'×'.join(map(str, shape))} = {size}" for size, shape in _by_size.items())
        raise ValueError(f"the input is {len(contents)} bytes, expected {' or '.join(sizes)}")
    return np.frombuffer(contents, np.uint8).reshape(shape)
