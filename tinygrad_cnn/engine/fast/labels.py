"""Kernels of labels: they are checked, and those to ignore weigh 0."""

from __future__ import annotations

from tinygrad_cnn.engine.fast.kernel import Conversion, Reals, Whole, Wholes, kernel


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
