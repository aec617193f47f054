"""Kernels of convolution and its gradients, for images that are (H, W, C, N) in memory.

Kernels of a convolution, (OC, C, KH, KW), are first copied so that the channels of a cell are
adjacent: (OC, KH, KW, C). All three directions then are sums of products of a row of kernels with
the part of an image row under a window (`window_products`).

Where such a row holds few values, the image rows under a row of windows are stacked in memory of
the thread: an image of one row with KH·C channels. The kernels for it are (OC, 1, KW, KH·C).
"""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import (
    Conversion,
    PieceIndex,
    Reals,
    Scratch,
    Whole,
    kernel,
    moved,
)
from tinygrad_cnn.engine.fast.products import PLAIN, TRANSPOSED, gemm
from tinygrad_cnn.engine.fast.tiles import transpose
from tinygrad_cnn.engine.fast.window_products import (
    add_line_gradient,
    add_weight_gradient,
    add_window,
    add_window_gradient,
    clear,
    fill,
    stack_rows,
    windows_of_row,
)

# The sizes that each kernel is given:
#   height, width, channels, images     of x, of which y is the convolution
#   filters, out_height, out_width      of y
#   tall, wide                          of the convolution's kernels
#   down, across                        the strides
#   above, left                         the borders
#   row_gap, gap                        the dilations
#   groups


@kernel
def convolve(
    x: Reals, w: Reals, bias: Reals, y: Reals, height: Whole, width: Whole, channels: Whole,
    images: Whole, filters: Whole, out_height: Whole, out_width: Whole, tall: Whole, wide: Whole,
    down: Whole, across: Whole, above: Whole, left: Whole, row_gap: Whole, gap: Whole,
    groups: Whole, biased: Whole, step: Whole, piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Compute y = w ∗ x + bias, at `step` columns of a row a piece."""
    one, row = real(1), wide * (channels // groups)
    parts = (out_width + step - 1) // step
    i, first = piece // parts, piece % parts * step
    last = min(out_width, first + step)
    line = moved(y, i * out_width * filters * images)
    for j in range(first, last):
        fill(moved(line, j * filters * images), bias, biased, filters, images, real(0))
    for k in range(tall):
        cell = i * down + k * row_gap - above
        if 0 <= cell < height:
            for j in range(first, last):
                add_window(
                    moved(x, cell * width * channels * images), moved(w, k * row),
                    moved(line, j * filters * images), width, channels, images, filters, wide,
                    tall * row, j * across - left, gap, groups, one,
                )  # fmt: skip


@kernel
def convolve_stacked(
    x: Reals, w: Reals, bias: Reals, y: Reals, height: Whole, width: Whole, channels: Whole,
    images: Whole, filters: Whole, out_height: Whole, out_width: Whole, tall: Whole, wide: Whole,
    down: Whole, across: Whole, above: Whole, left: Whole, row_gap: Whole, gap: Whole,
    groups: Whole, biased: Whole, lanes: Whole, step: Whole, piece: PieceIndex,
    scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute y = w ∗ x + bias, at `step` rows a piece, each from stacked image rows.

    The kernels are (OC, KW, KH, C), or (KW, KH, C, OC) for one image.
    """
    zero, one, deep = real(0), real(1), tall * channels
    padded, taps = (out_width - 1) * across + wide, wide * tall * channels
    first, last = piece * step, min(out_height, piece * step + step)
    matrix = moved(scratch, padded * deep * images)
    for i in range(first, last):
        stack_rows(x, scratch, height, width, channels * images, tall, i * down - above, row_gap,
                   left, padded, zero)  # fmt: skip
        if images == 1:  # the windows are the rows of a matrix
            windows_of_row(scratch, moved(matrix, (i - first) * out_width * taps), out_width,
                           across * deep, taps, lanes)  # fmt: skip
            continue
        for j in range(out_width):
            out = moved(y, (i * out_width + j) * filters * images)
            fill(out, bias, biased, filters, images, zero)
            add_window(scratch, w, out, padded, deep, images, filters, wide, taps, j * across, 1,
                       1, one)  # fmt: skip
    if images == 1:
        for place in range(first * out_width, last * out_width):
            fill(moved(y, place * filters), bias, biased, filters, 1, zero)
        gemm(PLAIN, PLAIN, (last - first) * out_width, filters, taps, one, matrix, taps,
             w, filters, one, moved(y, first * out_width * filters), filters)  # fmt: skip


@kernel
def convolve_transposed(
    g: Reals, w: Reals, bias: Reals, x: Reals, height: Whole, width: Whole, channels: Whole,
    images: Whole, filters: Whole, out_height: Whole, out_width: Whole, tall: Whole, wide: Whole,
    down: Whole, across: Whole, above: Whole, left: Whole, row_gap: Whole, gap: Whole,
    groups: Whole, biased: Whole, step: Whole, piece: PieceIndex, real: Conversion,
) -> None:  # fmt: skip
    """Compute x = w ∗ᵀ g + bias, the adjoint of `convolve`, at `step` columns of a row a piece."""
    one, row, pixel = real(1), wide * (channels // groups), channels * images
    parts = (width + step - 1) // step
    line, first = piece // parts, piece % parts * step
    count = min(width - first, step)
    cells = moved(x, (line * width + first) * pixel)
    for j in range(count):
        fill(moved(cells, j * pixel), bias, biased, channels, images, real(0))
    reach = (wide - 1) * gap
    low = max(0, (first + left - reach + across - 1) // across)
    high = min(out_width, (first + count - 1 + left) // across + 1)
    for k in range(tall):
        offset = line + above - k * row_gap
        if offset < 0 or offset % down or offset // down >= out_height:
            continue
        lines = moved(g, offset // down * out_width * filters * images)
        if images == 1:
            add_line_gradient(
                lines, moved(w, k * row), cells, count, channels, filters, wide, tall * row,
                out_width, across, first + left, gap, groups, one,
            )  # fmt: skip
            continue
        for j in range(low, high):
            add_window_gradient(
                moved(lines, j * filters * images), moved(w, k * row), cells, count, channels,
                images, filters, wide, tall * row, j * across - left - first, gap, groups, one,
            )  # fmt: skip


@kernel
def weight_gradient(
    g: Reals, x: Reals, sums: Reals, height: Whole, width: Whole, channels: Whole,
    images: Whole, filters: Whole, out_height: Whole, out_width: Whole, tall: Whole, wide: Whole,
    down: Whole, across: Whole, above: Whole, left: Whole, row_gap: Whole, gap: Whole,
    groups: Whole, block: Whole, lanes: Whole, step: Whole, piece: PieceIndex, scratch: Scratch,
    real: Conversion,
) -> None:  # fmt: skip
    """Compute Σ x·gᵀ over `step` windows, (KH, KW, C, OC), for `block` kernels a piece."""
    one, row = real(1), wide * (channels // groups)
    blocks, taps = (filters + block - 1) // block, tall * row
    part, first = piece // blocks, piece % blocks * block
    count = min(block, filters - first)
    out = moved(sums, part * filters * taps + first)
    for t in range(taps):
        clear(moved(out, t * filters), count, real(0))
    for place in range(part * step, min(out_height * out_width, part * step + step)):
        transpose(moved(g, (place * filters + first) * images), count, images, scratch, lanes)
        for k in range(tall):
            line = place // out_width * down + k * row_gap - above
            if 0 <= line < height:
                add_weight_gradient(
                    scratch, moved(x, line * width * channels * images),
                    moved(out, k * row * filters), width, channels, images, count, filters, wide,
                    place % out_width * across - left, gap, groups, one,
                )  # fmt: skip


@kernel
def weight_gradient_stacked(
    g: Reals, x: Reals, sums: Reals, height: Whole, width: Whole, channels: Whole,
    images: Whole, filters: Whole, out_height: Whole, out_width: Whole, tall: Whole, wide: Whole,
    down: Whole, across: Whole, above: Whole, left: Whole, row_gap: Whole, gap: Whole,
    groups: Whole, aligned: Whole, lanes: Whole, step: Whole, piece: PieceIndex, scratch: Scratch,
    real: Conversion,
) -> None:  # fmt: skip
    """Compute Σ x·gᵀ over `step` rows of windows from stacked image rows.

    It is (KW, KH, C, OC); with `aligned` above 0, (OC, KW, KH, C) with OC at that distance. Then
    the image rows are transposed rather than g, which has few filters.
    """
    zero, one, deep = real(0), real(1), tall * channels
    taps, padded = wide * deep, (out_width - 1) * across + wide
    size = padded * deep
    out, turned = moved(sums, piece * filters * max(taps, aligned)), moved(scratch, size * images)
    clear(out, filters * max(taps, aligned), zero)
    for i in range(piece * step, min(out_height, piece * step + step)):
        stack_rows(x, scratch, height, width, channels * images, tall, i * down - above, row_gap,
                   left, padded, zero)  # fmt: skip
        line = moved(g, i * out_width * filters * images)
        if images == 1:
            windows_of_row(scratch, turned, out_width, across * deep, taps, lanes)
            gemm(TRANSPOSED, PLAIN, taps, filters, out_width,
                 one, turned, taps, line, filters, one, out, filters)  # fmt: skip
            continue
        if aligned:
            transpose(scratch, size, images, turned, lanes)
        for j in range(out_width):
            values, cell = moved(line, j * filters * images), j * across * deep
            if aligned:  # the columns behind a window's are sums that nothing reads
                gemm(PLAIN, PLAIN, filters, aligned, images, one, values, images,
                     moved(turned, cell), size, one, out, aligned)  # fmt: skip
            else:
                transpose(values, filters, images, turned, lanes)
                gemm(PLAIN, PLAIN, taps, filters, images, one, moved(scratch, cell * images),
                     images, turned, filters, one, out, filters)  # fmt: skip


@kernel
def channel_sums(
    g: Reals, sums: Reals, places: Whole, channels: Whole, images: Whole, step: Whole,
    piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute the sum of each channel over `step` places and all images."""
    run = channels * images
    clear(scratch, run, real(0))
    for place in range(piece * step, min(places, piece * step + step)):
        values = moved(g, place * run)
        for i in range(run):
            scratch[i] += values[i]
    for c in range(channels):
        total = real(0)
        for i in range(c * images, c * images + images):
            total += scratch[i]
        sums[piece * channels + c] = total


@kernel
def rearrange(
    x: Reals, y: Reals, parts: Whole, size: Whole,
    filters: Whole, depth: Whole, tall: Whole, wide: Whole,
    x_filter: Whole, x_channel: Whole, x_row: Whole, x_column: Whole,
    y_filter: Whole, y_channel: Whole, y_row: Whole, y_column: Whole, step: Whole,
    piece: PieceIndex,
) -> None:  # fmt: skip
    """Copy kernels to other strides, or the sum of `parts` of them, which are `size` apart."""
    for o in range(piece * step, min(filters, piece * step + step)):
        for k in range(tall):
            for j in range(wide):
                source = moved(x, o * x_filter + k * x_row + j * x_column)
                result = moved(y, o * y_filter + k * y_row + j * y_column)
                for c in range(depth):
                    result[c * y_channel] = source[c * x_channel]
                for part in range(1, parts):
                    for c in range(depth):
                        result[c * y_channel] += source[part * size + c * x_channel]
