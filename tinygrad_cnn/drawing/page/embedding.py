"""Arrays embedded in the page: base64 bytes, without duplicates, and statistics."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.drawing.graph import Statistics

__all__ = ["EXACT", "LARGEST", "EmbeddedArrays"]

EXACT = 2**15
"""The most elements of an array that is embedded exactly."""

LARGEST = 2**18
"""The most elements embedded; longer arrays are cut along their first axes."""

MOST = 2_400_000
"""The most bytes of all arrays together: above it, `EXACT` and then `LARGEST` are halved."""

_MAP = 8
"""A map is kept whole up to this many times `LARGEST`: part of a picture shows little."""

_LEAST = 1024  # EXACT is halved down to this before LARGEST is

_LEVELS = 127  # on each side of zero: code 128 is 0, code 0 is NaN


class EmbeddedArrays:
    """The arrays of a page; equal arrays are stored once, within `MOST` bytes.

    Attributes
    ----------
    encoded : list of dict
        JSON values, each with the ``"shape"`` of the array, the shape of the ``"kept"`` part with
        its ``"dtype"`` and ``"bytes"``, and the array's `Statistics`. The dtypes float32 and
        float64 hold the values themselves; uint8 holds codes: value = (code − 128) · ``"scale"``.

    Examples
    --------
    >>> embedding = EmbeddedArrays()
    >>> [embedding.add(np.array(values)) for values in ([1.0, 2.0], [0.0], [1.0, 2.0])]
    [0, 1, 0]
    >>> embedding.encoded[0]["bytes"]
    'AAAAAAAA8D8AAAAAAAAAQA=='
    """

    def __init__(self) -> None:
        self._values: list[NDArray[Any]] = []
        self._places: dict[bytes, int] = {}

    def add(self, array: NDArray[Any] | None) -> int | None:
        """Add an array to `encoded` and return its index; None for None."""
        if array is None:
            return None
        values = _real(array)
        key = hashlib.sha256(repr((values.shape, values.dtype.str)).encode() + values.tobytes())
        place = self._places.setdefault(key.digest(), len(self._values))
        if place == len(self._values):
            self._values.append(values)
        return place

    @property
    def encoded(self) -> list[dict[str, Any]]:
        """The arrays as JSON values, thinned to fit."""
        for exact, largest in _limits():
            if sum(_bytes(values, exact, largest) for values in self._values) <= MOST:
                break
        return [_encoded(values, exact, largest) for values in self._values]


def _limits() -> Iterator[tuple[int, int]]:
    """Yield `EXACT` and `LARGEST`, then smaller and smaller ones."""
    exact, largest = EXACT, LARGEST
    yield exact, largest
    while largest > 1:
        if exact > min(_LEAST, largest // 2):
            exact //= 2
        else:
            largest //= 2
        yield exact, largest


def _bytes(values: NDArray[Any], exact: int, largest: int) -> int:
    return values.nbytes if values.size <= exact else min(values.size, _most(values, largest))


def _most(values: NDArray[Any], largest: int) -> int:
    """Return how many elements to keep: at least one map, unless that is very large."""
    one = math.prod(values.shape[-2:]) if values.ndim > 2 else 0
    return one if largest < one <= _MAP * largest else largest


def _real(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as little-endian float32 or float64; for complex values, |x|."""
    values = np.abs(array) if np.iscomplexobj(array) else np.asarray(array)
    wide = values.dtype.itemsize > 4 or values.dtype.kind in "iu"
    return np.ascontiguousarray(values, "<f8" if wide else "<f4").reshape(values.shape)


def _encoded(values: NDArray[Any], exact: int, largest: int) -> dict[str, Any]:
    statistics = Statistics.of(values)
    kept = values
    largest = _most(values, largest)
    if values.size > max(exact, largest):
        for axis, size in enumerate(values.shape):
            inner = math.prod(values.shape[axis + 1 :])
            part = min(size, max(1, largest // inner))
            kept = kept[(slice(None),) * axis + (slice(part),)]
            if kept.size <= largest:
                break
    entry: dict[str, Any] = {
        "shape": list(values.shape),
        "kept": list(kept.shape),
        "minimum": statistics.minimum,
        "maximum": statistics.maximum,
        "norm": statistics.norm,
        "zero": statistics.zero,
        "nan": statistics.nan,
        "infinite": statistics.infinite,
    }
    if values.size <= exact:
        return entry | {"dtype": values.dtype.name, "bytes": _text(kept)}
    highest = max(abs(statistics.minimum or 0.0), abs(statistics.maximum or 0.0))
    scale = highest / _LEVELS or 1.0
    levels = np.clip(np.rint(kept / scale), -_LEVELS, _LEVELS)
    codes = np.where(np.isnan(levels), 0, levels + 128).astype(np.uint8)
    return entry | {"dtype": "uint8", "scale": scale, "bytes": _text(codes)}


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
