"""Winograd convolution of few images: all tiles of a band are the rows of 36 products.

With the channels last in memory, (N, H, W, C), the 36 values of the tiles of a band are matrices of
one row per tile. With T tile rows of S tiles, of all images of the band,

    V (36, tiles, C)  ·  U (36, C, OC)   →   M (36, tiles, OC)

takes 36 large products, whereas a product per tile and its images (see `winograd`, where the
matrices and their derivation are) would have N columns. For every transform to act on an axis
outside (S, C), the columns of the tiles are gathered by their place in the tile:

    x      →  E (4T + 2, 6, S·C)          E[h, j, (s, c)] = x[h, 4s + j − padding, c]
    —Bᵀ, columns→   (4T + 2, 6, S·C)  —Bᵀ, rows→  V (6, 6, T, S·C)
    M      —Aᵀ, rows→  (T, 4, 6, S·OC)  —Aᵀ, columns→  (T, 4, 4, S·OC)  →  y
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array
from tinygrad_cnn.engine.bands import CACHE, NARROWEST, Band, part_count, small_products
from tinygrad_cnn.engine.convolution.winograd import transforms
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty
from tinygrad_cnn.engine.tiling import IN, OUT
from tinygrad_cnn.engine.windows import Windows, inside

layout = Layout.CHANNELS_LAST
TILES = 96  # tiles of a band at least, if there are so many
KERNEL_BYTES = 1 << 22  # of the transformed kernels of a block of output channels


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C, 3, 3), plus `bias`, to `out`."""
    memory, target = layout.memory(layout.arranged(x)), layout.memory(out)
    (n, *_, oc), c = target.shape, x.shape[1]
    pieces = _bands(n, at, (c + oc) * x.itemsize)
    blocks = _blocks(oc, c * x.itemsize)
    operations = out.size * w[0].size // 4
    if len(blocks) == 1:
        kernels = _kernels(w, blocks[0])

        def piece(i: int) -> None:
            _write(_values(memory, at, pieces[i]), kernels, bias, target, pieces[i])

        threads.run(piece, len(pieces), operations)
        return
    values: list[Array | None] = [None] * len(pieces)

    def transform(i: int) -> None:
        values[i] = _values(memory, at, pieces[i])

    def block(i: int) -> None:
        kernels, some = _kernels(w, blocks[i]), target[..., blocks[i]]
        of_block = None if bias is None else bias[blocks[i]]
        for band, of_band in zip(pieces, values, strict=True):
            assert of_band is not None
            _write(of_band, kernels, of_block, some, band)

    threads.run(transform, len(pieces), x.size * IN)
    threads.run(block, len(blocks), operations)


def _write(values: Array, kernels: Array, bias: Array | None, target: Array, band: Band) -> None:
    """Write the outputs of a band's tiles: A applied to V · U along both axes."""
    ow, oc = target.shape[2:]
    back, _, _ = transforms(OUT, values.dtype)
    tiles = -(-ow // OUT)
    count = small_products(values.shape[1], values.shape[2] * oc, NARROWEST)
    values = values.reshape(IN * IN, count, -1, values.shape[2])
    products = empty((*values.shape[:3], oc), values.dtype)
    np.matmul(values, kernels[:, np.newaxis], out=products)
    stack = products.reshape(IN, IN, band.images, band.rows, tiles * oc).transpose(2, 3, 1, 0, 4)
    half = empty((band.images, band.rows, OUT, IN, tiles * oc), values.dtype)
    np.matmul(back, stack, out=half.swapaxes(2, 3))
    cells = empty((band.images, band.rows, OUT, OUT, tiles * oc), values.dtype)
    np.matmul(back, half, out=cells)
    if bias is not None:
        cells += np.tile(bias, tiles)
    cells = cells.reshape(band.images, band.rows * OUT, OUT, tiles, oc)
    y = target[band.first : band.last, band.top * OUT : band.bottom * OUT]
    for j in range(min(OUT, ow)):
        columns = y[:, :, j::OUT]
        columns[...] = cells[:, : y.shape[1], j, : columns.shape[2]]


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C, 3, 3), given `dy` (N, OC, OH, OW)."""
    memory, gradient = layout.memory(layout.arranged(x)), layout.memory(layout.arranged(dy))
    (n, *_, oc), c = gradient.shape, x.shape[1]
    back, _, g = transforms(IN + 1 - OUT, x.dtype)
    pieces = _bands(n, at, (c + oc) * x.itemsize)
    size = IN * IN * oc * c * x.itemsize
    parts = empty((part_count(len(pieces), size), IN * IN, oc, c), x.dtype)

    def piece(i: int) -> None:
        for k in range(i, len(pieces), len(parts)):
            values = _values(memory, at, pieces[k])
            seen = _grown(gradient, g, pieces[k]).swapaxes(1, 2)
            if k == i:
                np.matmul(seen, values, out=parts[i])
            else:
                parts[i] += np.matmul(seen, values)

    threads.run(piece, len(parts), dy.size * c * 9 // 4)
    total = parts[0] if len(parts) == 1 else parts.sum(axis=0)
    matrix = total.reshape(IN * IN, oc * c).T
    return threads.matmul(matrix, np.kron(back, back).T).reshape(oc, c, 3, 3)


def _kernels(w: Array, block: slice) -> Array:
    """Return U = (G ⊗ G) · w for some output channels, (36, C, OC).

    Kernels turned for an input gradient are not copied.
    """
    _, _, g = transforms(OUT, w.dtype)
    (oc, c), turned = w[block].shape[:2], w.swapaxes(0, 1)[:, :, ::-1, ::-1]
    kernels = empty((IN * IN, c, oc), w.dtype)
    if turned.flags.c_contiguous:
        g, cells = g[:, ::-1], turned[:, block].reshape(c, oc, 9).swapaxes(1, 2)
    else:
        cells = np.ascontiguousarray(w[block].reshape(oc, c * 9).T).reshape(c, 9, oc)
    np.matmul(np.kron(g, g), cells, out=kernels.swapaxes(0, 1))
    return kernels


@lru_cache(maxsize=1024)
def _blocks(channels: int, kernel_bytes: int) -> tuple[slice, ...]:
    """Return blocks of output channels, whose kernels are transformed by one thread."""
    step = max(NARROWEST, KERNEL_BYTES // (IN * IN * kernel_bytes) // NARROWEST * NARROWEST)
    return tuple(slice(i, min(i + step, channels)) for i in range(0, channels, step))


def _values(memory: Array, at: Windows, band: Band) -> Array:
    """Return V: the values of all tiles of a band, (36, images·T·S, C)."""
    _, b, _ = transforms(OUT, memory.dtype)
    (tall, tiles), c = (OUT * band.rows + IN - OUT, -(-at.columns.windows // OUT)), memory.shape[3]
    cells = empty((band.images, tall, IN, tiles, c), memory.dtype)
    top = band.top * OUT - at.rows.before
    _gather(memory[band.first : band.last], cells, top, at.columns.before)
    spread = empty((band.images, tall, IN, tiles * c), memory.dtype)
    np.matmul(b, cells.reshape(spread.shape), out=spread)
    image, row, column, value = spread.strides
    windows = as_strided(
        spread,
        (band.images, band.rows, IN, IN, tiles * c),
        (image, OUT * row, column, row, value),
        writeable=False,
    )
    values = empty((IN, IN, band.images, band.rows, tiles * c), memory.dtype)
    np.matmul(b, windows, out=values.transpose(2, 3, 1, 0, 4))
    return values.reshape(IN * IN, band.images * band.rows * tiles, c)


def _grown(gradient: Array, g: Array, band: Band) -> Array:
    """Return G times the tiles of dy along both axes: (36, images·T·S, OC)."""
    oc, tiles = gradient.shape[3], -(-gradient.shape[2] // OUT)
    cells = empty((band.images, OUT * band.rows, OUT, tiles, oc), gradient.dtype)
    _gather(gradient[band.first : band.last], cells, OUT * band.top, 0)
    half = empty((band.images, OUT * band.rows, IN, tiles * oc), gradient.dtype)
    np.matmul(g, cells.reshape(*cells.shape[:3], tiles * oc), out=half)
    stack = half.reshape(band.images, band.rows, OUT, IN, tiles * oc).swapaxes(2, 3)
    grown = empty((IN, IN, band.images, band.rows, tiles * oc), gradient.dtype)
    np.matmul(g, stack, out=grown.transpose(2, 3, 1, 0, 4))
    return grown.reshape(IN * IN, band.images * band.rows * tiles, oc)


def _gather(memory: Array, cells: Array, top: int, before: int) -> None:
    """Write cells[:, h, j, s] = memory[:, top + h, 4s + j − before], 0 outside the image."""
    height, width = memory.shape[1:3]
    first, last = max(top, 0), min(top + cells.shape[1], height)
    cells[:, : first - top] = 0
    cells[:, max(last - top, 0) :] = 0
    rows, image = cells[:, first - top : max(last - top, 0)], memory[:, first : max(first, last)]
    for j in range(cells.shape[2]):
        low, high = inside(j - before, OUT, width, 0, cells.shape[3])
        rows[:, :, j, :low] = 0
        rows[:, :, j, high:] = 0
        start = OUT * low + j - before
        rows[:, :, j, low:high] = image[:, :, start : start + OUT * (high - low - 1) + 1 : OUT]


@lru_cache(maxsize=1024)
def _bands(images: int, at: Windows, value_bytes: int) -> tuple[Band, ...]:
    """Return bands of tile rows: several whole images if they are small, else of one image.

    The 36 values of a tile have `value_bytes` bytes each.
    """
    rows, tiles = (-(-count // OUT) for count in at.count)
    most = max(TILES, CACHE // (IN * IN * value_bytes))
    if rows * tiles <= most // 2:
        step = -(-images // -(-images // (most // (rows * tiles))))
        ranges = [(first, min(first + step, images)) for first in range(0, images, step)]
        return tuple(Band(0, rows, first, last) for first, last in ranges)
    step = -(-rows // -(-rows // max(1, most // tiles)))
    return tuple(
        Band(top, min(top + step, rows), n, n + 1)
        for n in range(images)
        for top in range(0, rows, step)
    )
