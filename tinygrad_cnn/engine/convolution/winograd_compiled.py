"""Winograd convolution by compiled kernels, where the extra `fast` is installed.

The kernels are those of `engine.fast.winograd`: the same tiles, in smaller pieces.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_cnn.engine import fast
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.convolution.winograd import may_tile, tile_count
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.windows import Windows

layout = Layout.IMAGES_LAST
VECTOR = 8  # minimum images or channels: the values of a vector
FEWEST_TILES = 16  # of fewer images, so that the transform of the kernels pays
FEWEST = 6  # channels on either side, from which tiles pay


def takes(
    images: int, channels: int, out_channels: int, at: Windows, groups: int, dtype: np.dtype[Any]
) -> bool:
    """Return whether there are kernels for a convolution, which pay and may be used."""
    size = min(channels, out_channels)
    pays = images * tile_count(at) >= FEWEST_TILES and size >= VECTOR
    return (
        (images >= VECTOR or pays)
        and may_tile(size, FEWEST, at, groups, dtype)
        and fast.is_on()
        and _has_products()
    )


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C, 3, 3), plus `bias`, to `out`."""
    from tinygrad_cnn.engine.fast.running import run_rows
    from tinygrad_cnn.engine.fast.winograd_rows import TiledConvolution

    arranged = layout.memory(out).flags.c_contiguous
    y = out if arranged else layout.empty(out.shape, out.dtype)
    sizes = (x.shape[0], x.shape[1], w.shape[0], at, groups, x.dtype)
    if any(step % w.itemsize for step in w.strides):  # such as a field of a structured array
        w = np.ascontiguousarray(w)
    strides = _strides(w)
    arrays = [layout.arranged(x), w, y]
    if bias is not None:
        arrays.append(np.ascontiguousarray(bias))
    place = None if bias is None else len(arrays) - 1
    run_rows(
        ("convolve", sizes, strides, place),
        lambda rows: TiledConvolution(*sizes).forward(rows, 0, 1, strides, place, 2),
        arrays,
    )
    if not arranged:
        out[...] = y


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C, 3, 3), given `dy` (N, OC, OH, OW)."""
    from tinygrad_cnn.engine.fast.running import run_rows
    from tinygrad_cnn.engine.fast.winograd_rows import TiledConvolution

    dw = empty((dy.shape[1], x.shape[1], *at.kernel), x.dtype)
    sizes = (x.shape[0], x.shape[1], dy.shape[1], at, groups, x.dtype)
    strides = _strides(dw)
    run_rows(
        ("weight_gradient", sizes),
        lambda rows: TiledConvolution(*sizes).weight_gradient(rows, 0, 1, 2, strides),
        [layout.arranged(dy), layout.arranged(x), dw],
    )
    return dw


def _has_products() -> bool:
    from tinygrad_cnn.engine.fast.products import is_available

    return is_available()


def _strides(w: Array) -> tuple[int, int, int, int]:
    """Return the strides of weights, in values."""
    row, column, down, right = (step // w.itemsize for step in w.strides)
    return row, column, down, right
