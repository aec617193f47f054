"""Elementwise work on large arrays, in chunks that stay in the cache.

A formula of several passes reads and writes memory in each: on arrays beyond the cache the passes
take most of the time, and each temporary as much again. Chunk by chunk, only the first pass reads
memory and only the last writes it. Chunks depend on the arrays alone, so results are bit-identical
for any number of threads.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tinygrad_cnn.engine import memory, threads
from tinygrad_cnn.engine.arrays import Array, memory_order

SIZE = 1 << 17  # elements of one chunk, fewer of many or wide arrays: a few chunks fit the cache,
# and a call on one takes long enough for two threads to compute without waiting for the GIL

_OPTIONS = (int, float, complex, str, np.generic, type(None))

F = TypeVar("F", bound=Callable[..., Any])


def run(function: Callable[..., object], *arrays: Array, work: int = 8) -> None:
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
        The cost of one element: the bytes read and written, and 16 for each exp, log or tanh (see
        `threads.run`).

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
    cut, count = _cut(arrays, _size(arrays))

    def piece(i: int) -> None:
        function(*cut(i))

    _run(piece, count, first.size * work * threads.BYTE)


def mapped(function: Callable[..., Any], *arrays: Array, work: int = 8) -> Array:
    """Return ``function(*arrays)`` of an elementwise function, computed in chunks if large.

    The arguments are those of `run`; here `function` returns its values, as a new array or one of
    its arguments. The result has the memory order of the first array.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.engine import chunks
    >>> x = np.linspace(-1, 1, 1 << 20)
    >>> y = chunks.mapped(lambda x: 1 / (1 + np.exp(-x)), x, work=40)
    >>> y.shape
    (1048576,)
    """
    first = arrays[0]
    if first.size <= SIZE:
        return np.asarray(function(*arrays))
    size = _size(arrays)
    values = np.asarray(function(*_cut(arrays, size)[0](0)))
    out = memory.empty_like(first, dtype=values.dtype)
    cut, count = _cut((*arrays, out), size)

    def piece(i: int) -> None:
        *parts, part = cut(i)
        part[...] = function(*parts) if i else values

    _run(piece, count, first.size * work * threads.BYTE)
    return out


def chunked(work: int = 8, by: Callable[..., object] | None = None) -> Callable[[F], F]:
    """Decorate an elementwise function of arrays and options so that it computes in chunks.

    The other arguments must be arrays of the shape of the first, or options. Otherwise, and with
    Tensors or small arrays, it is called as it is.

    Parameters
    ----------
    work : int
        As for `run`.
    by : callable, optional
        Computes the same for chunks of real arrays, without temporaries, which take a quarter of
        the time of a formula of three passes: a function of an array to write to, and the arguments
        of the decorated one, in that order.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.engine.chunks import chunked
    >>> @chunked(work=40)
    ... def power(x, *, base):
    ...     return base ** (x * 0.5)
    >>> power(np.full(1 << 20, 6.0), base=2.0)[-1].item()
    8.0
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def in_chunks(first: Any, *others: Any, **named: Any) -> Any:
            if type(first) is not np.ndarray or first.size <= SIZE:
                return function(first, *others, **named)
            values = [*others, *named.values()]
            cut = []
            for k, value in enumerate(values):
                if type(value) is np.ndarray and value.shape == first.shape:
                    cut.append(k)
                elif not isinstance(value, _OPTIONS) and np.ndim(value):
                    return function(first, *others, **named)

            arrays = [first, *[values[k] for k in cut]]

            def given(parts: Sequence[Array]) -> list[Any]:
                mixed = values.copy()
                for k, part in zip(cut, parts, strict=True):
                    mixed[k] = part
                return mixed

            def called(first: Array, *parts: Array) -> Any:
                mixed = given(parts)
                by_name = dict(zip(named, mixed[len(others) :], strict=True))
                return function(first, *mixed[: len(others)], **by_name)

            def write(out: Array, first: Array, *parts: Array) -> None:
                by(out, first, *given(parts))  # type: ignore[misc]  # is not None

            if by is None or first.dtype.char not in "fd":
                return mapped(called, *arrays, work=work)
            out = memory.empty_like(first)
            run(write, out, *arrays, work=work)
            return out

        return in_chunks  # type: ignore[return-value]  # has the signature of `function`

    return decorate


def applied(function: np.ufunc, *given: Any, work: int = 8) -> Array:
    """Return ``function(*given)``, on several threads if the first of the arrays is large.

    The result has the dtype of the first array, unless this is bool, and its shape. Other arrays
    broadcast to it; Python numbers come last.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_cnn.engine.chunks import applied
    >>> applied(np.maximum, np.array([-1.0, 2.0]), 0)
    array([0., 2.])
    """
    if given[0].size <= SIZE or given[0].dtype.kind == "b":
        return function(*given)  # type: ignore[no-any-return]  # an array
    arrays = [value for value in given if type(value) is np.ndarray]
    numbers = given[len(arrays) :]
    out = memory.empty_like(given[0])
    run(lambda out, *parts: function(*parts, *numbers, out=out), out, *arrays, work=work)
    return out


def flat(*arrays: Array) -> list[Array] | None:
    """Return the arrays as vectors, views of their memory; None unless all have one memory order.

    Corresponding elements of arrays with equal shapes are then at equal places.
    """
    first = arrays[0]
    shape, order = first.shape, None
    if not first.flags.c_contiguous:
        order = memory_order(shape, first.strides)
    vectors = []
    for array in arrays:
        if array.shape != shape:
            return None
        ordered = array if order is None else array.transpose(order)
        if not ordered.flags.c_contiguous:
            return None
        vectors.append(ordered.reshape(-1))
    return vectors


def _run(piece: Callable[[int], None], count: int, operations: int) -> None:
    """Call `threads.run`, which holds BLAS at one thread, only if it may use several threads."""
    if operations < threads.WORTH:
        for i in range(count):
            piece(i)
    else:
        threads.run(piece, count, operations)


def _size(arrays: tuple[Array, ...]) -> int:
    """Return the number of elements of a chunk: an even number of chunks, each of at most 1 MiB."""
    most = min(SIZE, SIZE * 8 // sum([array.itemsize for array in arrays]))
    count = -(-arrays[0].size // most)
    return -(-arrays[0].size // (16 * (count + count % 2))) * 16


def _cut(arrays: tuple[Array, ...], size: int) -> tuple[Callable[[int], list[Array]], int]:
    """Return a function that returns the parts of a chunk, and the number of chunks."""
    first, vectors = arrays[0], flat(*arrays)
    if vectors is not None:

        def chunk(i: int) -> list[Array]:
            part = slice(i * size, (i + 1) * size)
            return [vector[part] for vector in vectors]

        return chunk, -(-first.size // size)
    shape, strides = first.shape, first.strides
    axis = max(range(first.ndim), key=lambda k: (abs(strides[k]) if shape[k] > 1 else -1, shape[k]))
    rows = max(1, size * shape[axis] // math.prod(shape))
    place = first.ndim - axis  # from the last
    behind = (slice(None),) * (place - 1)
    are_cut = [(a, a.ndim >= place and a.shape[-place] > 1) for a in arrays]

    def part(i: int) -> list[Array]:
        some: Any = (..., slice(i * rows, (i + 1) * rows), *behind)
        return [array[some] if cut else array for array, cut in are_cut]

    return part, -(-shape[axis] // rows)
