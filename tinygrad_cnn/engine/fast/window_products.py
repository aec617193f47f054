"""Products of kernels with the windows of one row of an image, for use in kernels.

An image row is (width, channels, images) in memory. So the columns of a window that are adjacent
are one matrix (columns·channels, images), and meet the matrix (filters, columns·channels) of a row
of the convolution's kernels: there is nothing to gather. Columns beyond the image are left out.
With a dilation or with groups, columns are taken one at a time.
"""

from __future__ import annotations

from typing import Any

import numba

from tinygrad_cnn.engine.fast.kernel import FLAGS, moved
from tinygrad_cnn.engine.fast.products import PLAIN, TRANSPOSED, gemm
from tinygrad_cnn.engine.fast.tiles import copied_register

inner = numba.njit(**FLAGS)


@inner  # type: ignore[untyped-decorator]
def columns_inside(start: int, apart: int, count: int, width: int) -> tuple[int, int]:
    """Return the range of k in 0 … count − 1 with 0 ≤ start + k·apart < width."""
    first = 0 if start >= 0 else (apart - 1 - start) // apart
    last = 0 if start >= width else min(count, (width - 1 - start) // apart + 1)
    return first, last


@inner  # type: ignore[untyped-decorator]
def add_window(
    x: Any, w: Any, y: Any, width: int, channels: int, images: int, filters: int, wide: int,
    taps: int, start: int, apart: int, groups: int, one: Any,
) -> None:  # fmt: skip
    """Compute y += w·x for a row of kernels and a window on a row of the image.

    w is (filters, wide, channels / groups), with filters `taps` apart; the window starts at a
    column of the image row x; y is (filters, images).
    """
    first, last = columns_inside(start, apart, wide, width)
    if apart == 1 and groups == 1:
        if first < last:
            gemm(PLAIN, PLAIN, filters, images, (last - first) * channels,
                 one, moved(w, first * channels), taps,
                 moved(x, (start + first) * channels * images), images, one, y, images)  # fmt: skip
        return
    depth, each = channels // groups, filters // groups
    for k in range(first, last):
        for g in range(groups):
            cell = ((start + k * apart) * channels + g * depth) * images
            gemm(PLAIN, PLAIN, each, images, depth,
                 one, moved(w, g * each * taps + k * depth), taps, moved(x, cell), images,
                 one, moved(y, g * each * images), images)  # fmt: skip


@inner  # type: ignore[untyped-decorator]
def add_window_gradient(
    g: Any, w: Any, dx: Any, width: int, channels: int, images: int, filters: int, wide: int,
    taps: int, start: int, apart: int, groups: int, one: Any,
) -> None:  # fmt: skip
    """Compute the adjoint of `add_window` in x: dx += wᵀ·g, for g of shape (filters, images)."""
    first, last = columns_inside(start, apart, wide, width)
    if apart == 1 and groups == 1:
        if first < last:
            gemm(TRANSPOSED, PLAIN, (last - first) * channels, images, filters,
                 one, moved(w, first * channels), taps, g, images,
                 one, moved(dx, (start + first) * channels * images), images)  # fmt: skip
        return
    depth, each = channels // groups, filters // groups
    for k in range(first, last):
        for group in range(groups):
            cell = ((start + k * apart) * channels + group * depth) * images
            gemm(TRANSPOSED, PLAIN, depth, images, each,
                 one, moved(w, group * each * taps + k * depth), taps,
                 moved(g, group * each * images), images, one, moved(dx, cell), images)  # fmt: skip


@inner  # type: ignore[untyped-decorator]
def add_weight_gradient(
    g: Any, x: Any, dw: Any, width: int, channels: int, images: int, filters: int, all_filters: int,
    wide: int, start: int, apart: int, groups: int, one: Any,
) -> None:  # fmt: skip
    """Compute the adjoint of `add_window` in w, with all matrices transposed: dw += x·g.

    g is (images, filters), and dw (wide, channels / groups, filters) with a distance of
    `all_filters` between its rows.
    """
    first, last = columns_inside(start, apart, wide, width)
    if apart == 1 and groups == 1:
        if first < last:
            gemm(PLAIN, PLAIN, (last - first) * channels, filters, images,
                 one, moved(x, (start + first) * channels * images), images, g, filters,
                 one, moved(dw, first * channels * all_filters), all_filters)  # fmt: skip
        return
    depth, each = channels // groups, filters // groups
    for k in range(first, last):
        for group in range(groups):
            cell = ((start + k * apart) * channels + group * depth) * images
            gemm(PLAIN, PLAIN, depth, each, images,
                 one, moved(x, cell), images, moved(g, group * each), filters,
                 one, moved(dw, k * depth * all_filters + group * each), all_filters)  # fmt: skip


@inner  # type: ignore[untyped-decorator]
def stack_rows(
    x: Any, rows: Any, height: int, width: int, run: int, tall: int, top: int, apart: int,
    left: int, padded: int, zero: Any,
) -> None:  # fmt: skip
    """Copy the image rows under a row of windows next to each other, with their borders.

    The copy is (padded, tall, run), for an image (height, width, run): all rows of a window then
    are adjacent, as one row of an image with `tall` times the channels.
    """
    for k in range(tall):
        row = top + k * apart
        first = min(max(left, 0), padded)
        last = max(min(width + left, padded), first)
        if row < 0 or row >= height:
            last = first
        for j in range(first):
            to = (j * tall + k) * run
            for i in range(run):
                rows[to + i] = zero
        if run == 1:  # no inner loop
            for j in range(first, last):
                rows[j * tall + k] = x[row * width + j - left]
        else:
            for j in range(first, last):
                to, cell = (j * tall + k) * run, (row * width + j - left) * run
                for i in range(run):
                    rows[to + i] = x[cell + i]
        for j in range(last, padded):
            to = (j * tall + k) * run
            for i in range(run):
                rows[to + i] = zero


@inner  # type: ignore[untyped-decorator]
def windows_of_row(rows: Any, matrix: Any, count: int, apart: int, taps: int, lanes: int) -> None:
    """Copy the windows of one image's stacked rows, each to a row of a matrix.

    BLAS takes no matrix whose rows overlap. Whole registers are copied: up to `lanes` values behind
    a window, and behind the matrix.
    """
    for j in range(count):
        for i in range(0, taps, lanes):
            copied_register(moved(rows, j * apart + i), moved(matrix, j * taps + i))


@inner  # type: ignore[untyped-decorator]
def add_line_gradient(
    g: Any, w: Any, dx: Any, width: int, channels: int, filters: int, wide: int, taps: int,
    out_width: int, across: int, left: int, apart: int, groups: int, one: Any,
) -> None:  # fmt: skip
    """Compute `add_window_gradient` for a whole row g of one image, by columns of the kernels."""
    depth, each = channels // groups, filters // groups
    for k in range(wide):
        start = k * apart - left
        first, last = columns_inside(start, across, out_width, width)
        if first < last:
            for group in range(groups):
                cell = (start + first * across) * channels + group * depth
                gemm(PLAIN, PLAIN, last - first, depth, each,
                     one, moved(g, first * filters + group * each), filters,
                     moved(w, group * each * taps + k * depth), taps,
                     one, moved(dx, cell), across * channels)  # fmt: skip


@inner  # type: ignore[untyped-decorator]
def fill(y: Any, bias: Any, biased: int, rows: int, run: int, zero: Any) -> None:
    """Set each row of y, (rows, run), to its value of the bias, or to zero."""
    if run == 1:  # no inner loop
        for o in range(rows):
            y[o] = bias[o] if biased else zero
        return
    for o in range(rows):
        value = bias[o] if biased else zero
        for n in range(o * run, o * run + run):
            y[n] = value


@inner  # type: ignore[untyped-decorator]
def clear(y: Any, count: int, zero: Any) -> None:
    """Set values to zero."""
    for n in range(count):
        y[n] = zero
