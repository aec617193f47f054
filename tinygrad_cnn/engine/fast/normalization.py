"""Kernels of batch normalization and its running statistics.

The values of a channel lie in runs: x is seen as (pixels, channels, run), (H·W, C, N) with the
images last. Sums are taken in two rows. The first adds the pixels of each piece, a run at a time;
the second adds the pieces of each channel in float64:

    Σ (x − s), Σ (x − s)²     →  μ, σ, variance    `channel_sums`, `channel_statistics`
    (x − μ)·w/σ + b                                `normalized_channels`
    Σ g, Σ g·x̂                                     `gradient_sums`, `channel_moments`
    w/σ·(g − Σ g / n − x̂·Σ g·x̂ / n)               `normalization_gradient`

The shift s is the mean of a channel's first run. Where it is far from μ, or the dtype cannot hold
the squares, the variance is computed again in float64, in two passes.

A rectifier may follow, such as max(0, y). Forwards, y is limited to [low, high]. Backwards, g
passes where y was in [low, high] before, which is computed again from x: no mask is stored.

Statistics are those of `engine.normalization`, (4, channels), and moments are (2, channels). Their
value k of channel c is at ``k·row + c·column``.
"""

from __future__ import annotations

import math

from tinygrad_cnn.engine.fast.kernel import (
    Conversion,
    PieceIndex,
    Reals,
    Scalar,
    Scratch,
    Whole,
    Wholes,
    kernel,
)

FAR = 4.0  # squared deviations between the shift and the mean: beyond, digits are lost
LEAST, MOST = 1e-30, 1e30  # between these, float32 holds the squares that a variance is made of
PER_PIECE = 1 << 16  # values that a piece adds or maps, about,
IN_TURN = 128  # and the runs of a channel that it adds one after the other, at most
LINE = 16  # read one of so many values of g before: a masked load waits for its mask, and memory


def pixels_of_piece(pixels: int, values: int) -> int:
    """Return the pixels of a piece, for pixels of as many values."""
    return max(1, min(IN_TURN, PER_PIECE // max(1, values), pixels))


@kernel
def channel_sums(
    x: Reals, sums: Reals, pixels: Whole, channels: Whole, run: Whole, each: Whole,
    piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Add x − s and its squares over the pixels of a piece: (pieces, channels, 2)."""
    for c in range(channels):
        first = real(0)
        for i in range(c * run, c * run + run):
            first += x[i]
        scratch[c] = first / real(run)
    base = piece * channels * 2
    for k in range(base, base + channels * 2):
        sums[k] = real(0)
    for p in range(piece * each, min(pixels, piece * each + each)):
        for c in range(channels):
            start, shift = (p * channels + c) * run, scratch[c]
            first, second = real(0), real(0)
            for i in range(start, start + run):
                value = x[i] - shift
                first += value
                second += value * value
            sums[base + 2 * c] += first
            sums[base + 2 * c + 1] += second


@kernel
def channel_statistics(
    x: Reals, sums: Reals, found: Reals, pieces: Whole, pixels: Whole, channels: Whole, run: Whole,
    row: Whole, column: Whole, eps: Scalar, real: Conversion,
) -> None:  # fmt: skip
    """Write μ, √(variance + ε), the variance and a flag, 1, of each channel."""
    count = float(pixels * run)
    for c in range(channels):
        first, second = 0.0, 0.0
        for k in range(pieces):
            first += sums[(k * channels + c) * 2]
            second += sums[(k * channels + c) * 2 + 1]
        start = real(0)
        for i in range(c * run, c * run + run):
            start += x[i]
        offset = first / count
        mean = float(start / real(run)) + offset
        variance = second / count - offset * offset
        near = offset * offset <= FAR * variance
        if not (near and LEAST < variance + eps < MOST):
            mean, variance = 0.0, 0.0
            for p in range(pixels):
                for i in range((p * channels + c) * run, (p * channels + c) * run + run):
                    mean += x[i]
            mean /= count
            for p in range(pixels):
                for i in range((p * channels + c) * run, (p * channels + c) * run + run):
                    variance += (x[i] - mean) * (x[i] - mean)
            variance /= count
        found[c * column] = mean
        found[c * column + row] = math.sqrt(variance + eps)
        found[c * column + 2 * row] = variance
        found[c * column + 3 * row] = real(1)


@kernel
def normalized_channels(
    x: Reals, found: Reals, w: Reals, bias: Reals, y: Reals, scaled: Whole, shifted: Whole,
    low: Scalar, high: Scalar, pixels: Whole, channels: Whole, run: Whole, row: Whole,
    column: Whole, each: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Write (x − μ)·w/σ + b, limited to [low, high]."""
    for c in range(channels):
        scratch[3 * c] = found[c * column]
        scratch[3 * c + 1] = (w[c] if scaled else real(1)) / found[c * column + row]
        scratch[3 * c + 2] = bias[c] if shifted else real(0)
    for p in range(piece * each, min(pixels, piece * each + each)):
        for c in range(channels):
            start = (p * channels + c) * run
            center, scale, shift = scratch[3 * c], scratch[3 * c + 1], scratch[3 * c + 2]
            for i in range(start, start + run):
                value = (x[i] - center) * scale + shift
                value = low if value < low else value
                y[i] = high if value > high else value


@kernel
def gradient_sums(
    g: Reals, x: Reals, found: Reals, w: Reals, bias: Reals, sums: Reals, scaled: Whole,
    shifted: Whole, masked: Whole, low: Scalar, high: Scalar, pixels: Whole, channels: Whole,
    run: Whole, row: Whole, column: Whole, each: Whole, piece: PieceIndex, scratch: Scratch,
    real: Conversion,
) -> None:  # fmt: skip
    """Add g and g·x̂ over the pixels of a piece, g through a rectifier if `masked`."""
    base = piece * channels * 2
    for c in range(channels):
        scratch[4 * c] = found[c * column]
        scratch[4 * c + 1] = real(1) / found[c * column + row]
        scratch[4 * c + 2] = (w[c] if scaled else real(1)) / found[c * column + row]
        scratch[4 * c + 3] = bias[c] if shifted else real(0)
        sums[base + 2 * c] = sums[base + 2 * c + 1] = real(0)
    zero, touched = real(0), real(0)
    for p in range(piece * each, min(pixels, piece * each + each)):
        for c in range(channels):
            start = (p * channels + c) * run
            center, inverse = scratch[4 * c], scratch[4 * c + 1]
            scale, shift = scratch[4 * c + 2], scratch[4 * c + 3]
            first, second = zero, zero
            if masked:
                for i in range(start, start + run, LINE):
                    touched += g[i]
                for i in range(start, start + run):
                    centered = x[i] - center
                    value = centered * scale + shift
                    gradient = g[i]
                    gradient = gradient if (value >= low) & (value <= high) else zero
                    first += gradient
                    second += gradient * (centered * inverse)
            else:
                for i in range(start, start + run):
                    first += g[i]
                    second += g[i] * ((x[i] - center) * inverse)
            sums[base + 2 * c] += first
            sums[base + 2 * c + 1] += second
    scratch[0] = touched


@kernel
def channel_moments(
    sums: Reals, found: Reals, pieces: Whole, channels: Whole, row: Whole, column: Whole
) -> None:
    """Add the sums of the pieces: Σ g and Σ g·x̂ of each channel."""
    for c in range(channels):
        first, second = 0.0, 0.0
        for k in range(pieces):
            first += sums[(k * channels + c) * 2]
            second += sums[(k * channels + c) * 2 + 1]
        found[c * column] = first
        found[c * column + row] = second


@kernel
def normalization_gradient(
    g: Reals, x: Reals, found: Reals, moments: Reals, w: Reals, bias: Reals, dx: Reals,
    scaled: Whole, shifted: Whole, masked: Whole, low: Scalar, high: Scalar, pixels: Whole,
    channels: Whole, run: Whole, row: Whole, column: Whole, moments_row: Whole,
    moments_column: Whole, each: Whole, piece: PieceIndex, scratch: Scratch, real: Conversion,
) -> None:  # fmt: skip
    """Write w/σ·(g − Σ g / n − x̂·Σ g·x̂ / n), of g through a rectifier if `masked`."""
    count = real(pixels * run)
    for c in range(channels):
        k = 6 * c
        scratch[k] = found[c * column]
        scratch[k + 1] = real(1) / found[c * column + row]
        scratch[k + 2] = (w[c] if scaled else real(1)) / found[c * column + row]
        scratch[k + 3] = bias[c] if shifted else real(0)
        scratch[k + 4] = moments[c * moments_column] / count
        scratch[k + 5] = moments[c * moments_column + moments_row] / count
    zero, touched = real(0), real(0)
    for p in range(piece * each, min(pixels, piece * each + each)):
        for c in range(channels):
            start, k = (p * channels + c) * run, 6 * c
            center, inverse, scale = scratch[k], scratch[k + 1], scratch[k + 2]
            shift, of_g, of_x = scratch[k + 3], scratch[k + 4], scratch[k + 5]
            if masked:
                for i in range(start, start + run, LINE):
                    touched += g[i]
                for i in range(start, start + run):
                    centered = x[i] - center
                    value = centered * scale + shift
                    gradient = g[i]
                    gradient = gradient if (value >= low) & (value <= high) else zero
                    dx[i] = scale * (gradient - of_g - centered * inverse * of_x)
            else:
                for i in range(start, start + run):
                    dx[i] = scale * (g[i] - of_g - (x[i] - center) * inverse * of_x)
    scratch[0] = touched


@kernel
def followed(
    running: Reals, batch: Reals, count: Whole, start: Whole, step: Whole, scale: Scalar,
    momentum: Scalar,
) -> None:  # fmt: skip
    """Compute r ← r + m·(s·b − r), where b begins at `start` of `batch`."""
    for i in range(count):
        running[i] += momentum * (scale * batch[start + i * step] - running[i])


@kernel
def counted(x: Wholes) -> None:
    """Add 1 to a whole number."""
    x[0] += 1
