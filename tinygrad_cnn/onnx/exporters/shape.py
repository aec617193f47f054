"""Exporters of `tinygrad_cnn.ops.shape`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_cnn import ops
from tinygrad_cnn.onnx.exporters.values import int64, like
from tinygrad_cnn.onnx.graph import Graph, Reference, exporter
from tinygrad_cnn.ops.shape import axes_of

__all__ = ["to_the_end"]


@exporter(ops.reshape)
def _(graph: Graph, x: Reference, shape: int | Sequence[int] = (-1,)) -> Any:
    sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if 0 in sizes:  # which would stand for the size of x, and cannot stand beside −1
        return graph.node("Reshape", x, int64(sizes), allowzero=1)
    return graph.reshaped(x, sizes)


@exporter(ops.transpose)
def _(graph: Graph, x: Reference, axes: Sequence[int] | None = None) -> Any:
    n = x.array.ndim
    order = [int(axis) % n for axis in (range(n)[::-1] if axes is None else axes)]
    return graph.node("Transpose", x, perm=order) if order else graph.node("Identity", x)


@exporter(ops.broadcast_to)
def _(graph: Graph, x: Reference, shape: int | Sequence[int]) -> Any:
    sizes = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    if 0 in sizes and all(isinstance(n, int) for n in sizes):
        return graph.node("Identity", like(x, np.zeros(sizes)))  # onnxruntime keeps length 1
    return graph.node("Expand", x, graph.integers(sizes))


@exporter(ops.sum_to)
def _(graph: Graph, x: Reference, shape: int | Sequence[int]) -> Any:
    target = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    gone = x.array.ndim - len(target)
    repeated = [gone + k for k, n in enumerate(target) if n == 1 and x.shape[gone + k] != 1]
    y: Any = x
    if repeated:
        y = graph.node("ReduceSum", y, int64(repeated), keepdims=1)
    if gone:
        return graph.node("ReduceSum", y, int64(range(gone)), keepdims=0)
    return y if repeated else graph.node("Identity", x)


@exporter(ops.flip)
def _(graph: Graph, x: Reference, axis: int | Sequence[int] | None = None) -> Any:
    axes = axes_of("flip", x.shape, tuple(axis) if isinstance(axis, Sequence) else axis)
    if not axes:
        return graph.node("Identity", x)
    steps = [-1] * len(axes)
    ends = [to_the_end(-1)] * len(axes)
    return graph.node("Slice", x, int64(steps), int64(ends), int64(axes), int64(steps))


@exporter("size")
def _(graph: Graph, size: Any, reciprocal: bool, like: Reference) -> Any:
    """Return a number that `capture` found to be a size, or 1 divided by one."""
    number = graph.node("Cast", graph.integers([size]), to=like.dtype)
    number = graph.node("Reciprocal", number) if reciprocal else number
    return graph.reshaped(number, like.shape)


@exporter("arange")
def _(graph: Graph, shape: Sequence[Any], like: Reference) -> Any:
    """Return the numbers that `capture` found to count along an axis of a size that varies."""
    sizes = graph.integers(shape)
    count = graph.node("ReduceProd", sizes, keepdims=0)
    line = graph.node("Range", int64(0), count, int64(1))
    return graph.node("Reshape", graph.node("Cast", line, to=like.dtype), sizes)


def to_the_end(step: int) -> int:
    """Return the end of a slice through the last entry, or with a negative step the first."""
    limits = np.iinfo(np.int64)
    return int(limits.max if step > 0 else limits.min)
