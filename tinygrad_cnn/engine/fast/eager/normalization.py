"""Normalization of arrays by compiled kernels: the functions of `engine.normalization`.

They suit arrays that are (pixels, channels, run) in memory, with statistics for each channel and
runs of some values: images with the images last, or images first.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tinygrad_cnn.engine import memory
from tinygrad_cnn.engine.arrays import Array, Shape
from tinygrad_cnn.engine.fast import normalization as kernels
from tinygrad_cnn.engine.fast.eager.running import run
from tinygrad_cnn.engine.fast.kernel import PieceIndex, Reals, Whole, kernel
from tinygrad_cnn.engine.threads import BYTE

RUN = 8  # values of a run


class _Cube(NamedTuple):
    """How the kernels see an array, and the pieces of its pixels."""

    pixels: int
    channels: int
    run: int
    each: int
    pieces: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.pixels, self.channels, self.run


@lru_cache(maxsize=1024)
def _cube(shape: Shape, strides: Shape, itemsize: int, kept: Shape) -> _Cube | None:
    """Return the cube of an array with statistics of shape `kept`; None if it is none."""
    order = sorted(range(len(shape)), key=lambda k: (-abs(strides[k]), -shape[k]))
    step = itemsize
    for k in reversed(order):
        if shape[k] > 1 and strides[k] != step:
            return None
        step *= shape[k]
    order = [k for k in order if shape[k] > 1]
    own = [place for place, k in enumerate(order) if kept[k] == shape[k]]
    if len(own) != 1 or math.prod(kept) != shape[order[own[0]]]:
        return None
    lengths, at = [shape[k] for k in order], own[0]
    pixels, length = math.prod(lengths[:at]), math.prod(lengths[at + 1 :])
    if length < RUN:
        return None
    each = kernels.pixels_of_piece(pixels, lengths[at] * length)
    return _Cube(pixels, lengths[at], length, each, -(-pixels // each))


def _seen(x: Array, *few: Array | None) -> _Cube | None:
    """Return how the kernels see `x`, given arrays with a value for each channel, if they do."""
    given = [values for values in few if values is not None]
    kept = given[0].shape
    for values in given:
        if values.shape != kept or values.dtype != x.dtype or not values.flags.c_contiguous:
            return None
    return _cube(x.shape, x.strides, x.itemsize, kept)


def statistics(x: Array, found: Array, eps: float) -> bool:
    """Write the rows of `statistics` to `found`, of shape (4, ...); return False if NumPy is to."""
    cube = _seen(x, found[0])
    if cube is None:
        return False
    sums = memory.empty((cube.pieces * cube.channels * 2,), x.dtype)
    run(kernels.channel_sums, x, sums, *cube.sizes, cube.each, pieces=cube.pieces,
        work=BYTE * x.nbytes, scratch=cube.channels)  # fmt: skip
    run(kernels.channel_statistics, x, sums, found, cube.pieces, *cube.sizes, cube.channels, 1,
        eps)  # fmt: skip
    return True


def normalized(x: Array, found: Array, w: Array | None, bias: Array | None) -> Array | None:
    """Return (x − μ) / σ·w + bias, or None."""
    cube = _seen(x, found[0], w, bias)
    if cube is None or not found.flags.c_contiguous:
        return None
    y = memory.empty_like(x)
    few = x if w is None else w, x if bias is None else bias
    run(kernels.normalized_channels, x, found, *few, y, int(w is not None), int(bias is not None),
        -math.inf, math.inf, *cube.sizes, cube.channels, 1, cube.each, pieces=cube.pieces,
        work=2 * BYTE * x.nbytes, scratch=3 * cube.channels)  # fmt: skip
    return y


def moments(g: Array, x: Array, found: Array) -> Array | None:
    """Return Σ g and Σ g·(x − μ)/σ of each channel, stacked, or None."""
    cube = _seen(x, found[0])
    if cube is None or g.strides != x.strides or not found.flags.c_contiguous:
        return None
    sums = memory.empty((cube.pieces * cube.channels * 2,), x.dtype)
    result = np.empty((2, *found.shape[1:]), x.dtype)
    run(kernels.gradient_sums, g, x, found, x, x, sums, 0, 0, 0, -math.inf, math.inf, *cube.sizes,
        cube.channels, 1, cube.each, pieces=cube.pieces, work=2 * BYTE * x.nbytes,
        scratch=4 * cube.channels)  # fmt: skip
    run(kernels.channel_moments, sums, result, cube.pieces, cube.channels, cube.channels, 1)
    return result


def input_gradient(
    g: Array, x: Array, found: Array, slope: Array, w: Array | None, p: Array, q: Array
) -> Array | None:
    """Return slope·(w·g − p − (x − μ)/σ·q), or None."""
    cube = _seen(x, found[0], slope, w, p, q)
    if cube is None or g.strides != x.strides:
        return None
    with np.errstate(all="ignore"):
        few = np.stack(
            [found[0], slope if w is None else slope * w, slope / found[1] * q, slope * p]
        )
    dx = memory.empty_like(x)
    run(combined_channels, g, x, few, dx, *cube.sizes, cube.each, pieces=cube.pieces,
        work=3 * BYTE * x.nbytes)  # fmt: skip
    return dx


@kernel
def combined_channels(
    g: Reals, x: Reals, few: Reals, dx: Reals, pixels: Whole, channels: Whole, run: Whole,
    each: Whole, piece: PieceIndex,
) -> None:  # fmt: skip
    """Compute a·g − b·(x − μ) − c, with μ, a, b and c of each channel in the rows of `few`."""
    for p in range(piece * each, min(pixels, piece * each + each)):
        for c in range(channels):
            start, center, slope = (p * channels + c) * run, few[c], few[channels + c]
            tilt, level = few[2 * channels + c], few[3 * channels + c]
            for i in range(start, start + run):
                dx[i] = slope * g[i] - tilt * (x[i] - center) - level
