"""Strategies for matching shapes, and for axes and indices of a shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_cnn.engine.arrays import Shape


@st.composite
def shapes(
    draw: st.DrawFn, min_dims: int = 0, max_dims: int = 3, min_side: int = 1, max_side: int = 4
) -> Shape:
    """Draw the shape of an array, with every number of axes equally likely.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import shapes
    >>> find(shapes(), lambda shape: len(shape) == 2)
    (1, 1)
    """
    ndim = draw(st.integers(min_dims, max_dims))
    return tuple(draw(st.integers(min_side, max_side)) for _ in range(ndim))


def broadcasting(
    count: int, max_dims: int = 3, min_side: int = 1, max_side: int = 3
) -> st.SearchStrategy[list[Shape]]:
    """Draw `count` shapes that broadcast together.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import broadcasting
    >>> np.broadcast_shapes(*find(broadcasting(2), lambda shapes: shapes[0] != shapes[1]))
    (1,)
    """
    drawn = hnp.mutually_broadcastable_shapes(
        num_shapes=count, max_dims=max_dims, min_side=min_side, max_side=max_side
    )
    return drawn.map(lambda shapes: list(shapes.input_shapes))


def matmul_shapes(min_side: int = 1) -> st.SearchStrategy[list[Shape]]:
    """Draw two shapes for a matrix product, covering every case of NumPy.

    They are (..., n, k) or (k,), and (..., k, m) or (k,), with leading axes that broadcast.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import matmul_shapes
    >>> find(matmul_shapes(), lambda shapes: len(shapes[0]) == 2)
    [(1, 1), (1,)]
    """
    drawn = hnp.mutually_broadcastable_shapes(
        signature=np.matmul.signature, max_dims=2, min_side=min_side, max_side=3
    )
    return drawn.map(lambda shapes: list(shapes.input_shapes))


def axes(ndim: int) -> st.SearchStrategy[Any]:
    """Draw the axes of a reduction over `ndim` axes: an axis, a tuple of axes, or None.

    Examples
    --------
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import axes
    >>> find(axes(3), lambda axis: isinstance(axis, tuple) and len(axis) == 2)
    (0, 1)
    """
    choices: list[st.SearchStrategy[Any]] = [st.none(), hnp.valid_tuple_axes(ndim)]
    if ndim:
        choices.append(st.integers(-ndim, ndim - 1))
    return st.one_of(choices)


@st.composite
def indices(draw: st.DrawFn, shape: Shape) -> Any:
    """Draw an index of any kind: basic, integer arrays with repeats, a boolean array, or mixed.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import find
    >>> from tinygrad_cnn.check.strategies import indices
    >>> x = np.arange(3.0)
    >>> index = find(indices((3,)), lambda index: x[index].size > 3)
    >>> len(set(x[index])) < x[index].size  # it names an element twice
    True
    """
    basic = hnp.basic_indices(shape, allow_newaxis=True, max_dims=4)
    if not shape:
        return draw(basic)
    mask = hnp.arrays(np.bool_, shape)
    rows = st.lists(st.integers(-shape[0], shape[0] - 1), min_size=1, max_size=5).map(np.array)
    choices: list[st.SearchStrategy[Any]] = [basic, mask, rows, hnp.integer_array_indices(shape)]
    if len(shape) > 1:
        choices.append(st.tuples(st.just(slice(None, None, -1)), st.just(np.array([0, -1, 0]))))
        choices.append(st.tuples(rows, st.just(slice(None))))
        choices.append(st.tuples(rows, st.just(Ellipsis), st.just(-1)))
        choices.append(st.tuples(rows, st.just(None)))
    return draw(st.one_of(choices))
