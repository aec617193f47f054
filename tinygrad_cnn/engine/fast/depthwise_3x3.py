"""Kernels of depthwise convolution with 3×3 kernels, for images (H, W, C, N) in memory.

As `depthwise`, with the nine cells of four neighboring outputs in one loop. It has no conditions:
a cell outside the image is read from a stretch of zeros.
"""

from __future__ import annotations

from typing import Any

import numba

from tinygrad_cnn.engine.fast.depthwise import TOGETHER, spread_kernels, sum_images, write
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
from tinygrad_cnn.engine.fast.lanes import lanes, load_part, multiply_add

SIZE = 3
CELLS = 9


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _pixels(
    x: Any, zeros: Any, row: Any, column: Any, step: Any, height: Any, width: Any, pixel: Any
) -> Any:
    """Return where four pixels `step` apart are; of those outside the image, where zeros are."""
    line = moved(x, row * width * pixel)
    end = width if 0 <= row < height else 0
    a, b, c, d = column, column + step, column + 2 * step, column + 3 * step
    return (
        moved(line, a * pixel) if 0 <= a < end else zeros,
        moved(line, b * pixel) if 0 <= b < end else zeros,
        moved(line, c * pixel) if 0 <= c < end else zeros,
        moved(line, d * pixel) if 0 <= d < end else zeros,
    )


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _window_row(
    x: Any, zeros: Any, row: Any, column: Any, step: Any, height: Any, width: Any, pixel: Any
) -> Any:
    """Return where the pixels under a row of four windows are."""
    return (
        _pixels(x, zeros, row, column, step, height, width, pixel),
        _pixels(x, zeros, row, column + 1, step, height, width, pixel),
        _pixels(x, zeros, row, column + 2, step, height, width, pixel),
    )


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _add_cell(pixels: Any, w: Any, i: Any, left: Any, sums: Any) -> Any:
    """Add a cell of each window to the four outputs."""
    weight = load_part(w, i, left)
    return (
        multiply_add(load_part(pixels[0], i, left), weight, sums[0]),
        multiply_add(load_part(pixels[1], i, left), weight, sums[1]),
        multiply_add(load_part(pixels[2], i, left), weight, sums[2]),
        multiply_add(load_part(pixels[3], i, left), weight, sums[3]),
    )


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _add_row(row: Any, w: Any, length: Any, i: Any, left: Any, sums: Any) -> Any:
    sums = _add_cell(row[0], w, i, left, sums)
    sums = _add_cell(row[1], moved(w, length), i, left, sums)
    return _add_cell(row[2], moved(w, 2 * length), i, left, sums)


@kernel
def depthwise_3x3(
    x: Reals, w: Reals, bias: Reals, y: Reals, height: Whole, width: Whole, out_height: Whole,
    out_width: Whole, channels: Whole, images: Whole, down: Whole, across: Whole, above: Whole,
    left: Whole, turned: Whole, biased: Whole, block: Whole, piece: PieceIndex, scratch: Scratch,
    real: Conversion,
) -> None:  # fmt: skip
    """Compute the convolution, with the kernels turned for an input gradient of stride 1.

    Each thread needs (9 + 2)·block·images values.
    """
    first = piece * block
    count, pixel = min(block, channels - first), channels * images
    length = count * images
    spread_kernels(scratch, w, bias, first, count, images, CELLS, turned, biased, real)
    added, zeros = moved(scratch, CELLS * length), moved(scratch, (CELLS + 1) * length)
    for i in range(length):
        zeros[i] = real(0)
    source, target = moved(x, first * images), moved(y, first * images)
    for j in range(out_height):
        row = j * down - above
        for t in range(0, out_width, TOGETHER):
            column, last = t * across - left, min(TOGETHER, out_width - t) - 1
            top = _window_row(source, zeros, row, column, across, height, width, pixel)
            middle = _window_row(source, zeros, row + 1, column, across, height, width, pixel)
            bottom = _window_row(source, zeros, row + 2, column, across, height, width, pixel)
            out = moved(target, (j * out_width + t) * pixel)
            second, third = moved(out, min(1, last) * pixel), moved(out, min(2, last) * pixel)
            fourth = moved(out, last * pixel)
            for i in range(0, length, lanes(x)):
                rest = length - i
                bias_here = load_part(added, i, rest)
                sums = (bias_here, bias_here, bias_here, bias_here)
                sums = _add_row(top, scratch, length, i, rest, sums)
                sums = _add_row(middle, moved(scratch, SIZE * length), length, i, rest, sums)
                sums = _add_row(bottom, moved(scratch, 2 * SIZE * length), length, i, rest, sums)
                # Outputs beyond the last are overwritten with it.
                write(fourth, i, sums[3], rest)
                write(third, i, sums[2], rest)
                write(second, i, sums[1], rest)
                write(out, i, sums[0], rest)


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _add_products(pixels: Any, gradients: Any, sums: Any, i: Any, left: Any) -> None:
    """Add the products of a cell of each window with the four gradients."""
    total = load_part(sums, i, left)
    total = multiply_add(load_part(pixels[0], i, left), gradients[0], total)
    total = multiply_add(load_part(pixels[1], i, left), gradients[1], total)
    total = multiply_add(load_part(pixels[2], i, left), gradients[2], total)
    total = multiply_add(load_part(pixels[3], i, left), gradients[3], total)
    write(sums, i, total, left)


@numba.njit(**FLAGS)  # type: ignore[untyped-decorator]
def _add_row_of_products(
    row: Any, gradients: Any, sums: Any, length: Any, i: Any, left: Any
) -> None:
    _add_products(row[0], gradients, sums, i, left)
    _add_products(row[1], gradients, moved(sums, length), i, left)
    _add_products(row[2], gradients, moved(sums, 2 * length), i, left)


@kernel
def depthwise_3x3_weight_gradient(
    x: Reals, g: Reals, dw: Reals, height: Whole, width: Whole, out_height: Whole,
    out_width: Whole, channels: Whole, images: Whole, down: Whole, across: Whole, above: Whole,
    left: Whole, block: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute the weight gradient. Each thread needs (9 + 1)·block·images values."""
    first = piece * block
    count, pixel = min(block, channels - first), channels * images
    length = count * images
    for i in range((CELLS + 1) * length):
        scratch[i] = real(0)
    zeros = moved(scratch, CELLS * length)
    source, gradients = moved(x, first * images), moved(g, first * images)
    for j in range(out_height):
        row = j * down - above
        for t in range(0, out_width, TOGETHER):
            column = t * across - left
            top = _window_row(source, zeros, row, column, across, height, width, pixel)
            middle = _window_row(source, zeros, row + 1, column, across, height, width, pixel)
            bottom = _window_row(source, zeros, row + 2, column, across, height, width, pixel)
            a, b, c, d = _pixels(gradients, zeros, j, t, 1, out_height, out_width, pixel)
            for i in range(0, length, lanes(x)):
                rest = length - i
                four = (
                    load_part(a, i, rest), load_part(b, i, rest),
                    load_part(c, i, rest), load_part(d, i, rest),
                )  # fmt: skip
                own = moved(scratch, SIZE * length)
                _add_row_of_products(top, four, scratch, length, i, rest)
                _add_row_of_products(middle, four, own, length, i, rest)
                _add_row_of_products(bottom, four, moved(own, SIZE * length), length, i, rest)
    sum_images(scratch, dw, first, count, images, CELLS, real)
