"""Signals: Fourier transforms, as products with matrices of cosines and sines."""

from __future__ import annotations

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.values import axis_of, integers, plain, refused
from tinygrad_cnn.onnx.operator import Operator, importer
from tinygrad_cnn.onnx.tensors import dtype_of

__all__: list[str] = []

_LONGEST = 4096  # of a transform, whose matrices have the square of that many entries


def _transformed(
    node: Operator, x: Array, length: int, inverse: bool = False, onesided: bool = False
) -> Array:
    """Return the transform along the last axis but one; the last has real and imaginary parts."""
    if not 1 <= length <= _LONGEST:
        raise refused(node, f"a transform of length {length}, expected 1 to {_LONGEST}")
    if inverse and onesided:
        return _real_signal(node, x, length)
    used = min(length, x.shape[-2])
    kept = length // 2 + 1 if onesided else length
    angle = 2 * np.pi / length * (np.outer(np.arange(used), np.arange(kept)) % length)
    scale = 1 / length if inverse else 1.0
    cos = (scale * np.cos(angle)).astype(x.dtype)
    sin = ((scale if inverse else -scale) * np.sin(angle)).astype(x.dtype)
    a = x[..., :used, 0]
    parts = [ops.matmul(a, cos), ops.matmul(a, sin)]
    if x.shape[-1] == 2:
        b = x[..., :used, 1]
        parts = [parts[0] - ops.matmul(b, sin), parts[1] + ops.matmul(b, cos)]
    return ops.stack(parts, -1)


def _real_signal(node: Operator, x: Array, length: int) -> Array:
    """Return the real signal of which `x` is half the spectrum."""
    half = x[..., : length // 2 + 1, :]
    mirrored = ops.mul(half[..., (length - 1) // 2 : 0 : -1, :], np.array([1, -1], x.dtype))
    return _transformed(node, ops.concatenate([half, mirrored], -2), length, inverse=True)[..., :1]


@importer("DFT")
def _(node: Operator, x: Array, length: Array | None = None, axis: Array | None = None) -> Array:
    given = node.get("axis", 1) if node.opset < 20 else -2 if axis is None else integers(axis)[0]
    a = axis_of(node, given, len(x.shape))
    inverse, onesided = bool(node.get("inverse", 0)), bool(node.get("onesided", 0))
    n = x.shape[a] if length is None else integers(length)[0]
    if length is None and inverse and onesided:
        n = 2 * (n - 1)
    y = _transformed(node, ops.moveaxis(x, a, -2), n, inverse, onesided)
    return ops.moveaxis(y, -2, a)


@importer("STFT")
def _(
    node: Operator,
    x: Array,
    step: Array,
    window: Array | None = None,
    length: Array | None = None,
) -> Array:
    (stride,) = integers(step)
    n = x.shape[1] if window is None else window.shape[0]
    n = n if length is None else integers(length)[0]
    starts = stride * np.arange((x.shape[1] - n) // stride + 1)
    frames = x[:, starts[:, np.newaxis] + np.arange(n)]
    if window is not None:
        frames = ops.mul(frames, ops.reshape(window, (-1, 1)))
    return _transformed(node, frames, n, onesided=bool(node.get("onesided", 1)))


@importer("MelWeightMatrix")
def _(node: Operator, bins: Array, length: Array, rate: Array, low: Array, high: Array) -> Array:
    count, n = integers(bins)[0], integers(length)[0]
    first, last = (2595 * np.log10(1 + plain(f).reshape(()) / 700.0) for f in (low, high))
    mel = first + (last - first) / (count + 2) * np.arange(count + 2)
    edges = ((n + 1) * (700 * (10 ** (mel / 2595) - 1))) // plain(rate).reshape(())
    left, center, right = edges[:-2], edges[1:-1], edges[2:]
    rows = np.arange(n // 2 + 1)[:, np.newaxis]
    rising = (rows - left) / np.maximum(center - left, 1)
    falling = (right - rows) / np.maximum(right - center, 1)
    weights = np.where(rows < center, rising, np.where(rows == center, 1.0, falling))
    inside = (rows >= left) & ((rows < right) | (rows == center))
    return np.where(inside, weights, 0.0).astype(
        dtype_of(node.get("output_datatype", 1), str(node))
    )
