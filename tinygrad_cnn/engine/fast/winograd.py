"""Kernels of Winograd's convolution F(4×4, 3×3), for images last, in float32.

See `engine.convolution.winograd` for the formulas. A piece computes a group of neighboring tiles of
one row, for a block of images: with columns = tiles · images,

    V[k] (C, columns)  =  Bᵀ d B        M[k] (OC, columns)  =  U[k] (OC, C) · V[k],  k = 0 … 35

and y = Aᵀ M A of each tile. V and M fit the cache, and no product needs to be packed.
"""

from __future__ import annotations

import numba

from tinygrad_cnn.engine.convolution.winograd import IN, OUT
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
from tinygrad_cnn.engine.fast.products import PLAIN, gemm
from tinygrad_cnn.engine.fast.winograd_transforms import (
    KERNEL,
    gather_kernel,
    gather_outputs,
    spread_inputs,
    spread_kernel,
    spread_outputs,
    turn,
)

VALUES = IN * IN  # of a tile, after its transform
WEIGHTS = KERNEL * KERNEL
WIDE, NARROW = 16, 8  # values of a vector; a block has at least NARROW images
SMALL = 1_000_000  # multiply-adds: OpenBLAS does not pack the operands of smaller products
APART = 16  # values between two of the 36 matrices: at powers of 2 they would share cache sets


@numba.njit(**FLAGS)
def _inputs(x, row, column, c, n, images, top, bottom, left, right, zeros, v, columns, apart):  # type: ignore[no-untyped-def]
    """Transform a tile of inputs of C channels to V. The last vectors may overlap."""
    for channel in range(c):
        a, b = moved(x, channel * n), moved(v, channel * columns)
        if images >= WIDE:
            for k in range(0, images, WIDE):
                i = min(k, images - WIDE)
                spread_inputs(WIDE, moved(a, i), row, column, top, bottom, left, right, zeros,
                              moved(b, i), apart)  # fmt: skip
        else:
            for k in range(0, images, NARROW):
                i = min(k, images - NARROW)
                spread_inputs(NARROW, moved(a, i), row, column, top, bottom, left, right, zeros,
                              moved(b, i), apart)  # fmt: skip


@numba.njit(**FLAGS)
def _turned(g, row, column, c, n, images, bottom, right, turned):  # type: ignore[no-untyped-def]
    """Copy the pixels (C, images) of a tile of gradients to (images, C)."""
    for pixel in range(OUT * OUT):
        i, j = pixel // OUT, pixel % OUT
        if i < bottom and j < right:
            a, b = moved(g, i * row + j * column), moved(turned, pixel * images * c)
            if c >= WIDE and images >= WIDE:
                for p in range(0, c, WIDE):
                    channel = min(p, c - WIDE)
                    for q in range(0, images, WIDE):
                        image = min(q, images - WIDE)
                        turn(WIDE, moved(a, channel * n + image), n,
                             moved(b, image * c + channel), c)  # fmt: skip
            elif c >= NARROW:
                for p in range(0, c, NARROW):
                    channel = min(p, c - NARROW)
                    for q in range(0, images, NARROW):
                        image = min(q, images - NARROW)
                        turn(NARROW, moved(a, channel * n + image), n,
                             moved(b, image * c + channel), c)  # fmt: skip
            else:
                for image in range(images):
                    for channel in range(c):
                        b[image * c + channel] = a[channel * n + image]


@numba.njit(**FLAGS)
def _gradients(turned, size, bottom, right, zeros, s, apart):  # type: ignore[no-untyped-def]
    """Transform a tile of gradients, pixels of `size` values, to S."""
    if size >= WIDE:
        for k in range(0, size, WIDE):
            i = min(k, size - WIDE)
            spread_outputs(WIDE, moved(turned, i), OUT * size, size, 0, bottom, 0, right, zeros,
                           moved(s, i), apart)  # fmt: skip
    else:
        for k in range(0, size, NARROW):
            i = min(k, size - NARROW)
            spread_outputs(NARROW, moved(turned, i), OUT * size, size, 0, bottom, 0, right, zeros,
                           moved(s, i), apart)  # fmt: skip


@numba.njit(**FLAGS)
def _outputs(m, columns, apart, bias, biased, y, row, column, c, n, images, bottom, right, scratch):  # type: ignore[no-untyped-def]
    """Transform the products of a tile to outputs of C channels. `scratch` begins with zeros."""
    rest = moved(scratch, WIDE)
    for channel in range(c):
        a, b = moved(m, channel * columns), moved(y, channel * n)
        added = bias[channel] if biased else scratch[0]
        if images >= WIDE:
            for k in range(0, images, WIDE):
                i = min(k, images - WIDE)
                gather_outputs(WIDE, moved(a, i), apart, added, moved(b, i), row, column, bottom,
                               right, rest)  # fmt: skip
        else:
            for k in range(0, images, NARROW):
                i = min(k, images - NARROW)
                gather_outputs(NARROW, moved(a, i), apart, added, moved(b, i), row, column, bottom,
                               right, rest)  # fmt: skip


@kernel
def winograd_kernels(
    w: Reals, u: Reals, rows: Whole, columns: Whole, row: Whole, column: Whole, start: Whole,
    down: Whole, right: Whole, step: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute U (36, rows, columns) of 3×3 weights, `row` and `column` from each other.

    The 9 weights of each begin at `start` and are `down` and `right` from each other, backwards if
    negative. `step` is a multiple of `WIDE`.
    """
    pairs = rows * columns
    for first in range(piece * step, min(pairs, piece * step + step), WIDE):
        count = min(WIDE, pairs - first)
        for i in range(WIDE):
            a, b = divmod(first + i, columns)
            first_weight = start + a * row + b * column
            for k in range(WEIGHTS):
                at = first_weight + k // KERNEL * down + k % KERNEL * right
                scratch[k * WIDE + i] = w[at] if i < count else real(0)
        if count == WIDE:
            spread_kernel(WIDE, scratch, WIDE, moved(u, first), pairs + APART)
        else:
            last = moved(scratch, WEIGHTS * WIDE)
            spread_kernel(WIDE, scratch, WIDE, last, WIDE)
            for k in range(VALUES):
                for i in range(count):
                    u[k * (pairs + APART) + first + i] = last[k * WIDE + i]


@kernel
def winograd(
    x: Reals, u: Reals, bias: Reals, biased: Whole, y: Reals, h: Whole, w: Whole, c: Whole,
    oh: Whole, ow: Whole, oc: Whole, n: Whole, top: Whole, left: Whole, groups: Whole,
    blocks: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute the convolution y (OH, OW, OC, N) of x (H, W, C, N), padded by `top` and `left`.

    A piece is one of `groups` of tiles of a row, for one of `blocks` of images.
    """
    tiles = -(-ow // OUT)
    t, rest = divmod(piece, groups * blocks)
    group, block = divmod(rest, blocks)
    first_tile, first = group * tiles // groups, block * n // blocks
    count, images = (group + 1) * tiles // groups - first_tile, (block + 1) * n // blocks - first
    columns = count * images
    across, along = c * columns + APART, oc * columns + APART
    v = moved(scratch, 2 * WIDE)
    m = moved(v, VALUES * across)
    for i in range(WIDE):
        scratch[i] = real(0)
    i = OUT * t - top
    for k in range(count):
        j = OUT * (first_tile + k) - left
        _inputs(moved(x, (i * w + j) * c * n + first), w * c * n, c * n, c, n, images, -i, h - i,
                -j, w - j, scratch, moved(v, k * images), columns, across)  # fmt: skip
    at_once = max(1, min(oc, SMALL // (c * columns)))
    for k in range(VALUES):
        for start in range(0, oc, at_once):
            gemm(PLAIN, PLAIN, min(at_once, oc - start), columns, c, real(1),
                 moved(u, k * (oc * c + APART) + start * c), c, moved(v, k * across), columns,
                 real(0), moved(m, k * along + start * columns), columns)  # fmt: skip
    for k in range(count):
        j = OUT * (first_tile + k)
        _outputs(moved(m, k * images), columns, along, bias, biased,
                 moved(y, (OUT * t * ow + j) * oc * n + first), ow * oc * n, oc * n, oc, n, images,
                 oh - OUT * t, ow - j, scratch)  # fmt: skip


@kernel
def winograd_products(
    x: Reals, g: Reals, p: Reals, h: Whole, w: Whole, c: Whole, oh: Whole, ow: Whole, oc: Whole,
    n: Whole, top: Whole, left: Whole, groups: Whole, blocks: Whole, parts: Whole,
    piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute a part of the products (36, C, OC) of inputs x and gradients g (OH, OW, OC, N).

    A part is every `parts`-th group of tiles and block of images. The transformed gradients are
    (columns, OC), as products of other orders are slower.
    """
    tiles = -(-ow // OUT)
    widest = -(-n // blocks)
    turned = moved(scratch, 2 * WIDE)
    v = moved(turned, OUT * OUT * oc * widest)
    s = moved(v, VALUES * (c * -(-tiles // groups) * widest + APART))
    for i in range(WIDE):
        scratch[i] = real(0)
    kept = real(0)
    for unit in range(piece, -(-oh // OUT) * groups * blocks, parts):
        t, rest = divmod(unit, groups * blocks)
        group, block = divmod(rest, blocks)
        first_tile, first = group * tiles // groups, block * n // blocks
        count = (group + 1) * tiles // groups - first_tile
        images = (block + 1) * n // blocks - first
        columns = count * images
        across, along = c * columns + APART, oc * columns + APART
        i = OUT * t - top
        for k in range(count):
            j = OUT * (first_tile + k) - left
            _inputs(moved(x, (i * w + j) * c * n + first), w * c * n, c * n, c, n, images, -i,
                    h - i, -j, w - j, scratch, moved(v, k * images), columns, across)  # fmt: skip
            j = OUT * (first_tile + k)
            _turned(moved(g, (OUT * t * ow + j) * oc * n + first), ow * oc * n, oc * n, oc, n,
                    images, oh - OUT * t, ow - j, turned)  # fmt: skip
            _gradients(turned, images * oc, oh - OUT * t, ow - j, scratch,
                       moved(s, k * images * oc), along)  # fmt: skip
        for k in range(VALUES):
            gemm(PLAIN, PLAIN, c, oc, columns, real(1), moved(v, k * across), columns,
                 moved(s, k * along), oc, kept,
                 moved(p, (piece * VALUES + k) * (oc * c + APART)), oc)  # fmt: skip
        kept = real(1)


@kernel
def winograd_weight_gradient(
    p: Reals, dw: Reals, c: Whole, oc: Whole, row: Whole, column: Whole, down: Whole, right: Whole,
    parts: Whole, step: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute the weight gradient (OC, C, 3, 3), of any strides, of parts (parts, 36, C, OC)."""
    pairs = c * oc
    first = piece * step
    count = min(step, pairs - first)
    summed = moved(scratch, WEIGHTS * WIDE)
    for k in range(VALUES):
        total = moved(summed, k * step)
        for i in range(step):
            total[i] = real(0)
        for part in range(parts):
            added = moved(p, (part * VALUES + k) * (pairs + APART) + first)
            for i in range(count):
                total[i] += added[i]
    for start in range(0, count, WIDE):
        gather_kernel(WIDE, moved(summed, start), step, scratch, WIDE)
        for i in range(min(WIDE, count - start)):
            a, b = divmod(first + start + i, oc)
            for k in range(WEIGHTS):
                at = b * row + a * column + k // KERNEL * down + k % KERNEL * right
                dw[at] = scratch[k * WIDE + i]
