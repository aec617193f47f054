"""Kernels of depthwise convolution and its gradients, for images (H, W, C, N) in memory.

A value of a pixel meets only values of the same channel and image in others. So a piece is a block
of channels, and its values of a pixel, `length` of them, are one stretch of memory. The kernels are
spread over it: a row for each cell of a kernel, with the weight of the channel at each value. Then
four neighboring outputs are sums of products of such stretches, and a vector of weights is read
once for the four.

The input gradient is the same sum over other cells. Outputs `stride` apart form a phase: those of
one phase read the same cells of a kernel, from neighboring pixels.
"""

from __future__ import annotations

from typing import Any

import numba

from tinygrad_cnn.engine.fast.kernel import (
    FLAGS,
    Conversion,
    PieceIndex,
    Reals,
    Scratch,
    Whole,
    kernel,
    moved,
)
from tinygrad_cnn.engine.fast.lanes import (
    lanes,
    load_part,
    multiply_add,
    store,
    store_part,
)

TOGETHER = 4  # outputs computed together
CACHE = 1 << 14  # values of the image rows under a window and a block of channels, about
SHORT, LONG = 128, 512  # values of a pixel in a piece: at least, if there are as many, and at most


def channels_of(channels: int, images: int, width: int, tall: int) -> int:
    """Return the channels of a piece."""
    length = min(LONG, max(SHORT, CACHE // max(1, width * tall)))
    return max(1, min(channels, length // max(1, images)))


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def spread_kernels(
    spread: Any, w: Any, bias: Any, first: Any, count: Any, images: Any, cells: Any, turned: Any,
    biased: Any, real: Any,
) -> None:  # fmt: skip
    """Write the weights of `count` channels, and then their biases, for each value of a pixel."""
    length = count * images
    for cell in range(cells):
        row = moved(spread, cell * length)
        for c in range(count):
            value = w[(first + c) * cells + (cells - 1 - cell if turned else cell)]
            for n in range(images):
                row[c * images + n] = value
    row = moved(spread, cells * length)
    for c in range(count):
        value = bias[first + c] if biased else real(0)
        for n in range(images):
            row[c * images + n] = value


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def sum_images(
    sums: Any, dw: Any, first: Any, count: Any, images: Any, cells: Any, real: Any
) -> None:
    """Write the sums over the images for each cell and channel."""
    for c in range(count):
        for cell in range(cells):
            total, own = real(0), moved(sums, (cell * count + c) * images)
            for n in range(images):
                total += own[n]
            dw[(first + c) * cells + cell] = total


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _cells(
    phase: Whole, tall: Whole, stride: Whole, gap: Whole, border: Whole, transposed: Whole
) -> Any:
    """Return the cells that the outputs of a phase read along an axis, and where.

    The first cell, the step to the next, the number of cells; the pixel that output 0 reads at the
    first cell, the step to the pixel at the next cell, and to that of the next output.
    """
    if not transposed:
        return 0, 1, tall, -border, gap, stride
    step = 1
    while step * gap % stride:
        step += 1
    for first in range(min(step, tall)):
        if (phase + border - first * gap) % stride == 0:
            pixel = (phase + border - first * gap) // stride
            return first, step, (tall - first + step - 1) // step, pixel, -(step * gap) // stride, 1
    return 0, 1, 0, 0, 0, 1


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def write(start: Any, offset: Any, vector: Any, left: Any) -> None:
    """Write the lanes of a vector that are left in a stretch."""
    if left >= lanes(start):
        store(start, offset, vector)
    else:
        store_part(start, offset, vector, left)


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _outputs(
    x: Any, w: Any, added: Any, y: Any, length: Any, pixel: Any, height: Any, width: Any,
    wide: Any, cell: Any, cell_step: Any, cells: Any, row: Any, row_step: Any, column: Any,
    column_step: Any, columns: Any, shift: Any, apart: Any, next_output: Any, count: Any,
) -> None:  # fmt: skip
    """Compute the first `count` of four neighboring outputs."""
    last = column + (columns - 1) * column_step
    lowest, highest = min(column, last), max(column, last) + (TOGETHER - 1) * shift
    inside = count == TOGETHER and lowest >= 0 and highest < width
    step = shift * pixel
    second = width if count > 1 else -1
    third = width if count > 2 else -1
    fourth = width if count > 3 else -1
    for i in range(0, length, lanes(x)):
        left = length - i
        a = b = c = d = load_part(added, i, left)
        for k in range(cells):
            at = row + k * row_step
            if at < 0 or at >= height:
                continue
            line = moved(x, at * width * pixel + i)
            for m in range(columns):
                v = column + m * column_step
                here = moved(line, v * pixel)
                weight = load_part(
                    w, ((cell + k * cell_step) * wide + m * apart) * length + i, left
                )
                if inside:
                    a = multiply_add(load_part(here, 0, left), weight, a)
                    b = multiply_add(load_part(here, step, left), weight, b)
                    c = multiply_add(load_part(here, 2 * step, left), weight, c)
                    d = multiply_add(load_part(here, 3 * step, left), weight, d)
                    continue
                if 0 <= v < width:
                    a = multiply_add(load_part(here, 0, left), weight, a)
                if 0 <= v + shift < second:
                    b = multiply_add(load_part(here, step, left), weight, b)
                if 0 <= v + 2 * shift < third:
                    c = multiply_add(load_part(here, 2 * step, left), weight, c)
                if 0 <= v + 3 * shift < fourth:
                    d = multiply_add(load_part(here, 3 * step, left), weight, d)
        # Those beyond the last are overwritten with it.
        write(y, min(3, count - 1) * next_output + i, d, left)
        write(y, min(2, count - 1) * next_output + i, c, left)
        write(y, min(1, count - 1) * next_output + i, b, left)
        write(y, i, a, left)


@kernel
def depthwise(
    x: Reals, w: Reals, bias: Reals, y: Reals, height: Whole, width: Whole, out_height: Whole,
    out_width: Whole, channels: Whole, images: Whole, tall: Whole, wide: Whole, down: Whole,
    across: Whole, row_gap: Whole, gap: Whole, above: Whole, left: Whole, transposed: Whole,
    biased: Whole, block: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute the convolution of x, or if transposed, the gradient y of the convolution's input.

    Each thread needs (tall·wide + 1)·block·images values.
    """
    first = piece * block
    count, pixel = min(block, channels - first), channels * images
    length = count * images
    spread_kernels(scratch, w, bias, first, count, images, tall * wide, 0, biased, real)
    added = moved(scratch, tall * wide * length)
    rows, columns = (down, across) if transposed else (1, 1)
    source, target = moved(x, first * images), moved(y, first * images)
    for over in range(rows):
        cell, cell_step, cells, row, row_step, fall = _cells(
            over, tall, down, row_gap, above, transposed
        )
        for i in range(over, out_height, rows):
            for phase in range(columns):
                start, apart, parts, column, column_step, shift = _cells(
                    phase, wide, across, gap, left, transposed
                )
                places = (out_width - phase + columns - 1) // columns
                for t in range(0, places, TOGETHER):
                    out = moved(target, (i * out_width + phase + t * columns) * pixel)
                    together = min(TOGETHER, places - t)
                    own = moved(scratch, start * length)
                    _outputs(
                        source, own, added, out, length, pixel, height, width, wide, cell,
                        cell_step, cells, row + (i // rows) * fall, row_step, column + t * shift,
                        column_step, parts, shift, apart, columns * pixel, together,
                    )  # fmt: skip


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _products(
    x: Any, g: Any, sums: Any, length: Any, pixel: Any, height: Any, width: Any, tall: Any,
    wide: Any, row: Any, row_gap: Any, column: Any, gap: Any, across: Any, count: Any,
) -> None:  # fmt: skip
    """Add the products of the first `count` of four gradients with the cells of their windows."""
    inside = count == TOGETHER and column >= 0
    inside = inside and column + (wide - 1) * gap + (TOGETHER - 1) * across < width
    step = across * pixel
    second = width if count > 1 else -1
    third = width if count > 2 else -1
    fourth = width if count > 3 else -1
    for i in range(0, length, lanes(x)):
        left = length - i
        a = load_part(g, i, left)
        b = load_part(g, min(1, count - 1) * pixel + i, left)
        c = load_part(g, min(2, count - 1) * pixel + i, left)
        d = load_part(g, min(3, count - 1) * pixel + i, left)
        for k in range(tall):
            at = row + k * row_gap
            if at < 0 or at >= height:
                continue
            line = moved(x, at * width * pixel + i)
            for m in range(wide):
                v = column + m * gap
                here = moved(line, v * pixel)
                place = (k * wide + m) * length + i
                total = load_part(sums, place, left)
                if inside:
                    total = multiply_add(load_part(here, 0, left), a, total)
                    total = multiply_add(load_part(here, step, left), b, total)
                    total = multiply_add(load_part(here, 2 * step, left), c, total)
                    total = multiply_add(load_part(here, 3 * step, left), d, total)
                else:
                    if 0 <= v < width:
                        total = multiply_add(load_part(here, 0, left), a, total)
                    if 0 <= v + across < second:
                        total = multiply_add(load_part(here, step, left), b, total)
                    if 0 <= v + 2 * across < third:
                        total = multiply_add(load_part(here, 2 * step, left), c, total)
                    if 0 <= v + 3 * across < fourth:
                        total = multiply_add(load_part(here, 3 * step, left), d, total)
                write(sums, place, total, left)


@kernel
def depthwise_weight_gradient(
    x: Reals, g: Reals, dw: Reals, height: Whole, width: Whole, out_height: Whole,
    out_width: Whole, channels: Whole, images: Whole, tall: Whole, wide: Whole, down: Whole,
    across: Whole, row_gap: Whole, gap: Whole, above: Whole, left: Whole, block: Whole,
    piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute the weight gradient. Each thread needs tall·wide·block·images values."""
    first = piece * block
    count, pixel = min(block, channels - first), channels * images
    length = count * images
    for i in range(tall * wide * length):
        scratch[i] = real(0)
    source = moved(x, first * images)
    for i in range(out_height):
        row = i * down - above
        for t in range(0, out_width, TOGETHER):
            gradients = moved(g, (i * out_width + t) * pixel + first * images)
            together, column = min(TOGETHER, out_width - t), t * across - left
            _products(
                source, gradients, scratch, length, pixel, height, width, tall, wide, row,
                row_gap, column, gap, across, together,
            )  # fmt: skip
    sum_images(scratch, dw, first, count, images, tall * wide, real)
