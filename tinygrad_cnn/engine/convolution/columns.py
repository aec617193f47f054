"""The columns of im2col: the values of each window, as a row or a column of a matrix.

For a band of output pixels they are (G, P, K), or (G, K, P), and the K = KH·KW·C/G values of a
window are in one of two orders:

(KH, KW, C)   The order of the images in channels-last memory: a window is KH pieces of KW·C
              adjacent values.
(C, KH, KW)   The order of the kernels in memory. The images are copied to images-first memory,
              where OW values are adjacent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tinygrad_cnn.engine.arrays import Array, Shape
from tinygrad_cnn.engine.bands import Band
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.windows import Windows, inside

Gatherer: TypeAlias = Callable[[Band], Array]

layout = Layout.CHANNELS_LAST
FEW_CHANNELS = 8  # with fewer, OW values of a row are a longer stretch than KW·C of a window
SMALL_IMAGE = 1 << 15  # values; one assignment is faster than four up to here


def by_channel(channels: int, at: Windows) -> bool:
    """Return whether the values of a window are in the order (C, KH, KW), if not deep."""
    return channels < FEW_CHANNELS and at.kernel != (1, 1)


def gatherer(x: Array, at: Windows, groups: int, ones: bool = False) -> Gatherer:
    """Return the function of a band that returns its columns, (G, P, K), perhaps with ones."""
    if by_channel(x.shape[1] // groups, at):
        windows, width = _windows_by_channel(x, at, groups), at.columns.kernel

        def of_band(band: Band) -> Array:
            return _gathered_by_channel(windows, band, width, ones).swapaxes(1, 2)

        return of_band
    images = _windows(x, at, groups)
    return lambda band: _gathered(images, band)


def all_columns(x: Array, at: Windows) -> Array:
    """Return the columns of all pixels, (K, P), in the order of the kernels."""
    band = Band(0, at.rows.windows, 0, len(x))
    if at.kernel == (1, 1):  # the orders do not differ
        columns = _gathered(_windows(x, at, 1), band).swapaxes(1, 2)
    else:
        columns = _gathered_by_channel(_windows_by_channel(x, at, 1), band, at.columns.kernel)
    k = columns.shape[1]
    return columns.reshape(k, -1)


def _windows(x: Array, at: Windows, groups: int) -> Array:
    """Return a view of the padded images: (G, N, OH, OW, KH, KW, C/G)."""
    padded = _padded(x, at)
    (n, c, _, _), (image, channel, row, column) = padded.shape, padded.strides
    rows, columns, c = at.rows, at.columns, c // groups
    shape = (groups, n, *at.count, *at.kernel, c)
    strides = (channel * c, image, row * rows.stride, column * columns.stride,
               row * rows.dilation, column * columns.dilation, channel)  # fmt: skip
    memory = layout.memory(padded)
    if groups > 1:
        return _windows_of_groups(memory, at, shape)
    return np.ndarray(shape, memory.dtype, memory, 0, strides)  # as_strided checks no bounds


def _windows_of_groups(memory: Array, at: Windows, shape: Shape) -> Array:
    """Return the windows of padded memory (N, H, W, C), from a copy with the groups first.

    There the pixels of a group are adjacent, and a kernel row of a window is one piece of memory.
    """
    pixels = memory.view(f"V{shape[-1] * memory.itemsize}")  # (N, H, W, G), copied as single values
    memory = np.ascontiguousarray(pixels.transpose(3, 0, 1, 2)).view(memory.dtype)
    memory = memory.reshape(*memory.shape[:3], -1, shape[-1])  # (G, N, H, W, C/G)
    group, image, row, column, channel = memory.strides
    between = (image, row * at.rows.stride, column * at.columns.stride)
    in_window = (row * at.rows.dilation, column * at.columns.dilation)
    return np.ndarray(shape, memory.dtype, memory, 0, (group, *between, *in_window, channel))


def _padded(x: Array, at: Windows) -> Array:
    """Return images with their border, with the channels last."""
    if at.needs_no_border:
        return layout.arranged(x)
    padded = layout.empty((*x.shape[:2], at.rows.padded, at.columns.padded), x.dtype)
    (rows, of_rows), (columns, of_columns) = at.rows.seen, at.columns.seen
    if padded.size < SMALL_IMAGE:
        padded[...] = 0
    else:
        padded[:, :, : rows.start] = 0
        padded[:, :, rows.stop :] = 0
        padded[:, :, rows, : columns.start] = 0
        padded[:, :, rows, columns.stop :] = 0
    padded[:, :, rows, columns] = x[:, :, of_rows, of_columns]
    return padded


def _gathered(windows: Array, band: Band) -> Array:
    """Return the columns of a band, (G, P, K): a view if the images are already like this."""
    part = windows[:, band.first : band.last, band.top : band.bottom]
    k = part[0, 0, 0, 0].size
    if len(part) > 1 and part.shape[4:6] != (1, 1):
        rows = part.reshape(*part.shape[:5], -1)  # (G, N, OH, OW, KH, KW·C/G)
        rows = rows.view(f"V{rows.shape[-1] * rows.itemsize}")
        rows = np.ascontiguousarray(rows.reshape(len(part), part[0].size // k, -1))
        return rows.view(part.dtype)
    return part.reshape(len(part), part[0].size // k, k)


def _windows_by_channel(x: Array, at: Windows, groups: int) -> Array:
    """Return a view of the padded images: (G, C/G, KH, ⌈KW/s⌉, s, N, OH, OW).

    With a stride s, the columns of each of its phases are adjacent in memory: then OW values are.
    """
    (n, c, _, width), axis = x.shape, at.columns
    s = axis.stride if axis.dilation == 1 else 1
    steps, between = -(-axis.kernel // s), axis.stride // s
    length = max(between * (axis.windows - 1) + axis.dilation * (steps - 1) + 1, 1)
    padded = np.zeros((n, c, at.rows.padded, s, length), x.dtype)
    rows, of_rows = at.rows.seen
    for phase in range(s):
        offset = phase - axis.before
        low, high = inside(offset, s, width, 0, length)
        start, stop = low * s + offset, (high - 1) * s + offset + 1
        if high > low:
            padded[:, :, rows, phase, low:high] = x[:, :, of_rows, start:stop:s]
    image, channel, row, of_phase, column = padded.strides
    return np.ndarray(
        (groups, c // groups, at.rows.kernel, steps, s, n, *at.count),
        padded.dtype,
        padded,
        0,
        (channel * (c // groups), channel, row * at.rows.dilation, column * axis.dilation,
         of_phase, image, row * at.rows.stride, column * between),
    )  # fmt: skip


def _gathered_by_channel(windows: Array, band: Band, width: int, ones: int = 0) -> Array:
    """Return the columns of a band, (G, K, P), for kernels of `width` columns.

    They may be followed by `ones` rows of ones.
    """
    part = windows[..., band.first : band.last, band.top : band.bottom, :]
    groups, c, height, _, s, *pixels = part.shape
    k = c * height * width
    columns = empty((groups, k + ones, math.prod(pixels)), part.dtype)
    cells = view(columns[:, :k], (groups, c, height, width, *pixels))
    for phase in range(min(s, width)):
        of_phase = cells[:, :, :, phase::s]
        of_phase[...] = part[:, :, :, : of_phase.shape[3], phase]
    columns[:, k:] = 1
    return columns
