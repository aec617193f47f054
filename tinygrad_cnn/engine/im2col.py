"""Convolution of few images with im2col: each window becomes a row or a column of a matrix.

In the channels-last layout, with K = KH·KW·C/G and P the pixels of a band of output rows,

    columns : (G, P, K)      y (G, P, OC/G)  =  columns · wᵀ
    dw      : (OC/G, K)      =  Σ over bands of  dyᵀ · columns

With few images, BLAS is fastest on one product with many pixels. The values of a window are in one
of two orders:

(KH, KW, C)   The order of the images in memory: a window is KH pieces of KW·C adjacent values. The
              kernels are copied to that order.
(C, KH, KW)   The order of the kernels in memory, which stay in place. The images are copied to
              images-first memory, where OW values are adjacent. This is faster if there are few
              channels (a first layer) or more kernels than pixels (a last layer); then pieces of
              work are some output channels, not some pixels, and the input gradient is W · dy added
              window by window, with the kernels in place, too.

A small image takes a dozen NumPy calls of a microsecond or two each, so fewer calls matter more
than fewer bytes; docs/engine.md has a measurement.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tinygrad_cnn.engine import threads
from tinygrad_cnn.engine.arrays import Array, Shape
from tinygrad_cnn.engine.bands import CACHE, NARROWEST, Band, bands, part_count
from tinygrad_cnn.engine.layout import Layout
from tinygrad_cnn.engine.memory import empty, view
from tinygrad_cnn.engine.windows import Windows

layout = Layout.CHANNELS_LAST
FEW_CHANNELS = 8  # with fewer, OW values of a row are a longer stretch than KW·C of a window
KERNEL_BYTES = 1 << 20  # of the kernels of a piece, if the pieces are channels


def convolve(x: Array, w: Array, bias: Array | None, at: Windows, groups: int, out: Array) -> None:
    """Write the convolution of images `x` with `w` (OC, C/G, KH, KW), plus `bias`, to `out`."""
    target = layout.memory(out)
    (n, oh, ow, oc), k = target.shape, w[0].size
    deep = is_deep(n, oc, at, groups)
    by_channel = _by_channel(w.shape[1], deep, at)
    windows = _windows(x, at, groups, by_channel)
    kernels = _kernels(w, groups, by_channel or deep)  # (G, K, OC/G)
    in_place = target.flags.c_contiguous
    y = view(target, (n, oh, ow * oc)) if in_place else empty((n, oh, ow * oc), x.dtype)
    if deep:
        columns = _gathered(windows, Band(0, oh, 0, n), by_channel)[0]
        blocks, rows = _blocks(oc, k * x.itemsize), view(y, (n * oh * ow, oc))

        def block(i: int) -> None:
            np.matmul(columns, kernels[0][:, blocks[i]], out=rows[:, blocks[i]])
            if bias is not None:
                part = rows[:, blocks[i]]
                part += bias[blocks[i]]

        threads.run(block, len(blocks), out.size * k)
    else:
        pieces = _bands(n, at, groups * (k + oc // groups) * x.itemsize)
        bias_row = None if bias is None else np.tile(bias, ow)

        def piece(i: int) -> None:
            band = pieces[i]
            part = y[band.first : band.last, band.top : band.bottom]
            products = view(part, (part.size // oc, groups, oc // groups)).swapaxes(0, 1)
            np.matmul(_gathered(windows, band, by_channel), kernels, out=products)
            if bias_row is not None:
                part += bias_row

        threads.run(piece, len(pieces), out.size * k)
    if not in_place:
        target[...] = y.reshape(target.shape)


def weight_gradient(dy: Array, x: Array, at: Windows, groups: int) -> Array:
    """Return the weight gradient (OC, C/G, KH, KW), given `dy` (N, OC, OH, OW)."""
    gradient = layout.memory(layout.arranged(dy))
    (n, oh, ow, oc), c = gradient.shape, x.shape[1] // groups
    k = c * at.kernel[0] * at.kernel[1]
    deep = is_deep(n, oc, at, groups)
    by_channel = _by_channel(c, deep, at)
    windows = _windows(x, at, groups, by_channel)
    if deep:
        columns = _gathered(windows, Band(0, oh, 0, n), by_channel)[0]
        blocks = _blocks(oc, k * x.itemsize)
        u, rows = gradient.reshape(n * oh * ow, oc).T, empty((oc, k), x.dtype)

        def block(i: int) -> None:
            np.matmul(u[blocks[i]], columns, out=rows[blocks[i]])

        threads.run(block, len(blocks), dy.size * k)
        return rows.reshape(oc, c, *at.kernel)
    pieces = _bands(n, at, groups * (k + oc // groups) * x.itemsize)
    partial = part_count(len(pieces), oc * k * x.itemsize)
    parts = empty((partial, groups, k, oc // groups), x.dtype)

    def piece(i: int) -> None:
        for j in range(i, len(pieces), partial):
            band = pieces[j]
            u = gradient[band.first : band.last, band.top : band.bottom]
            u = u.reshape(u.size // oc, groups, oc // groups).swapaxes(0, 1)
            columns = _gathered(windows, band, by_channel).swapaxes(1, 2)
            if j == i:
                np.matmul(columns, u, out=parts[i])
            else:
                parts[i] += columns @ u

    threads.run(piece, partial, dy.size * k)
    dw = (parts[0] if partial == 1 else parts.sum(axis=0)).swapaxes(1, 2)  # (G, OC/G, K)
    if not by_channel:
        dw = dw.reshape(oc, *at.kernel, c).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(dw).reshape(oc, c, *at.kernel)


def input_gradient(dy: Array, w: Array, at: Windows, out: Array) -> None:
    """Write the input gradient to `out` (N, C, H, W), given `dy` (N, OC, OH, OW), if it is deep.

    The gradient of all columns, w (K, OC) · dy (OC, P), is added to the cells under each window.
    """
    gradient, target = layout.memory(layout.arranged(dy)), layout.memory(out)
    (n, oh, ow, oc), c = gradient.shape, w.shape[1]
    u = gradient.reshape(n * oh * ow, oc).T
    cells = at.kernel[0] * at.kernel[1]
    kernels = w.reshape(oc, c * cells)
    blocks = _blocks(c, oc * cells * w.itemsize)
    (rows, of_rows), (columns, of_columns) = at.rows.seen, at.columns.seen
    target[...] = 0

    def block(i: int) -> None:
        some = blocks[i]
        products = kernels[:, some.start * cells : some.stop * cells].T @ u
        parts = products.reshape(some.stop - some.start, cells, n, oh, ow)
        padded = np.zeros((len(parts), n, at.rows.padded, at.columns.padded), u.dtype)
        for j, under in enumerate(at.cells):
            padded[under] += parts[:, j]
        target[:, of_rows, of_columns, some] = padded[..., rows, columns].transpose(1, 2, 3, 0)

    threads.run(block, len(blocks), dy.size * w[0].size)


def is_deep(images: int, channels: int, at: Windows, groups: int) -> bool:
    """Return whether there are more channels of the output than pixels, so more kernels."""
    return groups == 1 and channels > images * at.rows.windows * at.columns.windows


def _by_channel(channels: int, deep: bool, at: Windows) -> bool:
    """Return whether the values of a window are in the order (C, KH, KW), if the orders differ."""
    return (channels < FEW_CHANNELS or deep) and at.kernel != (1, 1)


def _kernels(w: Array, groups: int, in_place: bool) -> Array:
    """Return the kernels (G, K, OC/G): a transposed view, or a copy in the order (KH, KW, C)."""
    oc, c, kh, kw = w.shape
    if in_place:
        return w.reshape(groups, oc // groups, c * kh * kw).swapaxes(1, 2)
    kernels = w.reshape(groups, oc // groups, c, kh, kw).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(kernels).reshape(groups, kh * kw * c, oc // groups)


@lru_cache(maxsize=1024)
def _blocks(channels: int, kernel_bytes: int) -> tuple[slice, ...]:
    """Return blocks of channels."""
    step = max(NARROWEST, KERNEL_BYTES // kernel_bytes // NARROWEST * NARROWEST)
    return tuple(slice(i, min(i + step, channels)) for i in range(0, channels, step))


def _windows(x: Array, at: Windows, groups: int, by_channel: bool) -> Array:
    """Return a view of the padded images.

    It is (G, C/G, KH, KW, N, OH, OW) `by_channel`, else (G, N, OH, OW, KH, KW, C/G).
    """
    order = Layout.IMAGES_FIRST if by_channel else layout
    padded = _padded(x, at, order)
    (n, c, _, _), (image, channel, row, column) = padded.shape, padded.strides
    c, (kh, kw), (oh, ow) = c // groups, at.kernel, at.count
    in_window = (row * at.rows.dilation, column * at.columns.dilation)
    between = (image, row * at.rows.stride, column * at.columns.stride)
    if by_channel:
        shape: tuple[int, ...] = (groups, c, kh, kw, n, oh, ow)
        strides: tuple[int, ...] = (channel * c, channel, *in_window, *between)
    else:
        shape = (groups, n, oh, ow, kh, kw, c)
        strides = (channel * c, *between, *in_window, channel)
    memory = order.memory(padded)
    if groups > 1 and not by_channel:
        return _windows_of_groups(memory, at, shape)
    # as_strided would not check the bounds
    return np.ndarray(shape, memory.dtype, memory, 0, strides)


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


def _padded(x: Array, at: Windows, order: Layout) -> Array:
    """Return images with their border, in the given layout."""
    if at.needs_no_border:
        return order.arranged(x)
    padded = order.empty((*x.shape[:2], at.rows.padded, at.columns.padded), x.dtype)
    (rows, of_rows), (columns, of_columns) = at.rows.seen, at.columns.seen
    padded[:, :, : rows.start] = 0
    padded[:, :, rows.stop :] = 0
    padded[:, :, rows, : columns.start] = 0
    padded[:, :, rows, columns.stop :] = 0
    padded[:, :, rows, columns] = x[:, :, of_rows, of_columns]
    return padded


def _gathered(windows: Array, band: Band, by_channel: bool) -> Array:
    """Return the columns of a band, (G, P, K): a view if the images are already like this."""
    if by_channel:
        part = windows[..., band.first : band.last, band.top : band.bottom, :]
        k = part[0, :, :, :, 0, 0, 0].size
        return part.reshape(len(part), k, part[0].size // k).swapaxes(1, 2)
    part = windows[:, band.first : band.last, band.top : band.bottom]
    k = part[0, 0, 0, 0].size
    if len(part) > 1 and part.shape[4:6] != (1, 1):
        rows = part.reshape(*part.shape[:5], -1)  # (G, N, OH, OW, KH, KW·C/G)
        rows = rows.view(f"V{rows.shape[-1] * rows.itemsize}")
        rows = np.ascontiguousarray(rows.reshape(len(part), part[0].size // k, -1))
        return rows.view(part.dtype)
    return part.reshape(len(part), part[0].size // k, k)


@lru_cache(maxsize=1024)
def _bands(images: int, at: Windows, pixel_bytes: int) -> tuple[Band, ...]:
    """Return bands whose columns and output, `pixel_bytes` per pixel, fit the cache.

    A band is several whole images if they are small, else rows of one image.
    """
    height, width = at.count
    image = height * width * pixel_bytes
    if image <= CACHE // 4:
        whole = bands(images, 1, image)
        return tuple(Band(0, height, some.top, some.bottom) for some in whole)
    rows = bands(height, 1, width * pixel_bytes)
    return tuple(Band(b.top, b.bottom, n, n + 1) for n in range(images) for b in rows)
