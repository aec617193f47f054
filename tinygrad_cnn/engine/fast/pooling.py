"""Kernels of max and average pooling, and their gradients.

Images are planes × rows × columns × length in memory (`engine.planes`), best with a length of 16
values or more: (1, H, W, C·N) with the images last, (N, H, W, C) with the channels last. A piece is
some rows of all planes: of windows forwards, of the image backwards.

The winner of a window is the kernel offset, i·KW + j, of its first maximum, or of its last
NaN.
"""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import (
    Bytes,
    Conversion,
    PieceIndex,
    Reals,
    Whole,
    inlined,
    kernel,
)
from tinygrad_cnn.engine.windows import Windows

PER_PIECE = 1 << 16  # values of the image in a piece, about


def geometry(at: Windows) -> tuple[int, ...]:
    """Return the sizes that the kernels take from `height` to `before_columns`."""
    rows, columns = at.rows, at.columns
    pairs = (
        (rows.size, columns.size),
        (rows.windows, columns.windows),
        (rows.kernel, columns.kernel),
        (rows.stride, columns.stride),
        (rows.dilation, columns.dilation),
        (rows.before, columns.before),
    )
    return tuple([size for pair in pairs for size in pair])


def counted(at: Windows, count_include_pad: bool) -> tuple[int, ...]:
    """Return which rows and columns count in a mean: from, to, from, to."""
    axes = (at.rows, at.columns)
    if count_include_pad:
        return tuple([n for axis in axes for n in (-axis.before, axis.size + axis.after)])
    return tuple([n for axis in axes for n in (0, axis.size)])


def rows_of_piece(rows: int, values: int) -> int:
    """Return the rows of a piece, for rows of as many values."""
    return max(1, min(rows, PER_PIECE // max(1, values)))


@kernel
def window_maxima(
    x: Reals, y: Reals, won: Bytes, marks: Whole, planes: Whole, length: Whole, height: Whole,
    width: Whole, out_height: Whole, out_width: Whole, tall: Whole, wide: Whole, down: Whole,
    right: Whole, apart_rows: Whole, apart_columns: Whole, before_rows: Whole,
    before_columns: Whole, each: Whole, piece: PieceIndex,
) -> None:  # fmt: skip
    """Write the maximum under each window, and its winner if `marks`."""
    for r in range(piece * each, min(planes * out_height, piece * each + each)):
        plane, top = r // out_height * height, r % out_height * down - before_rows
        for v in range(out_width):
            left, to = v * right - before_columns, (r * out_width + v) * length
            if tall == 2 and wide == 2 and apart_rows == 1 and apart_columns == 1 and (
                0 <= top < height - 1 and 0 <= left < width - 1
            ):  # fmt: skip
                a = ((plane + top) * width + left) * length
                b = a + width * length
                if marks:
                    for i in range(length):
                        best, k = x[a + i], 0
                        if x[a + length + i] > best or x[a + length + i] != x[a + length + i]:
                            best, k = x[a + length + i], 1
                        if x[b + i] > best or x[b + i] != x[b + i]:
                            best, k = x[b + i], 2
                        if x[b + length + i] > best or x[b + length + i] != x[b + length + i]:
                            best, k = x[b + length + i], 3
                        y[to + i], won[to + i] = best, k
                else:
                    for i in range(length):
                        best = x[a + i]
                        if x[a + length + i] > best or x[a + length + i] != x[a + length + i]:
                            best = x[a + length + i]
                        if x[b + i] > best or x[b + i] != x[b + i]:
                            best = x[b + i]
                        if x[b + length + i] > best or x[b + length + i] != x[b + length + i]:
                            best = x[b + length + i]
                        y[to + i] = best
                continue
            is_first = True
            for k in range(tall * wide):
                h, w = top + k // wide * apart_rows, left + k % wide * apart_columns
                if not (0 <= h < height and 0 <= w < width):
                    continue
                a = ((plane + h) * width + w) * length
                if is_first:
                    for i in range(length):
                        y[to + i] = x[a + i]
                    if marks:
                        for i in range(length):
                            won[to + i] = k
                    is_first = False
                elif marks:
                    for i in range(length):
                        value = x[a + i]
                        wins = value > y[to + i] or value != value
                        y[to + i] = value if wins else y[to + i]
                        won[to + i] = k if wins else won[to + i]
                else:
                    for i in range(length):
                        value = x[a + i]
                        y[to + i] = value if value > y[to + i] or value != value else y[to + i]


@inlined
def _window(cell: int, before: int, offset: int, stride: int, windows: int) -> int:
    """Return the window along an axis that has a cell at a kernel offset, or −1."""
    start = cell + before - offset
    return start // stride if start >= 0 == start % stride and start < windows * stride else -1


@inlined
def _cells(window: int, stride: int, before: int, kernel: int, low: int, high: int) -> int:
    """Return how many cells of a window along an axis, without dilation, count in its mean."""
    start = window * stride - before
    return min(start + kernel, high) - max(start, low)


@kernel
def window_maxima_gradient(
    g: Reals, won: Bytes, dx: Reals, planes: Whole, length: Whole, height: Whole, width: Whole,
    out_height: Whole, out_width: Whole, tall: Whole, wide: Whole, down: Whole, right: Whole,
    apart_rows: Whole, apart_columns: Whole, before_rows: Whole, before_columns: Whole,
    each: Whole, piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Write the sum of g over the windows that each cell won."""
    zero = real(0)
    for r in range(piece * each, min(planes * height, piece * each + each)):
        plane, h = r // height * out_height, r % height
        for w in range(width):
            to, is_first = (r * width + w) * length, True
            for k in range(tall * wide):
                u = _window(h, before_rows, k // wide * apart_rows, down, out_height)
                v = _window(w, before_columns, k % wide * apart_columns, right, out_width)
                if u < 0 or v < 0:
                    continue
                at = ((plane + u) * out_width + v) * length
                if is_first:
                    for i in range(length):
                        dx[to + i] = g[at + i] if won[at + i] == k else zero
                    is_first = False
                else:
                    for i in range(length):
                        dx[to + i] += g[at + i] if won[at + i] == k else zero
            if is_first:
                for i in range(to, to + length):
                    dx[i] = zero


@kernel
def window_means(
    x: Reals, y: Reals, planes: Whole, length: Whole, height: Whole, width: Whole,
    out_height: Whole, out_width: Whole, tall: Whole, wide: Whole, down: Whole, right: Whole,
    apart_rows: Whole, apart_columns: Whole, before_rows: Whole, before_columns: Whole,
    first_row: Whole, last_row: Whole, first_column: Whole, last_column: Whole, each: Whole,
    piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Write the mean under each window, of windows without dilation."""
    for r in range(piece * each, min(planes * out_height, piece * each + each)):
        plane, top = r // out_height * height, r % out_height * down - before_rows
        rows = _cells(r % out_height, down, before_rows, tall, first_row, last_row)
        for v in range(out_width):
            columns = _cells(v, right, before_columns, wide, first_column, last_column)
            left, to = v * right - before_columns, (r * out_width + v) * length
            share = real(1) / real(rows * columns)
            for i in range(to, to + length):
                y[i] = real(0)
            for h in range(max(top, 0), min(top + tall, height)):
                for w in range(max(left, 0), min(left + wide, width)):
                    start = ((plane + h) * width + w) * length
                    for i in range(length):
                        y[to + i] += x[start + i]
            for i in range(to, to + length):
                y[i] *= share


@kernel
def window_means_gradient(
    g: Reals, dx: Reals, planes: Whole, length: Whole, height: Whole, width: Whole,
    out_height: Whole, out_width: Whole, tall: Whole, wide: Whole, down: Whole, right: Whole,
    apart_rows: Whole, apart_columns: Whole, before_rows: Whole, before_columns: Whole,
    first_row: Whole, last_row: Whole, first_column: Whole, last_column: Whole, each: Whole,
    piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Write the sum of the shares of g of the windows over each cell."""
    for r in range(piece * each, min(planes * height, piece * each + each)):
        plane, h = r // height * out_height, r % height
        for w in range(width):
            to, is_first = (r * width + w) * length, True
            for k in range(tall * wide):
                u = _window(h, before_rows, k // wide, down, out_height)
                v = _window(w, before_columns, k % wide, right, out_width)
                if u < 0 or v < 0:
                    continue
                rows = _cells(u, down, before_rows, tall, first_row, last_row)
                columns = _cells(v, right, before_columns, wide, first_column, last_column)
                share, at = real(1) / real(rows * columns), ((plane + u) * out_width + v) * length
                if is_first:
                    for i in range(length):
                        dx[to + i] = g[at + i] * share
                    is_first = False
                else:
                    for i in range(length):
                        dx[to + i] += g[at + i] * share
            if is_first:
                for i in range(to, to + length):
                    dx[i] = real(0)
