"""Two networks written by hand in NumPy for speed, to be compared with the package.

They compute into arrays that are allocated once, and `np.dot` takes the place of ``@``, which is
about five times as slow for the outer product of two vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_cnn.engine.arrays import Array

LEARNING_RATE = 0.01
HIDDEN, CHANNELS, KERNEL, POOL, CLASSES = 64, 8, 5, 2, 10


class HandwrittenPerceptron:
    """784-64-10 with ReLU and cross-entropy, forward and backward written out."""

    def __init__(self, weights: list[Array], size: int) -> None:
        self.w1, self.b1, self.w2, self.b2 = weights
        self.w1_gradient, self.w2_gradient = np.empty_like(self.w1), np.empty_like(self.w2)
        self.a, self.g = np.empty((2, size, HIDDEN), self.w1.dtype)
        self.logits = np.empty((size, CLASSES), self.w1.dtype)

    def __call__(self, images: Array, labels: Array) -> float:
        """Train on a batch and return its loss."""
        x = images.reshape(len(images), -1)
        a = np.dot(x, self.w1.T, out=self.a)
        a += self.b1
        positive = a >= 0
        np.maximum(a, 0, out=a)
        logits = np.dot(a, self.w2.T, out=self.logits)
        logits += self.b2
        loss = softmax_loss(logits, labels, len(x))  # logits: now the step in the logits
        g = np.dot(logits, self.w2, out=self.g)
        g *= positive
        self.w2 -= np.dot(logits.T, a, out=self.w2_gradient)
        self.b2 -= logits.sum(axis=0)
        self.w1 -= np.dot(g.T, x, out=self.w1_gradient)
        self.b1 -= g.sum(axis=0)
        return loss


class HandwrittenConvolution:
    """8@5×5, ReLU, max-pool 2, 10, with cross-entropy.

    The 2×2 windows of a pooled pixel lie in 6×6 pixels. So one product of these pixels with the
    kernel in four places gives the four values to pool in four contiguous blocks (im2col, with 36
    copies of an image's quarter instead of 25 of the whole). A row of ones adds the bias.
    """

    AT_ONCE = 64  # images; with 512 at once an update takes longer
    CELLS = tuple((i, j) for i in range(POOL) for j in range(POOL))
    SIDE = KERNEL + POOL - 1

    def __init__(self, weights: list[Array], size: int) -> None:
        """Allocate for batches of `size`: at most `AT_ONCE`, or a multiple of it."""
        self.w1, self.b1, self.w2, self.b2 = weights
        self.steps = [np.zeros_like(weight) for weight in weights]
        part, dtype = min(size, self.AT_ONCE), self.w1.dtype
        self.pooled = (28 - KERNEL + 1) // POOL
        pixels = part * self.pooled**2
        self.columns = np.ones((self.SIDE**2 + 1, pixels), dtype)
        self.kernels = np.zeros((len(self.CELLS), CHANNELS, self.SIDE**2 + 1), dtype)
        self.values, self.g = np.empty((2, len(self.CELLS), CHANNELS, pixels), dtype)
        self.highest = np.empty((CHANNELS, pixels), dtype)
        self.flat, self.flat_g = np.empty((2, part, CHANNELS, self.pooled**2), dtype)

    def __call__(self, images: Array, labels: Array) -> float:
        """Train on a batch and return its loss."""
        for (i, j), kernel in zip(self.CELLS, self._in_place(self.kernels), strict=True):
            kernel[:, i : i + KERNEL, j : j + KERNEL] = self.w1[:, 0]
        self.kernels[:, :, -1] = self.b1
        for step in self.steps:
            step.fill(0)
        loss = sum(
            self._learn(images[k : k + self.AT_ONCE], labels[k : k + self.AT_ONCE], len(images))
            for k in range(0, len(images), self.AT_ONCE)
        )
        for weight, step in zip((self.w1, self.b1, self.w2, self.b2), self.steps, strict=True):
            weight -= step
        return loss

    def _learn(self, images: Array, labels: Array, size: int) -> float:
        N, P = len(images), self.pooled
        n, _, h, w = images.strides
        shape = (self.SIDE, self.SIDE, N, P, P)
        pixels = as_strided(images, shape, (h, w, n, POOL * h, POOL * w))
        np.copyto(self.columns[:-1].reshape(shape), pixels)
        rows = len(self.CELLS) * CHANNELS
        np.dot(self.kernels.reshape(rows, -1), self.columns, out=self.values.reshape(rows, -1))
        highest = np.maximum.reduce(self.values, axis=0, out=self.highest)
        # (C, N, P²) to (N, C, P²)
        np.maximum(highest.reshape(CHANNELS, N, -1).swapaxes(0, 1), 0, out=self.flat)
        flat = self.flat.reshape(N, -1)
        logits = flat @ self.w2.T
        logits += self.b2
        loss = softmax_loss(logits, labels, size)
        np.dot(logits, self.w2, out=self.flat_g.reshape(N, -1))
        g = self.flat_g.swapaxes(0, 1).reshape(CHANNELS, -1)
        # The gradient is the first highest cell's. After the ReLU, cells below 0 are as high as 0
        free = highest >= 0
        for cell, (values, cell_g) in enumerate(zip(self.values, self.g, strict=True)):
            here = values == highest
            here &= free
            np.multiply(g, here, out=cell_g)
            free ^= here
            if cell == 0:
                free &= highest > 0
        w1, b1, w2, b2 = self.steps
        w2 += logits.T @ flat
        b2 += logits.sum(axis=0)
        gradient = np.dot(self.g.reshape(rows, -1), self.columns.T)
        gradient = gradient.reshape(self.kernels.shape)
        for (i, j), kernel in zip(self.CELLS, self._in_place(gradient), strict=True):
            w1[:, 0] += kernel[:, i : i + KERNEL, j : j + KERNEL]
        b1 += gradient[:, :, -1].sum(axis=0)
        return loss

    def _in_place(self, kernels: Array) -> Array:
        """Return kernels, without their bias, as (cells, C, 6, 6)."""
        return kernels[:, :, :-1].reshape(len(self.CELLS), CHANNELS, self.SIDE, self.SIDE)


def softmax_loss(logits: Array, labels: Array, size: int) -> float:
    """Return the share of these labels in a batch's mean cross-entropy.

    Replace the logits by a gradient step in them: learning rate · (S − y) / size.
    """
    rows = np.arange(len(labels))
    logits -= logits.max(axis=1, keepdims=True)
    right = logits[rows, labels].sum()
    np.exp(logits, out=logits)
    totals = logits.sum(axis=1, keepdims=True)
    logits /= totals
    logits[rows, labels] -= 1
    logits *= LEARNING_RATE / size
    return float(np.log(totals).sum() - right) / size
