"""Arrays embedded in the page: base64 bytes, without duplicates, and statistics."""

from __future__ import annotations

import base64
import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_cnn.drawing.graph import Statistics

__all__ = ["EXACT", "LARGEST", "EmbeddedArrays"]

EXACT = 2**16
"""The most elements of an array that is embedded exactly."""

LARGEST = 2**18
"""The most elements embedded; longer arrays are cut along their first axis longer than 1."""

_LEVELS = 127  # on each side of zero: code 128 is 0, code 0 is NaN


class EmbeddedArrays:
    """The arrays of a page; equal arrays are stored once.

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
        self.encoded: list[dict[str, Any]] = []
        self._places: dict[bytes, int] = {}

    def add(self, array: NDArray[Any] | None) -> int | None:
        """Add an array to `encoded` and return its index; None for None."""
        if array is None:
            return None
        values = _real(array)
        key = hashlib.sha256(repr((values.shape, values.dtype.str)).encode() + values.tobytes())
        place = self._places.setdefault(key.digest(), len(self.encoded))
        if place == len(self.encoded):
            self.encoded.append(_encoded(values))
        return place


def _real(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as little-endian float32 or float64; for complex values, |x|."""
    values = np.abs(array) if np.iscomplexobj(array) else np.asarray(array)
    wide = values.dtype.itemsize > 4 or values.dtype.kind in "iu"
    return np.ascontiguousarray(values, "<f8" if wide else "<f4").reshape(values.shape)


def _encoded(values: NDArray[Any]) -> dict[str, Any]:
    statistics = Statistics.of(values)
    kept = values
    if values.size > LARGEST:
        axis = next(axis for axis, size in enumerate(values.shape) if size > 1)
        part = max(1, LARGEST // math.prod(values.shape[axis + 1 :]))
        kept = values[(slice(None),) * axis + (slice(part),)]
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
    if values.size <= EXACT:
        return entry | {"dtype": values.dtype.name, "bytes": _text(kept)}
    largest = max(abs(statistics.minimum or 0.0), abs(statistics.maximum or 0.0))
    scale = largest / _LEVELS or 1.0
    levels = np.clip(np.rint(kept / scale), -_LEVELS, _LEVELS)
    codes = np.where(np.isnan(levels), 0, levels + 128).astype(np.uint8)
    return entry | {"dtype": "uint8", "scale": scale, "bytes": _text(codes)}


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
