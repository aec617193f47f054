"""Winograd's tiles of F(4×4, 3×3): their sizes and points, and where they pay."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn.engine.configuration import configuration
from tinygrad_cnn.engine.windows import Windows

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # and infinity
OUT, IN = 4, 6  # outputs and inputs of a tile, along an axis
VECTOR = 8  # minimum images or channels for compiled kernels: the values of a vector
FEWEST_TILES = 16  # of fewer images, so that the transform of the kernels pays
FEWEST = 6  # channels on either side, from which tiles pay in compiled kernels


def may_tile(size: int, fewest: int, at: Windows, groups: int, dtype: np.dtype[Any]) -> bool:
    """Return whether tiles fit the windows, pay, and add only a few rounding errors.

    They pay from `fewest` of `size` on, and if they save a quarter of the products.
    """
    plain = all(
        (axis.kernel, axis.stride, axis.dilation) == (3, 1, 1) and 0 <= axis.before <= 2
        for axis in (at.rows, at.columns)
    )
    return (
        plain
        and dtype == np.float32
        and groups == 1
        and size >= fewest
        and configuration.get().winograd
        and 4 * IN**2 * tile_count(at) <= 3 * 9 * math.prod(at.count)
    )


def tile_count(at: Windows) -> int:
    """Return the number of tiles of an image."""
    return math.prod([-(-count // OUT) for count in at.count])


def may_tile_compiled(
    images: int, channels: int, out_channels: int, at: Windows, groups: int, dtype: np.dtype[Any]
) -> bool:
    """Return whether tiles pay if compiled kernels compute them."""
    size = min(channels, out_channels)
    pays = images * tile_count(at) >= FEWEST_TILES and size >= VECTOR
    return (images >= VECTOR or pays) and may_tile(size, FEWEST, at, groups, dtype)
