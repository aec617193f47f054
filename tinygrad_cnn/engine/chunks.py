"""Elementwise work on large arrays, in chunks that stay in the cache.

A formula of several passes reads and writes memory in each: on arrays beyond the cache the passes
take most of the time, and each temporary as much again. Chunk by chunk, only the first pass reads
memory and only the last writes it. Chunks depend on the arrays alone, so results are bit-identical
for any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_cnn.engine import memory, threads
from tinygrad_cnn.engine.arrays import Array

SIZE = 1 << 15  # elements of one chunk


def run(function: Callable[..., object], *arrays: Array, work: int = 4) -> None:
    """Call ``function(*parts)`` with corresponding parts of the arrays, which it reads or writes.

    Arrays of one memory order are passed as flat chunks, views of dimension 1. Others are cut along
    the slowest axis in memory of the first, and small ones passed as they are. So `function` must
    be elementwise and work for any shape. It may run on several threads.

    Parameters
    ----------
    function : callable
        Takes as many arrays; it writes with ``out=`` or ``[...]``.
    arrays : ndarray
        The first has the full shape, the others broadcast to it. An array to write to has the full
        shape and overlaps no other, or is the same array.
    work : int
        The cost of one element, in bytes moved: 64 for functions such as exp.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.engine import chunks
    >>> x = np.linspace(-1, 1, 1 << 20)
    >>> y = np.empty_like(x)
    >>> def leaky(y, x):
    ...     np.multiply(x, 0.1, out=y)
    ...     np.maximum(y, x, out=y)
    >>> chunks.run(leaky, y, x)
    >>> y[0].item(), y[-1].item()
    (-0.1, 1.0)
    """
    first = arrays[0]
    if first.size <= SIZE:
        function(*arrays)
        return
    cut, count = _cut(arrays)

    def piece(i: int) -> None:
        function(*cut(i))

    threads.run(piece, count, first.size * work)


def mapped(
    function: Callable[..., Any], *arrays: Array, work: int = 4, dtype: DTypeLike | None = None
) -> Array:
    """Return ``function(*arrays)`` of an elementwise function, computed in chunks if large.

    The arguments are those of `run`; here `function` returns its values, of `dtype`, by default
    that of the first array, whose memory order the result has.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.engine import chunks
    >>> x = np.linspace(-1, 1, 1 << 20)
    >>> y = chunks.mapped(lambda x: 1 / (1 + np.exp(-x)), x, work=64)
    >>> y.shape
    (1048576,)
    """
    first = arrays[0]
    if first.size <= SIZE:
        return np.asarray(function(*arrays))
    out = memory.empty_like(first, dtype=dtype)

    def write(out: Array, *parts: Array) -> None:
        out[...] = function(*parts)

    run(write, out, *arrays, work=work)
    return out


def flat(*arrays: Array) -> list[Array] | None:
    """Return the arrays as vectors, views of their memory; None unless all have one memory order.

    Corresponding elements of arrays with equal shapes are then at equal places.
    """
    first = arrays[0]
    shape, strides = first.shape, first.strides
    order = sorted(range(first.ndim), key=lambda axis: (-abs(strides[axis]), -shape[axis]))
    vectors = []
    for array in arrays:
        ordered = array.transpose(order) if array.shape == shape else None
        if ordered is None or not ordered.flags.c_contiguous:
            return None
        vectors.append(ordered.reshape(-1))
    return vectors


def _cut(arrays: tuple[Array, ...]) -> tuple[Callable[[int], list[Array]], int]:
    """Return a function that returns the parts of a chunk, and the number of chunks."""
    first, vectors = arrays[0], flat(*arrays)
    if vectors is not None:

        def chunk(i: int) -> list[Array]:
            return [vector[i * SIZE : (i + 1) * SIZE] for vector in vectors]

        return chunk, -(-first.size // SIZE)
    shape, strides = first.shape, first.strides
    axis = max(range(first.ndim), key=lambda k: (abs(strides[k]) if shape[k] > 1 else -1, shape[k]))
    rows = max(1, SIZE * shape[axis] // math.prod(shape))
    place = first.ndim - axis  # from the last
    behind = (slice(None),) * (place - 1)
    are_cut = [(a, a.ndim >= place and a.shape[-place] > 1) for a in arrays]

    def part(i: int) -> list[Array]:
        some: Any = (..., slice(i * rows, (i + 1) * rows), *behind)
        return [array[some] if cut else array for array, cut in are_cut]

    return part, -(-shape[axis] // rows)
