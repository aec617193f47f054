"""Kernels of softmax, and of the cross-entropy of labels.

The values are a cube in memory, (outer, classes, inner): (1, C, N) of logits with the images last,
(H·W, C, N) of pixels, (N, C, 1) of rows. A piece is `step` of the outer numbers and `width` of the
inner ones, or fewer at the ends; `pieces_of` cuts a cube. Each thread needs 3·`width` reals.

A logit of NaN, or a largest one that is infinite, makes the loss and the softmax of its example
NaN. The sum of e^(x − m) is 1 plus the other powers, so that its logarithm is exact for small ones.
"""

from __future__ import annotations

from typing import Any

import numba

from tinygrad_cnn.engine.fast.exponential import exp, log1p
from tinygrad_cnn.engine.fast.kernel import (
    EXACT,
    Conversion,
    PieceIndex,
    Reals,
    Scalar,
    Scratch,
    Whole,
    Wholes,
    inlined,
    kernel,
    moved,
)

BLOCK = 1 << 14  # values of a piece, about
WIDE = 512  # inner numbers of a piece, at most


def pieces_of(outer: int, classes: int, inner: int) -> tuple[int, int, int]:
    """Return `step`, `width` and the number of pieces of a cube."""
    width = max(1, min(inner, WIDE))
    step = max(1, min(outer, BLOCK // max(1, classes * width)))
    return step, width, -(-outer // step) * -(-inner // width)


@inlined
def _powers_of_row(x: Reals, y: Reals, classes: Whole, zero: Any) -> Any:
    """Write e^(x − m), and return m, the sum of the powers below 1, and the number of the others.

    The sum is NaN if m is infinite.
    """
    largest = x[0]
    for k in range(1, classes):
        largest = x[k] if x[k] > largest else largest
    below, ones = largest - largest, zero
    for k in range(classes):
        power = exp(x[k] - largest)
        y[k] = power
        below += zero if x[k] == largest else power
        ones += zero + 1 if x[k] == largest else zero
    return largest, below, ones


@inlined
def _powers_of_columns(
    x: Reals, y: Reals, classes: Whole, inner: Whole, count: Whole, scratch: Reals, width: Whole,
    real: Any,
) -> None:  # fmt: skip
    """Write to `scratch` what `_powers_of_row` returns, for each column."""
    largest, below, ones = scratch, moved(scratch, width), moved(scratch, 2 * width)
    for n in range(count):
        largest[n] = x[n]
    for k in range(1, classes):
        row = moved(x, k * inner)
        for n in range(count):
            largest[n] = row[n] if row[n] > largest[n] else largest[n]
    for n in range(count):
        below[n] = largest[n] - largest[n]
        ones[n] = real(0)
    for k in range(classes):
        row, out = moved(x, k * inner), moved(y, k * inner)
        for n in range(count):
            power = exp(row[n] - largest[n])
            out[n] = power
            below[n] += real(0) if row[n] == largest[n] else power
            ones[n] += real(1) if row[n] == largest[n] else real(0)


@numba.njit(**EXACT)  # type: ignore[untyped-decorator]
def _log_total(below: Any, ones: Any, one: Any) -> Any:
    """Return the logarithm of the sum of all powers; `below` may be too small to change it."""
    return log1p(below + (ones - one))


@numba.njit(**EXACT)  # type: ignore[untyped-decorator]
def _logarithm(x: Any, largest: Any, log_total: Any) -> Any:
    """Return ln softmax x, in the order of operations in which small ones are exact."""
    return (x - largest) - log_total


@kernel
def softmax(
    x: Reals, y: Reals, outer: Whole, classes: Whole, inner: Whole, step: Whole, width: Whole,
    piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute e^(x − m) / Σ e^(x − m), with m the largest x."""
    across = (inner + width - 1) // width
    block, left = piece // across * step, piece % across * width
    count, below, ones = min(width, inner - left), moved(scratch, width), moved(scratch, 2 * width)
    for o in range(block, min(outer, block + step)):
        start = o * classes * inner + left
        out = moved(y, start)
        if inner == 1:
            _, others, equal = _powers_of_row(moved(x, start), out, classes, real(0))
            for k in range(classes):
                out[k] = out[k] / (others + equal)
            continue
        _powers_of_columns(moved(x, start), out, classes, inner, count, scratch, width, real)
        for k in range(classes):
            row = moved(out, k * inner)
            for n in range(count):
                row[n] = row[n] / (below[n] + ones[n])


@kernel
def softmax_gradient(
    g: Reals, y: Reals, dx: Reals, outer: Whole, classes: Whole, inner: Whole, step: Whole,
    width: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute y·(g − Σ g·y); 0 where y is 0, whatever g is there."""
    across = (inner + width - 1) // width
    block, left = piece // across * step, piece % across * width
    count, zero = min(width, inner - left), real(0)
    for o in range(block, min(outer, block + step)):
        start = o * classes * inner + left
        if inner == 1:
            own, gradient, out, total = moved(y, start), moved(g, start), moved(dx, start), zero
            for k in range(classes):
                total += zero if own[k] == zero else gradient[k] * own[k]
            for k in range(classes):
                out[k] = zero if own[k] == zero else own[k] * (gradient[k] - total)
            continue
        for n in range(count):
            scratch[n] = zero
        for k in range(classes):
            own, gradient = moved(y, start + k * inner), moved(g, start + k * inner)
            for n in range(count):
                scratch[n] += zero if own[n] == zero else gradient[n] * own[n]
        for k in range(classes):
            own, gradient = moved(y, start + k * inner), moved(g, start + k * inner)
            out = moved(dx, start + k * inner)
            for n in range(count):
                out[n] = zero if own[n] == zero else own[n] * (gradient[n] - scratch[n])


@kernel
def log_softmax(
    x: Reals, y: Reals, outer: Whole, classes: Whole, inner: Whole, step: Whole, width: Whole,
    piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute x − m − ln Σ e^(x − m), with m the largest x."""
    across = (inner + width - 1) // width
    block, left = piece // across * step, piece % across * width
    count, below, ones = min(width, inner - left), moved(scratch, width), moved(scratch, 2 * width)
    for o in range(block, min(outer, block + step)):
        start = o * classes * inner + left
        here, out = moved(x, start), moved(y, start)
        if inner == 1:
            largest, others, equal = _powers_of_row(here, out, classes, real(0))
            logarithm = _log_total(others, equal, real(1))
            for k in range(classes):
                out[k] = _logarithm(here[k], largest, logarithm)
            continue
        _powers_of_columns(here, out, classes, inner, count, scratch, width, real)
        for n in range(count):
            below[n] = _log_total(below[n], ones[n], real(1))
        for k in range(classes):
            row, own = moved(here, k * inner), moved(out, k * inner)
            for n in range(count):
                own[n] = _logarithm(row[n], scratch[n], below[n])


@kernel
def log_softmax_gradient(
    g: Reals, y: Reals, dx: Reals, outer: Whole, classes: Whole, inner: Whole, step: Whole,
    width: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute g − eʸ·Σ g."""
    across = (inner + width - 1) // width
    block, left = piece // across * step, piece % across * width
    count = min(width, inner - left)
    for o in range(block, min(outer, block + step)):
        start = o * classes * inner + left
        if inner == 1:
            own, gradient, out = moved(y, start), moved(g, start), moved(dx, start)
            total = real(0)
            for k in range(classes):
                total += gradient[k]
            for k in range(classes):
                out[k] = gradient[k] - exp(own[k]) * total
            continue
        for n in range(count):
            scratch[n] = real(0)
        for k in range(classes):
            gradient = moved(g, start + k * inner)
            for n in range(count):
                scratch[n] += gradient[n]
        for k in range(classes):
            own, gradient = moved(y, start + k * inner), moved(g, start + k * inner)
            out = moved(dx, start + k * inner)
            for n in range(count):
                out[n] = gradient[n] - exp(own[n]) * scratch[n]


@kernel
def cross_entropy(
    x: Reals, labels: Wholes, powers: Reals, losses: Reals, outer: Whole, classes: Whole,
    inner: Whole, step: Whole, width: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Compute e^(x − m), and the losses ln Σ e^(x − m) − (x − m) at the labels, (outer, inner)."""
    across = (inner + width - 1) // width
    block, left = piece // across * step, piece % across * width
    count, below, ones = min(width, inner - left), moved(scratch, width), moved(scratch, 2 * width)
    for o in range(block, min(outer, block + step)):
        start = o * classes * inner + left
        here, out = moved(x, start), moved(powers, start)
        label, loss = moved(labels, o * inner + left), moved(losses, o * inner + left)
        if inner == 1:
            largest, others, equal = _powers_of_row(here, out, classes, real(0))
            logarithm = _log_total(others, equal, real(1))
            loss[0] = -_logarithm(here[label[0]], largest, logarithm)
            continue
        _powers_of_columns(here, out, classes, inner, count, scratch, width, real)
        for n in range(count):
            loss[n] = _log_total(below[n], ones[n], real(1))
        for n in range(count):
            loss[n] = -_logarithm(here[label[n] * inner + n], scratch[n], loss[n])


@kernel
def cross_entropy_gradient(
    g: Reals, labels: Wholes, powers: Reals, dx: Reals, outer: Whole, classes: Whole, inner: Whole,
    step: Whole, width: Whole, apart: Whole, scale: Scalar, piece: PieceIndex, scratch: Scratch,
    real: Conversion,
) -> None:  # fmt: skip
    """Compute s·g·(softmax x − 1 at the label), with the scale s, such as 1 / n of a mean.

    `apart` is the distance of the gradients of two examples: 1, or 0 of a single one for all.
    """
    across = (inner + width - 1) // width
    block, left = piece // across * step, piece % across * width
    count, factors = min(width, inner - left), moved(scratch, width)
    for o in range(block, min(outer, block + step)):
        start, first = o * classes * inner + left, o * inner + left
        here, out, label = moved(powers, start), moved(dx, start), moved(labels, first)
        if inner == 1:
            total, factor = real(0), scale * g[first * apart]
            for k in range(classes):
                total += here[k]
            for k in range(classes):
                out[k] = here[k] * (factor / total)
            out[label[0]] -= factor
            continue
        for n in range(count):
            scratch[n] = real(0)
        for k in range(classes):
            row = moved(here, k * inner)
            for n in range(count):
                scratch[n] += row[n]
        for n in range(count):
            factors[n] = scale * g[(first + n) * apart]
            scratch[n] = factors[n] / scratch[n]
        for k in range(classes):
            row, own = moved(here, k * inner), moved(out, k * inner)
            for n in range(count):
                own[n] = row[n] * scratch[n]
        for n in range(count):
            out[label[n] * inner + n] -= factors[n]


# --- labels --------------------------------------------------------------------------------------


@kernel
def checked_labels(
    labels: Wholes, known: Wholes, shares: Reals, stop: Wholes, count: Whole, classes: Whole,
    ignored: Whole, is_mean: Whole, code: Whole, real: Conversion,
) -> None:  # fmt: skip
    """Compute the labels with 0 for the ignored ones, and the share of each example.

    It is 1, or 0 of an ignored one; with `is_mean` their sum is 1. The run ends with `code` if a
    label is no class, or with `is_mean` all are ignored.
    """
    taken, wrong = 0, False
    for i in range(count):
        label = labels[i]
        if label == ignored:
            known[i], shares[i] = 0, real(0)
            continue
        wrong |= (label < 0) | (label >= classes)
        known[i], shares[i] = label, real(1)
        taken += 1
    if wrong or (is_mean and taken == 0):
        stop[0] = code
    elif is_mean:
        share = real(1) / real(taken)
        for i in range(count):
            shares[i] *= share


@kernel
def shared_sum(x: Reals, shares: Reals, y: Reals, count: Whole, real: Conversion) -> None:
    """Compute Σ s·x; where s is 0, x may be anything."""
    total, zero = real(0), real(0)
    for i in range(count):
        total += x[i] * shares[i] if shares[i] != zero else zero
    y[0] = total


@kernel
def shared_out(g: Reals, shares: Reals, y: Reals, count: Whole) -> None:
    """Compute g·s, the gradient of each example."""
    for i in range(count):
        y[i] = g[0] * shares[i]
