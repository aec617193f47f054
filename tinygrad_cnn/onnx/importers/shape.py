"""Shapes: their arithmetic in int64, and values in other shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.core.variable import Array
from tinygrad_cnn.onnx.importers.values import axis_of, integers, is_floating, plain, refused
from tinygrad_cnn.onnx.operator import Operator, importer

__all__ = ["joined", "reshaped"]


def reshaped(x: Array, shape: Any) -> Array:
    """Return `x` in another shape: floats by an op, other values by NumPy."""
    return ops.reshape(x, shape) if is_floating(x) else plain(x).reshape(shape)


def joined(parts: list[Array], axis: int) -> Array:
    """Return values joined along an axis."""
    if is_floating(parts[0]):
        return ops.concatenate(parts, axis)
    return np.concatenate([plain(part) for part in parts], axis)


@importer("Shape")
def _(node: Operator, x: Array) -> Array:
    return np.array(x.shape[node.get("start", 0) : node.get("end")], np.int64)


@importer("Size")
def _(node: Operator, x: Array) -> Array:
    return np.array(math.prod(x.shape), np.int64)


@importer("Reshape")
def _(node: Operator, x: Array, shape: Array | None = None) -> Array:
    sizes = integers(node.get("shape") if shape is None else shape)
    if not node.get("allowzero"):
        if 0 in sizes[len(x.shape) :]:
            raise refused(node, f"shape is {sizes}: 0 stands for an axis that x: {x.shape} lacks")
        sizes = [n or x.shape[a] for a, n in enumerate(sizes)]
    if -1 in sizes and 0 in x.shape:  # NumPy refuses a -1 beside a 0
        rest = math.prod(n for n in sizes if n != -1)
        sizes = [(0 if not rest else math.prod(x.shape) // rest) if n == -1 else n for n in sizes]
    return reshaped(x, sizes)


@importer("Flatten")
def _(node: Operator, x: Array) -> Array:
    axis = node.get("axis", 1)
    if not -len(x.shape) <= axis <= len(x.shape):
        raise refused(node, f"axis is {axis}, but the input has shape {x.shape}")
    axis += len(x.shape) if axis < 0 else 0
    return reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@importer("Squeeze")
def _(node: Operator, x: Array, axes: Array | None = None) -> Array:
    given = node.get("axes") if axes is None else axes
    if given is None:
        return reshaped(x, [n for n in x.shape if n != 1])
    gone = {axis_of(node, a, len(x.shape)) for a in integers(given)}
    if any(x.shape[a] != 1 for a in gone):
        raise refused(node, f"axes are {integers(given)}, but the input has shape {x.shape}")
    return reshaped(x, [n for a, n in enumerate(x.shape) if a not in gone])


@importer("Unsqueeze")
def _(node: Operator, x: Array, axes: Array | None = None) -> Array:
    given = integers(node.get("axes") if axes is None else axes)
    ndim = len(x.shape) + len(given)
    new = {axis_of(node, a, ndim) for a in given}
    if len(new) < len(given):
        raise refused(node, f"axes are {given}, expected distinct ones")
    old = iter(x.shape)
    return reshaped(x, [1 if a in new else next(old) for a in range(ndim)])


@importer("Transpose")
def _(node: Operator, x: Array) -> Array:
    axes = node.get("perm", list(range(len(x.shape)))[::-1])
    return ops.transpose(x, axes) if is_floating(x) else plain(x).transpose(axes)


@importer("Expand")
def _(node: Operator, x: Array, shape: Array) -> Array:
    # Called also where it changes nothing: a batch of 1 has the same calls as others.
    sizes = np.broadcast_shapes(x.shape, tuple(integers(shape)))
    return ops.broadcast_to(x, sizes) if is_floating(x) else np.broadcast_to(plain(x), sizes)


@importer("Tile")
def _(node: Operator, x: Array, repeats: Array, axis: Array | None = None) -> Array:
    counts = integers(repeats)
    if axis is not None:  # before opset 6: a count for one axis
        (a,) = integers(axis)
        counts = [counts[0] if k == a else 1 for k in range(len(x.shape))]
    return ops.tile(x, counts) if is_floating(x) else np.tile(plain(x), counts)


@importer("Concat")
def _(node: Operator, *parts: Array) -> Array:
    return joined(list(parts), axis_of(node, node.get("axis", 1), len(parts[0].shape)))


@importer("Split")
def _(node: Operator, x: Array, sizes: Array | None = None) -> Array:
    a = axis_of(node, node.get("axis", 0), len(x.shape))
    given = node.get("split") if sizes is None else sizes
    if given is not None:
        lengths = integers(given)
    else:  # the last is shorter if they cannot be equal
        count = node.get("num_outputs", node.outputs)
        if not 0 < count <= max(x.shape[a], node.outputs):
            raise refused(node, f"num_outputs is {count}, but the input shape {x.shape}")
        length = -(-x.shape[a] // count)
        lengths = [max(min(length, x.shape[a] - k * length), 0) for k in range(count)]
    if sum(lengths) != x.shape[a] or min(lengths, default=0) < 0:
        raise refused(node, f"the parts have lengths {lengths}, but the input shape {x.shape}")
    ends = np.cumsum(lengths).tolist()
    before = (slice(None),) * a
    x = x if is_floating(x) else plain(x)
    return tuple(x[(*before, slice(end - n, end))] for n, end in zip(lengths, ends, strict=True))
