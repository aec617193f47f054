"""Kernels of Winograd's convolution F(4×4, 3×3), for images last, in float32.

See `engine.convolution.winograd` for the formulas. A piece computes a group of neighboring tiles,
for a block of images: with columns = tiles · images,

    V[k] (C, columns)  =  Bᵀ d B        M[k] (OC, columns)  =  U[k] (OC, C) · V[k],  k = 0 … 35

and y = Aᵀ M A of each tile. V and M fit the cache, and no product needs to be packed. Vectors are
images of one channel. For few images they are channels of all images, and V[k] is (columns, C).
"""

from __future__ import annotations

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
from tinygrad_cnn.engine.fast.products import PLAIN, TRANSPOSED, gemm
from tinygrad_cnn.engine.fast.winograd_transforms import (
    KERNEL,
    gather_kernel,
    gather_outputs,
    spread_inputs,
    spread_kernel,
    spread_outputs,
    turn,
)
from tinygrad_cnn.engine.tiling import IN, OUT

VALUES = IN * IN  # of a tile, after its transform
WEIGHTS = KERNEL * KERNEL
WIDE, NARROW = 16, 8  # values of a vector; a run has at least NARROW
SMALL = 1_000_000  # multiply-adds: OpenBLAS does not pack the operands of smaller products
APART = 16  # values between two of the 36 matrices: at powers of 2 they would share cache sets


@numba.njit(**FLAGS)
def _inputs(x, row, column, c, n, run, top, bottom, left, right, zeros, v, columns, apart):  # type: ignore[no-untyped-def]
    """Transform a tile of inputs, `c` runs of values, to V. The last vectors of a run overlap."""
    for channel in range(c):
        a, b = moved(x, channel * n), moved(v, channel * columns)
        if run >= WIDE:
            for k in range(0, run, WIDE):
                i = min(k, run - WIDE)
                spread_inputs(WIDE, moved(a, i), row, column, top, bottom, left, right, zeros,
                              moved(b, i), apart)  # fmt: skip
        else:
            for k in range(0, run, NARROW):
                i = min(k, run - NARROW)
                spread_inputs(NARROW, moved(a, i), row, column, top, bottom, left, right, zeros,
                              moved(b, i), apart)  # fmt: skip


@numba.njit(**FLAGS)
def _turned(x, row, column, c, n, images, size, top, bottom, left, right, turned):  # type: ignore[no-untyped-def]
    """Copy the pixels (C, images) of a tile of `size`² to (images, C), those inside the image."""
    for pixel in range(size * size):
        i, j = pixel // size, pixel % size
        if top <= i < bottom and left <= j < right:
            a, b = moved(x, i * row + j * column), moved(turned, pixel * images * c)
            if c >= WIDE and images >= WIDE:
                for p in range(0, c, WIDE):
                    channel = min(p, c - WIDE)
                    for q in range(0, images, WIDE):
                        image = min(q, images - WIDE)
                        turn(WIDE, moved(a, channel * n + image), n,
                             moved(b, image * c + channel), c)  # fmt: skip
            elif c >= NARROW and images >= NARROW:
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
def _gradients(g, row, column, size, bottom, right, zeros, s, apart):  # type: ignore[no-untyped-def]
    """Transform a tile of gradients, pixels of `size` values, to S."""
    if size >= WIDE:
        for k in range(0, size, WIDE):
            i = min(k, size - WIDE)
            spread_outputs(WIDE, moved(g, i), row, column, 0, bottom, 0, right, zeros,
                           moved(s, i), apart)  # fmt: skip
    else:
        for k in range(0, size, NARROW):
            i = min(k, size - NARROW)
            spread_outputs(NARROW, moved(g, i), row, column, 0, bottom, 0, right, zeros,
                           moved(s, i), apart)  # fmt: skip


@numba.njit(**FLAGS)
def _outputs(m, columns, apart, biases, y, row, column, c, n, run, bottom, right, scratch):  # type: ignore[no-untyped-def]
    """Transform the products of a tile to outputs: `c` runs of a channel, or one of all values."""
    added, rest = moved(scratch, WIDE), moved(scratch, 2 * WIDE)
    for channel in range(c):
        a, b = moved(m, channel * columns), moved(y, channel * n)
        for i in range(WIDE):
            added[i] = biases[channel]
        if run >= WIDE:
            for k in range(0, run, WIDE):
                i = min(k, run - WIDE)
                at = moved(biases, i) if n < NARROW else added
                gather_outputs(WIDE, moved(a, i), apart, at, moved(b, i), row, column, bottom,
                               right, rest)  # fmt: skip
        else:
            for k in range(0, run, NARROW):
                i = min(k, run - NARROW)
                at = moved(biases, i) if n < NARROW else added
                gather_outputs(NARROW, moved(a, i), apart, at, moved(b, i), row, column, bottom,
                               right, rest)  # fmt: skip


@numba.njit(**FLAGS)
def _turned_back(turned, y, row, column, c, n, bottom, right):  # type: ignore[no-untyped-def]
    """Copy the pixels (N, C) of a tile of outputs to (C, N), those inside the image."""
    for i in range(min(OUT, bottom)):
        for j in range(min(OUT, right)):
            a, b = moved(turned, (i * OUT + j) * n * c), moved(y, i * row + j * column)
            for channel in range(c):
                for image in range(n):
                    b[channel * n + image] = a[image * c + channel]


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

    A piece is one of `groups` of tiles, for one of `blocks` of images. U is (36, OC, C), or
    (36, C, OC) for few images.
    """
    few = n < NARROW
    across, tiles = -(-ow // OUT), -(-oh // OUT) * -(-ow // OUT)
    group, block = divmod(piece, blocks)
    start, first = group * tiles // groups, block * n // blocks
    count, images = (group + 1) * tiles // groups - start, (block + 1) * n // blocks - first
    columns = count * images
    apart_v, apart_m = c * columns + APART, oc * columns + APART
    biases = moved(scratch, 3 * WIDE)
    turned = moved(biases, oc * NARROW)
    v = moved(turned, VALUES * max(c, oc) * n if few else 0)
    m = moved(v, VALUES * apart_v)
    for i in range(WIDE):
        scratch[i] = real(0)
    for k in range(n if few else 1):
        for i in range(oc):
            biases[k * oc + i] = bias[i] if biased else real(0)
    for k in range(count):
        t, j = divmod(start + k, across)
        i, j = OUT * t - top, OUT * j - left
        source, row, column = moved(x, (i * w + j) * c * n + first), w * c * n, c * n
        if few and n > 1:
            _turned(source, row, column, c, n, n, IN, -i, h - i, -j, w - j, turned)
            source, row, column = turned, IN * c * n, c * n
        _inputs(source, row, column, 1 if few else c, n, c * n if few else images, -i, h - i, -j,
                w - j, scratch, moved(v, k * (c * n if few else images)), columns,
                apart_v)  # fmt: skip
    at_once = max(1, min(oc, SMALL // (c * columns)))
    for k in range(VALUES):
        u_k = moved(u, k * (oc * c + APART))
        for first_of in range(0, oc, at_once):
            some = min(at_once, oc - first_of)
            if few:
                gemm(PLAIN, PLAIN, columns, some, c, real(1), moved(v, k * apart_v), c,
                     moved(u_k, first_of), oc, real(0), moved(m, k * apart_m + first_of),
                     oc)  # fmt: skip
            else:
                gemm(PLAIN, PLAIN, some, columns, c, real(1), moved(u_k, first_of * c), c,
                     moved(v, k * apart_v), columns, real(0),
                     moved(m, k * apart_m + first_of * columns), columns)  # fmt: skip
    for k in range(count):
        t, j = divmod(start + k, across)
        i, j = OUT * t, OUT * j
        place = moved(y, (i * ow + j) * oc * n + first)
        target, row, column = place, ow * oc * n, oc * n
        if few and n > 1:
            target, row, column = turned, OUT * oc * n, oc * n
        _outputs(moved(m, k * (oc * n if few else images)), columns, apart_m, biases, target, row,
                 column, 1 if few else oc, n, oc * n if few else images, oh - i, ow - j,
                 scratch)  # fmt: skip
        if few and n > 1:
            _turned_back(turned, place, ow * oc * n, oc * n, oc, n, oh - i, ow - j)


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
    few = n < NARROW
    across, tiles = -(-ow // OUT), -(-oh // OUT) * -(-ow // OUT)
    widest = -(-n // blocks)
    turned = moved(scratch, 3 * WIDE)
    v = moved(turned, VALUES * max(c, oc) * widest)
    s = moved(v, VALUES * (c * -(-tiles // groups) * widest + APART))
    for i in range(WIDE):
        scratch[i] = real(0)
    kept = real(0)
    for unit in range(piece, groups * blocks, parts):
        group, block = divmod(unit, blocks)
        start, first = group * tiles // groups, block * n // blocks
        count, images = (group + 1) * tiles // groups - start, (block + 1) * n // blocks - first
        columns = count * images
        apart_v, apart_s = c * columns + APART, oc * columns + APART
        for k in range(count):
            t, j = divmod(start + k, across)
            i, j = OUT * t - top, OUT * j - left
            source, row, column = moved(x, (i * w + j) * c * n + first), w * c * n, c * n
            if few and n > 1:
                _turned(source, row, column, c, n, n, IN, -i, h - i, -j, w - j, turned)
                source, row, column = turned, IN * c * n, c * n
            _inputs(source, row, column, 1 if few else c, n, c * n if few else images, -i, h - i,
                    -j, w - j, scratch, moved(v, k * (c * n if few else images)), columns,
                    apart_v)  # fmt: skip
            i, j = i + top, j + left
            source, row, column = moved(g, (i * ow + j) * oc * n + first), ow * oc * n, oc * n
            if n > 1:
                _turned(source, row, column, oc, n, images, OUT, 0, oh - i, 0, ow - j, turned)
                source, row, column = turned, OUT * images * oc, images * oc
            _gradients(source, row, column, images * oc, oh - i, ow - j, scratch,
                       moved(s, k * images * oc), apart_s)  # fmt: skip
        for k in range(VALUES):
            gemm(TRANSPOSED if few else PLAIN, PLAIN, c, oc, columns, real(1),
                 moved(v, k * apart_v), c if few else columns, moved(s, k * apart_s), oc, kept,
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
